"""Samples and batches of the tasks besides writing on: a source with its target (T5), a text with its label (RoBERTa).

A sample is kept as `Encoded` is for writing on: first the tokens that are given, without labels, then what is to be
found, which is its own label: the target's tokens, or the number of the class. So everything that counts, orders and
fingerprints samples holds for these too; only batches are put together in another way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from qlora.data.batches import Batch
from qlora.data.encoding import IGNORED, Encoded, EncodedSamples
from qlora.data.files import read_rows
from qlora.data.samples import Conversation, Sample
from qlora.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class LabelledText:
    """A text and its class.

    Attributes:
        text: not empty.
        label: index into the labels of the model.
        where: the file and line it came from, for error messages.
    """

    text: str
    label: int
    where: str = ""


class TaskBatch(Batch):
    """A batch whose loss is the model's own; each row is one sample.

    Attributes:
        input_ids, attention_mask: int64 (batch, seq), of what is given.
        labels: int64 (batch, target) with `IGNORED` at padding, or (batch,) the classes.
        trained_tokens: target tokens, or texts: what the model's loss is the mean over.
    """

    def model_inputs(self) -> dict[str, Any]:
        """Arguments of the model's forward besides the labels."""
        inputs = {"input_ids": self.input_ids, "attention_mask": self.attention_mask}
        return {**inputs, "use_cache": False} if self.labels.ndim > 1 else inputs


def read_labelled(path: str, labels: Sequence[str]) -> list[LabelledText]:
    """Read texts with their classes from a JSONL, JSON, CSV or Parquet file.

    Args:
        path: of a file with the fields ``text`` and ``label``; a label is one of `labels` or, as a number, its index.
        labels: of the model, in their order.

    Raises:
        InputError: no such file, no row in it, a field is missing or empty, or a label is none of `labels`; the line
            is named.
    """
    samples = []
    for row in read_rows(Path(path).expanduser()):
        for name in ("text", "label"):
            if name not in row.fields:
                got = ", ".join(map(str, row.fields)) or "nothing"
                raise InputError(f'{row.where} has no field {name!r}, but {got}: expected {{"text": …, "label": …}}.')
        text, label = row.fields["text"], row.fields["label"]
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{row.where}, field 'text': expected a text, got {str(text)[:60]!r}.")
        if label in labels:
            index = labels.index(label)
        elif isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(labels):
            index = label
        else:
            expected = f"one of {', '.join(labels)}, or an index from 0 to {len(labels) - 1}"
            raise InputError(f"{row.where}, field 'label': expected {expected}, got {str(label)[:60]!r}.")
        samples.append(LabelledText(text.strip(), index, row.where))
    if not samples:
        raise InputError(f'The file {path} is empty: expected rows of the form {{"text": …, "label": …}}.')
    return samples


def encode_labelled(
    tokenizer: "PreTrainedTokenizerBase", samples: Iterable[LabelledText], max_length: int
) -> EncodedSamples:
    """Encode texts with their classes; a text longer than `max_length` tokens loses its end."""
    encoded = EncodedSamples()
    for sample in samples:
        ids, cut = _given(tokenizer, sample.text, max_length)
        encoded.append(Encoded([*ids, sample.label], [*[IGNORED] * len(ids), sample.label], cut))
    return encoded


def encode_pairs(tokenizer: "PreTrainedTokenizerBase", samples: Iterable[Sample], max_length: int) -> EncodedSamples:
    """Encode questions with their answers as sources with their targets, without a chat template.

    Args:
        tokenizer: of the model.
        samples: conversations of one question and one answer.
        max_length: of source and target each, in tokens. A source that is longer loses its end, but not the tokens that
            the tokenizer ends every text with; a target loses its end and its end-of-text token.

    Raises:
        InputError: a sample is of another form.
    """
    encoded = EncodedSamples()
    for sample in samples:
        turns = sample.messages if isinstance(sample, Conversation) else ()
        if [message.role for message in turns] != ["user", "assistant"]:
            where = sample.where or f"sample {len(encoded) + 1}"
            raise InputError(f"{where}: model.task seq2seq learns one answer to one question, expected just these two.")
        source, source_cut = _given(tokenizer, turns[0].content, max_length)
        target = tokenizer(text_target=turns[1].content).input_ids
        if not target or target[-1] != tokenizer.eos_token_id:
            target = [*target, tokenizer.eos_token_id]
        cut = source_cut or len(target) > max_length
        target = target[:max_length]
        encoded.append(Encoded(source + target, [IGNORED] * len(source) + target, cut))
    return encoded


def collate_pairs(
    rows: Sequence[Sequence[Encoded]], pad_id: int, indices: Sequence[Sequence[int]], packed: bool = False
) -> TaskBatch:
    """Sources and targets, each padded on the right to its longest; arguments as in `batches.collate`."""
    return _collate(rows, pad_id, indices, lambda found: _padded(found, IGNORED))


def collate_labelled(
    rows: Sequence[Sequence[Encoded]], pad_id: int, indices: Sequence[Sequence[int]], packed: bool = False
) -> TaskBatch:
    """Texts padded on the right to the longest, and their classes; arguments as in `batches.collate`."""
    return _collate(rows, pad_id, indices, lambda found: torch.tensor([classes[0] for classes in found]))


def _collate(rows, pad_id, indices, make_labels) -> TaskBatch:
    given, found = [], []
    for (sample,) in rows:
        split = sample.labels.count(IGNORED)
        given.append(sample.input_ids[:split])
        found.append(sample.input_ids[split:])
    mask = _padded([[1] * len(ids) for ids in given], 0)
    labels = make_labels(found)
    trained = sum(map(len, found))
    return TaskBatch(
        input_ids=_padded(given, pad_id),
        labels=labels,
        attention_mask=mask,
        position_ids=torch.arange(mask.shape[1]).expand_as(mask),
        rows=tuple(tuple(row) for row in indices),
        packed=False,
        tokens=int(mask.sum()) + (trained if labels.ndim > 1 else 0),
        trained_tokens=trained,
    )


def _padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    padded = torch.full((len(rows), max(map(len, rows))), value)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return padded


def _given(tokenizer, text: str, max_length: int) -> tuple[list[int], bool]:
    """The tokens of a text within `max_length`, with those that the tokenizer puts around; and whether it was cut."""
    whole = tokenizer(text, truncation=False, verbose=False).input_ids
    if len(whole) <= max_length:
        return whole, False
    return tokenizer(text, truncation=True, max_length=max_length).input_ids, True
