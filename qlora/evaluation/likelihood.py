"""Log-likelihoods of given tokens: what multiple choice and lm-eval's tasks are scored by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qlora.data.chat import text_ids
from qlora.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Pair = tuple[list[int], list[int]]


@dataclass(frozen=True)
class Score:
    """How likely a continuation is.

    Attributes:
        log_likelihood: Σ log p(token | all before it) over the continuation, in nats.
        tokens: of the continuation.
        greedy: each of its tokens is the most likely one at its place.
    """

    log_likelihood: float
    tokens: int
    greedy: bool


def encode_pair(tokenizer: "PreTrainedTokenizerBase", context: str, continuation: str) -> Pair:
    """Tokens of a context and of what follows it, split where the context's own tokens end.

    Both are encoded as one text, because a tokenizer may join characters across the border; spaces that end the context
    go to the continuation, because most vocabularies hold a word with the space before it. This is lm-eval's
    convention, so figures can be compared. An empty context becomes the beginning-of-text token, or end-of-text where
    there is none.

    Args:
        tokenizer: of the model.
        context: what is given; may be empty.
        continuation: what is scored.

    Raises:
        InputError: the continuation has no token of its own.
    """
    bare = context.rstrip()
    continuation = context[len(bare) :] + continuation
    whole = text_ids(tokenizer, bare + continuation)[:-1]  # without the end-of-text token
    start = text_ids(tokenizer, bare)[:-1]
    if not start:
        start = [tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id]
        whole = start + whole
    if len(whole) <= len(start):
        raise InputError(f"The continuation {continuation[:60]!r} has no token of its own: give a text to score.")
    return whole[: len(start)], whole[len(start) :]


@torch.no_grad()
def score(model: "PreTrainedModel", pairs: Sequence[Pair], batch_size: int = 8) -> list[Score]:
    """Score continuations.

    Pairs that give the model the same tokens to read, as the letters A to D after one question do, are read once.
    Logits are made at the scored places alone, and the log-probabilities are computed in fp32.

    Args:
        model: causal, in evaluation mode.
        pairs: (context, continuation) token ids, each at least one token.
        batch_size: sequences read together.

    Returns:
        One for each pair, in their order.

    Raises:
        InputError: a pair is longer than the model has positions for.
    """
    longest = max_length(model)
    readers: dict[tuple[int, ...], list[int]] = {}
    for index, (context, continuation) in enumerate(pairs):
        read = (*context, *continuation[:-1])
        if longest is not None and len(read) > longest:
            raise InputError(f"A text to score has {len(read) + 1} tokens, but the model takes {longest}: shorten it.")
        readers.setdefault(read, []).append(index)
    # Sorted by length, so that little is padding and the longest, which needs most memory, comes first.
    ordered = sorted(readers, key=len, reverse=True)
    scores: dict[int, Score] = {}
    for first in range(0, len(ordered), batch_size):
        rows = ordered[first : first + batch_size]
        ids = torch.zeros(len(rows), len(rows[0]), dtype=torch.int64)  # padded on the right, where nothing looks back
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        places = sorted({p for row in rows for i in readers[row] for p in range(len(pairs[i][0]) - 1, len(row))})
        kept = torch.tensor(places, device=model.device)
        inputs = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device), "use_cache": False}
        logits = model(**inputs, logits_to_keep=kept).logits  # (batch, places, vocabulary)
        column = {place: index for index, place in enumerate(places)}
        for row, tokens in enumerate(rows):
            for i in readers[tokens]:
                context, continuation = pairs[i]
                begin = column[len(context) - 1]  # the places of one continuation stand side by side
                scores[i] = _scored(logits[row, begin : begin + len(continuation)], continuation)
    return [scores[i] for i in range(len(pairs))]


def _scored(logits: torch.Tensor, continuation: list[int]) -> Score:
    target = torch.tensor(continuation, device=logits.device)
    logs = torch.log_softmax(logits.float(), dim=-1)  # (continuation, vocabulary)
    total = logs.gather(1, target[:, None]).sum().item()
    return Score(total, len(continuation), bool((logs.argmax(-1) == target).all()))


def max_length(model: "PreTrainedModel") -> int | None:
    """Tokens that the model has positions for; None where its configuration names no end (BLOOM)."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)
