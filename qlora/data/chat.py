"""Samples to tokens: the tokenizer's chat template, and a loss on the answer alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qlora.data.formats import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Label of a token that does not count towards the loss.
IGNORED = -100


@dataclass(frozen=True)
class Encoded:
    """A sample in tokens; labels are `IGNORED` for the prompt."""

    input_ids: list[int]
    labels: list[int]


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", prompt: str, system_prompt: str | None = None) -> list[int]:
    """Tokens up to where the model's answer begins, by the tokenizer's chat template, or "Question: … Answer:" where
    it has none.

    Args:
        tokenizer: of the model.
        prompt: the question.
        system_prompt: of the template's system message; None leaves the template's own default.
    """
    if tokenizer.chat_template:
        messages = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
        messages.append({"role": "user", "content": prompt})
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return tokenizer(text, add_special_tokens=False)["input_ids"]
    return tokenizer(f"Question: {prompt}\nAnswer:")["input_ids"]


def encode(
    tokenizer: "PreTrainedTokenizerBase", sample: Sample, max_length: int, system_prompt: str | None = None
) -> Encoded | None:
    """Encode a sample; the loss counts the answer and the end-of-text token, so that the model learns to stop.

    An answer that is too long loses its end, and with it the end-of-text token, which would teach to stop
    mid-sentence.

    Returns:
        None when the prompt alone fills `max_length`, so that nothing would be learnt from it.
    """
    prompt = prompt_ids(tokenizer, sample.prompt, system_prompt)
    separator = "" if tokenizer.chat_template else " "
    answer = tokenizer(separator + sample.completion, add_special_tokens=False)["input_ids"]
    ids = (prompt + answer + [tokenizer.eos_token_id])[:max_length]
    if len(ids) <= len(prompt):
        return None
    return Encoded(ids, [IGNORED] * len(prompt) + ids[len(prompt) :])


def collate(samples: Sequence[Encoded], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad to the longest sample of the batch, on the right.

    Returns:
        input_ids, attention_mask and labels, each int64 (batch, seq). Padding is known by position, not by its token,
        so a pad token that equals end-of-text hides no end from the loss.
    """
    longest = max(len(s.input_ids) for s in samples)
    batch = {"input_ids": [], "attention_mask": [], "labels": []}
    for sample in samples:
        missing = longest - len(sample.input_ids)
        batch["input_ids"].append(sample.input_ids + [pad_id] * missing)
        batch["attention_mask"].append([1] * len(sample.input_ids) + [0] * missing)
        batch["labels"].append(sample.labels + [IGNORED] * missing)
    return {name: torch.tensor(rows) for name, rows in batch.items()}
