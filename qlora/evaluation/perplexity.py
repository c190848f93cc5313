"""Perplexity of texts and conversations."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from qlora.data.batches import in_order
from qlora.data.encoding import IGNORED, Encoded, encode_all
from qlora.data.formats import read_samples
from qlora.data.samples import PlainText
from qlora.errors import InputError
from qlora.evaluation.likelihood import max_length
from qlora.training.loss import summed_loss

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEXT_SUFFIXES = (".txt", ".md")
_LONGEST_WINDOW = 2048
_NO_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Perplexity:
    """What `perplexity` measures.

    Attributes:
        loss: mean over all scored tokens, in nats a token; a long document weighs as much as it has tokens.
        tokens: scored: of texts all but the first, of conversations the answers'.
        documents: texts or conversations.
        windows: passes that they were read in.
    """

    loss: float
    tokens: int
    documents: int
    windows: int

    @property
    def perplexity(self) -> float:
        """exp(loss); infinite where that is more than a float holds."""
        return math.exp(self.loss) if self.loss < 709 else math.inf


def read_documents(
    path: Path | str, tokenizer: "PreTrainedTokenizerBase", system_prompt: str | None = None
) -> list[Encoded]:
    """The documents of a file in tokens, uncut.

    Args:
        path: a text file (.txt, .md: one document), or samples in any form of `data.formats.read_samples`.
        tokenizer: of the model.
        system_prompt: as in `data.chat.conversation_ids`.

    Raises:
        InputError: the file is missing, empty, or cannot be read.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() not in TEXT_SUFFIXES:
        return list(encode_all(tokenizer, read_samples(path), _NO_LIMIT, system_prompt))
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"There is no text file {file}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The text file {file} cannot be read: {error}.") from None
    if not text.strip():
        raise InputError(f"The text file {file} is empty.")
    # A file does not end where its document ends for the model, so the end-of-text token is not scored.
    whole = encode_all(tokenizer, [PlainText(text, str(file))], _NO_LIMIT)[0]
    if len(whole.input_ids) < 3:
        raise InputError(f"The text file {file} has a single token: expected two or more.")
    return [Encoded(whole.input_ids[:-1], whole.labels[:-1])]


def perplexity(
    model: "PreTrainedModel",
    documents: Sequence[Encoded],
    *,
    window: int | None = None,
    stride: int | None = None,
    batch_size: int = 1,
) -> Perplexity:
    """exp of the mean of −log p(token | what stands before it in its window), as in Table 2 of the paper.

    A document longer than the window is read in several that overlap. Each token is scored once: in the first window it
    is in, and there with at least window − stride tokens before it, unless the document begins closer.

    Args:
        model: causal, in evaluation mode.
        documents: from `read_documents`.
        window: tokens in one pass; None is what the model has positions for, 2,048 at most.
        stride: tokens by which windows advance, below `window`; None is half of it. A smaller one gives each token more
            context, lowers the perplexity, and takes longer.
        batch_size: windows in one pass.

    Raises:
        InputError: no token to score, a window that the model is too short for, or a stride out of range.
    """
    longest = max_length(model)
    window = window or min(longest or _LONGEST_WINDOW, _LONGEST_WINDOW)
    stride = stride or window // 2
    if longest is not None and window > longest:
        raise InputError(f"The window is {window} tokens, but the model takes at most {longest}: lower it.")
    if not 1 <= stride < window:
        raise InputError(f"The stride must be from 1 to below the window of {window} tokens, got {stride}.")
    windows = [part for document in documents for part in windows_of(document, window, stride)]
    if not windows:
        raise InputError("There is no token to score: give a text of two tokens or more.")
    total, tokens = 0.0, 0
    with torch.no_grad():
        for batch in in_order(windows, batch_size, pad_id=0):
            total += summed_loss(model, batch.to(model.device)).item()
            tokens += batch.trained_tokens
    return Perplexity(total / tokens, tokens, len(documents), len(windows))


def windows_of(document: Encoded, window: int, stride: int) -> Iterator[Encoded]:
    """The windows of a document, each with labels at what earlier ones have not scored; those without any are left
    out."""
    length, scored = len(document.input_ids), 0
    while scored < length:
        end = min(scored + (stride if scored else window), length)
        begin = max(0, end - window)
        labels = [IGNORED] * (scored - begin) + document.labels[scored:end]
        if any(label != IGNORED for label in labels[1:]):
            yield Encoded(document.input_ids[begin:end], labels)
        scored = end
