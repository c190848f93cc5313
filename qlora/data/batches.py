"""Batches: which samples go through the model together and in which order, as a pure function of seed and position."""

import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from qlora.config import RunConfig
from qlora.data.encoding import IGNORED, Encoded, EncodedSamples
from qlora.data.packing import first_fit_decreasing
from qlora.errors import InputError

# Lengths are sorted among this many batches at a time: enough that neighbours are alike, few enough that who meets
# whom stays a matter of chance.
_BATCHES_SORTED_TOGETHER = 50
# Batches of the first epoch that tell what a batch is like.
_LOOKED_AT = 200


@dataclass(frozen=True)
class Batch:
    """What goes through the model at once; a row is one sample, or several when packed.

    Attributes:
        input_ids: int64 (batch, seq), padded on the right.
        labels: int64 (batch, seq), `IGNORED` at padding, at what is not trained, and at the first token of each
            sample, which nothing before it predicts. Not shifted: the logits at i belong to the label at i + 1.
        attention_mask: int64 (batch, seq): 1 at tokens, 0 at padding. Padding is known by position, not by its token,
            so a pad token that equals end-of-text hides no end from the loss.
        position_ids: int64 (batch, seq): from 0 in every sample, and from 0 in the padding at the end of a row.
        rows: for each row the indices of its samples.
        packed: whether rows may hold several samples.
        tokens: without padding.
        trained_tokens: that count towards the loss; what the loss of an accumulated step is divided by.
    """

    input_ids: torch.Tensor
    labels: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    rows: tuple[tuple[int, ...], ...]
    packed: bool
    tokens: int
    trained_tokens: int

    @property
    def samples(self) -> int:
        """How many samples it holds."""
        return sum(map(len, self.rows))

    def to(self, device: torch.device) -> "Batch":
        """The same on `device`."""
        names = ("input_ids", "labels", "attention_mask", "position_ids")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def model_inputs(self) -> dict[str, Any]:
        """Arguments of the model's forward besides the labels.

        Packed rows go without attention mask and without cache: from position ids alone transformers then keeps the
        samples of a row apart, and the padding after them (see `packing.check_packing`).
        """
        attention = {"position_ids": self.position_ids} if self.packed else {"attention_mask": self.attention_mask}
        return {"input_ids": self.input_ids, "use_cache": False, **attention}


def collate(rows: Sequence[Sequence[Encoded]], pad_id: int, indices: Sequence[Sequence[int]], packed: bool) -> Batch:
    """Join the samples of each row and pad the rows to the longest.

    Args:
        rows: the samples of each row.
        pad_id: token to pad with; never trained on, never seen by another token.
        indices: of the samples, for `Batch.rows`.
        packed: as in `Batch`.
    """
    longest = max(sum(len(s.input_ids) for s in row) for row in rows)
    shape = (len(rows), longest)
    ids, labels = torch.full(shape, pad_id), torch.full(shape, IGNORED)
    mask, positions = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    for r, row in enumerate(rows):
        start = 0
        for sample in row:
            end = start + len(sample.input_ids)
            ids[r, start:end] = torch.tensor(sample.input_ids)
            labels[r, start + 1 : end] = torch.tensor(sample.labels[1:])
            mask[r, start:end] = 1
            positions[r, start:end] = torch.arange(end - start)
            start = end
        positions[r, start:] = torch.arange(longest - start)
    return Batch(
        input_ids=ids,
        labels=labels,
        attention_mask=mask,
        position_ids=positions,
        rows=tuple(tuple(row) for row in indices),
        packed=packed,
        tokens=int(mask.sum()),
        trained_tokens=int((labels != IGNORED).sum()),
    )


class Batches(Iterator[Batch]):
    """Batches without end: every sample once an epoch, in an order that is a pure function of seed and epoch.

    The only state is `position`, how many batches were taken; setting it continues exactly there. An epoch's last
    batch may be smaller than the others.

    Args:
        samples: at least one.
        batch_size: rows of a batch.
        pad_id: token to pad with.
        seed: of the order.
        pack_into: tokens of a row that samples are packed into by `first_fit_decreasing`; None puts one sample into
            a row. Who is packed with whom changes from epoch to epoch among samples of the same length.
        group_by_length: put samples of similar length into a batch, which saves padding; batches come in random order.
        join: makes a batch of rows; `collate`, or what stands for it in another task (`data.tasks`).

    Attributes:
        per_epoch: batches of an epoch, the same in each.
        position: batches taken so far.

    Raises:
        InputError: a sample is longer than `pack_into`.
    """

    def __init__(
        self,
        samples: Sequence[Encoded],
        *,
        batch_size: int,
        pad_id: int,
        seed: int,
        pack_into: int | None = None,
        group_by_length: bool = False,
        join: Callable[..., Batch] = collate,
    ):
        self.join = join
        self._samples = samples if isinstance(samples, EncodedSamples) else EncodedSamples(samples)
        self.batch_size, self.pad_id, self._seed = batch_size, pad_id, seed
        self._pack_into, self._group_by_length = pack_into, group_by_length
        self._planned_epoch, self._plan = -1, []
        self.position = 0
        self.per_epoch = len(self._plan_of(0))

    @property
    def epoch(self) -> float:
        """Passes over the data so far."""
        return self.position / self.per_epoch

    @property
    def longest_row(self) -> int:
        """Tokens of the longest row that any epoch can bring."""
        return self._pack_into or max(self._samples.lengths)

    @functools.cached_property
    def trained_share(self) -> float:
        """The most of a batch's tokens, padding included, that is trained on, as far as the first batches tell."""
        first = [self.at(i) for i in range(min(_LOOKED_AT, self.per_epoch))]
        return max(batch.trained_tokens / batch.input_ids.numel() for batch in first)

    @functools.cached_property
    def usual_shape(self) -> tuple[int, int]:
        """(rows, tokens of each) of the median of the first batches."""
        shapes = [tuple(self.at(i).input_ids.shape) for i in range(min(_LOOKED_AT, self.per_epoch))]
        return sorted(shapes, key=math.prod)[len(shapes) // 2]

    def __next__(self) -> Batch:
        batch = self.at(self.position)
        self.position += 1
        return batch

    def at(self, position: int) -> Batch:
        """The batch that comes after `position` others; taking it changes nothing."""
        epoch, index = divmod(position, self.per_epoch)
        rows = self._plan_of(epoch)[index]
        encoded = [[self._samples[i] for i in row] for row in rows]
        return self.join(encoded, self.pad_id, rows, packed=self._pack_into is not None)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the position, and a fingerprint of the data and of how it is batched."""
        return {"position": self.position, "fingerprint": self.fingerprint}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken.

        Raises:
            InputError: it was taken with other data, another tokenizer or other batches, so that some samples would
                come twice and some never.
        """
        if state["fingerprint"] != self.fingerprint:
            raise InputError(
                "The data or how it is batched (data.*, training.batch_size, training.seed) differs from what the "
                "checkpoint was made with: resume with the same, or start a new run."
            )
        self.position = state["position"]

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of every token and label and of the settings that decide the order, in hexadecimal."""
        settings = (self.batch_size, self._seed, self._pack_into, self._group_by_length)
        digest = hashlib.sha256(repr(settings).encode())
        for part in self._samples.contents():
            digest.update(part)
        return digest.hexdigest()

    def _plan_of(self, epoch: int) -> list[list[list[int]]]:
        """The epoch's batches, each a list of rows, each a list of sample indices."""
        if epoch == self._planned_epoch:
            return self._plan
        # One generator draws the orders of all epochs one after the other. Seeding with seed + epoch instead would
        # give neighbouring seeds the same orders, one epoch apart.
        generator = torch.Generator().manual_seed(self._seed)
        for _ in range(epoch + 1):
            order = torch.randperm(len(self._samples), generator=generator).tolist()
        lengths, size = self._samples.lengths, self.batch_size
        if self._pack_into is not None:
            packed = first_fit_decreasing([lengths[i] for i in order], self._pack_into)
            rows = [[order[i] for i in packed[p]] for p in torch.randperm(len(packed), generator=generator).tolist()]
        else:
            rows = [[i] for i in order]
        if self._group_by_length:
            chunk = size * _BATCHES_SORTED_TOGETHER
            chunks = (rows[i : i + chunk] for i in range(0, len(rows), chunk))
            rows = [row for part in chunks for row in sorted(part, key=lambda row: -sum(lengths[i] for i in row))]
        plan = [rows[i : i + size] for i in range(0, len(rows), size)]
        if self._group_by_length:
            plan = [plan[p] for p in torch.randperm(len(plan), generator=generator).tolist()]
        self._planned_epoch, self._plan = epoch, plan
        return plan


def batches_of(config: RunConfig, encoded: EncodedSamples, pad_id: int | None) -> Batches:
    """The batches of a run; a tokenizer without a pad token pads with token 0, which is masked everywhere."""
    from qlora.data.tasks import collate_labelled, collate_pairs  # its batches are kinds of `Batch`

    data = config.data
    return Batches(
        encoded,
        batch_size=config.training.batch_size,
        pad_id=pad_id or 0,
        seed=config.training.seed,
        pack_into=(data.packed_length or data.max_length) if data.packing else None,
        group_by_length=data.group_by_length,
        join={"causal": collate, "seq2seq": collate_pairs, "classification": collate_labelled}[config.model.task],
    )


def in_order(
    samples: Sequence[Encoded], batch_size: int, pad_id: int, join: Callable[..., Batch] = collate
) -> Iterator[Batch]:
    """Every sample once, in the given order, one in a row: for evaluation. The arguments are those of `Batches`."""
    for first in range(0, len(samples), batch_size):
        indices = range(first, min(first + batch_size, len(samples)))
        yield join([[samples[i]] for i in indices], pad_id, [[i] for i in indices], packed=False)
