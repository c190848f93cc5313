"""One batch as a person reads it: the text of every row, with what the loss counts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from qlora.config import RunConfig
from qlora.data.batches import Batch, batches_of
from qlora.data.encoding import IGNORED, EncodedSamples
from qlora.data.tasks import TaskBatch

if TYPE_CHECKING:
    from rich.console import Console
    from transformers import PreTrainedTokenizerBase

# Where there are no colours, what the loss counts stands between these.
_OPEN, _CLOSE = "⟦", "⟧"


@dataclass(frozen=True)
class Piece:
    """Tokens in a row of one sample that the loss either counts or does not.

    Attributes:
        text: decoded, special tokens included; or the name of a class.
        trained: whether the loss counts them.
        sample: which of the row's samples, from 0.
        tokens: how many; 0 for a class.
    """

    text: str
    trained: bool
    sample: int
    tokens: int


@dataclass(frozen=True)
class Row:
    """A row of the batch: its pieces in order, and how many tokens it has, of which kind."""

    pieces: tuple[Piece, ...]
    samples: int
    tokens: int
    trained_tokens: int
    padding_tokens: int


@dataclass(frozen=True)
class Preview:
    """The first batch of a run.

    Attributes:
        task: of the model: "causal", "seq2seq" or "classification".
        rows: of the batch.
        batches_per_epoch, samples: of the whole data.
        tokens_per_epoch: padding not counted; `trained_tokens_per_epoch` of them count towards the loss. In
            classification no token does, but the class of each sample.
        notices: sentences about samples that were cut or dropped.
    """

    task: str
    rows: tuple[Row, ...]
    batches_per_epoch: int
    samples: int
    tokens_per_epoch: int
    trained_tokens_per_epoch: int
    notices: tuple[str, ...]

    def to_mapping(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)


def first_batch(
    config: RunConfig, encoded: EncodedSamples, tokenizer: "PreTrainedTokenizerBase", notices: Sequence[str] = ()
) -> Preview:
    """The first batch of a run's training.

    Args:
        config: of the run.
        encoded: the samples that it trains on.
        tokenizer: of the model.
        notices: for `Preview.notices`.
    """
    batches = batches_of(config, encoded, tokenizer.pad_token_id)
    classes = len(encoded) if config.model.task == "classification" else 0  # each stands as one token more
    return Preview(
        task=config.model.task,
        rows=rows_of(next(batches), tokenizer, config.model.labels),
        batches_per_epoch=batches.per_epoch,
        samples=len(encoded),
        tokens_per_epoch=sum(encoded.lengths) - classes,
        trained_tokens_per_epoch=sum(one.trained_tokens for one in encoded) - classes,
        notices=tuple(notices),
    )


def rows_of(batch: Batch, tokenizer: "PreTrainedTokenizerBase", labels: Sequence[str] = ()) -> tuple[Row, ...]:
    """The rows of a batch in words; `labels` are the names of the classes."""
    make = _task_row if isinstance(batch, TaskBatch) else _row
    return tuple(make(batch, r, tokenizer, labels) for r in range(len(batch.rows)))


def _row(batch: Batch, r: int, tokenizer, labels) -> Row:
    length = int(batch.attention_mask[r].sum())
    ids, targets = batch.input_ids[r, :length].tolist(), batch.labels[r, :length].tolist()
    starts = (batch.position_ids[r, :length] == 0).cumsum(0).tolist()
    marked = [(i, target != IGNORED, number - 1) for i, target, number in zip(ids, targets, starts, strict=True)]
    pieces = []
    for (trained, sample), group in groupby(marked, key=lambda token: token[1:]):
        pieces.append(_piece(tokenizer, [token[0] for token in group], trained, sample))
    return _counted(pieces, len(batch.rows[r]), batch.input_ids.shape[1] - length)


def _task_row(batch: TaskBatch, r: int, tokenizer, labels) -> Row:
    """What is given, then what is to be found: the target's tokens, or the name of the class."""
    length = int(batch.attention_mask[r].sum())
    padding = batch.input_ids.shape[1] - length
    if batch.labels.ndim > 1:  # (batch, target)
        target = batch.labels[r][batch.labels[r] != IGNORED].tolist()
        padding += batch.labels.shape[1] - len(target)
        found = _piece(tokenizer, target, True)
    else:  # (batch,)
        found = Piece(labels[int(batch.labels[r])], True, 0, 0)
    return _counted([_piece(tokenizer, batch.input_ids[r, :length].tolist(), False), found], 1, padding)


def _piece(tokenizer, tokens: list[int], trained: bool, sample: int = 0) -> Piece:
    text = tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return Piece(text, trained, sample, len(tokens))


def _counted(pieces: list[Piece], samples: int, padding: int) -> Row:
    return Row(
        pieces=tuple(pieces),
        samples=samples,
        tokens=sum(piece.tokens for piece in pieces),
        trained_tokens=sum(piece.tokens for piece in pieces if piece.trained),
        padding_tokens=padding,
    )


def print_batch(preview: Preview, console: "Console") -> None:
    """Print a preview: with colours on a terminal, with marks around what the loss counts elsewhere."""
    from rich.text import Text

    colours = console.is_terminal and not console.no_color
    for message in preview.notices:
        console.print(message, markup=False, highlight=False, soft_wrap=True)
    for number, row in enumerate(preview.rows, 1):
        several = f"{row.samples} samples, " if row.samples > 1 else ""
        what = "the class" if preview.task == "classification" else f"{row.trained_tokens} of them"
        console.print(
            f"row {number}: {several}{row.tokens} tokens, {what} trained, {row.padding_tokens} of padding",
            style="bold",
            markup=False,
            highlight=False,
        )
        text = Text()
        sample = 0
        for piece in row.pieces:
            if piece.trained and preview.task != "causal":
                text.append("\n--- target ---\n" if preview.task == "seq2seq" else "\n--- class ---\n", style="italic")
            if piece.sample != sample:
                text.append(f"\n--- sample {piece.sample + 1} of the row ---\n", style="italic")
                sample = piece.sample
            shown = piece.text.replace("\x1b", "␛")  # data must not steer the terminal
            if colours:
                text.append(shown, style="bold green underline" if piece.trained else "dim")
            else:
                text.append(f"{_OPEN}{shown}{_CLOSE}" if piece.trained else shown)
        console.print(text, soft_wrap=True)
    how = "underlined" if colours else f"between {_OPEN} and {_CLOSE}"
    if preview.task == "classification":
        counted = f"the classes of {preview.samples:,} texts of {preview.tokens_per_epoch:,} tokens"
    else:
        share = preview.trained_tokens_per_epoch / preview.tokens_per_epoch
        counted = f"{share:.0%} of the {preview.tokens_per_epoch:,} tokens of {preview.samples:,} samples"
    console.print(
        f"The loss counts what is {how}: {counted}, in {preview.batches_per_epoch:,} batches an epoch.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
