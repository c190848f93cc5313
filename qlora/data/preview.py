"""One batch as a person reads it: the text of every row, with what the loss counts."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from qlora.config import RunConfig
from qlora.data.batches import Batch, batches_of
from qlora.data.encoding import IGNORED, encode_all
from qlora.data.formats import read_samples
from qlora.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from transformers import PreTrainedTokenizerBase

# Where there are no colours, what the loss counts stands between these.
_OPEN, _CLOSE = "⟦", "⟧"


@dataclass(frozen=True)
class Piece:
    """Tokens in a row of one sample that the loss either counts or does not.

    Attributes:
        text: decoded, special tokens included.
        trained: whether the loss counts them.
        sample: which of the row's samples, from 0.
        tokens: how many.
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
        rows: of the batch.
        batches_per_epoch, samples: of the whole data.
        tokens_per_epoch: padding not counted; `trained_tokens_per_epoch` of them count towards the loss.
        notices: sentences about samples that were cut or dropped.
    """

    rows: tuple[Row, ...]
    batches_per_epoch: int
    samples: int
    tokens_per_epoch: int
    trained_tokens_per_epoch: int
    notices: tuple[str, ...]

    def to_mapping(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)


def first_batch(config: RunConfig, load_tokenizer: Callable[[], "PreTrainedTokenizerBase"]) -> Preview:
    """Prepare the data as training does, and show its first batch. No model is loaded.

    Args:
        config: of the run.
        load_tokenizer: called once the samples are read, because a fault in the file shows sooner.

    Raises:
        InputError: as `formats.read_samples`, `encoding.encode_all` and `load_tokenizer`, or the tokenizer has no
            end-of-text token, or the task is not to write on.
    """
    if config.model.task != "causal":
        raise InputError(f"The preview shows what model.task causal learns; this is {config.model.task}.")
    data = config.data
    samples = read_samples(data.path, data.format)
    tokenizer = load_tokenizer()
    if tokenizer.eos_token_id is None:
        raise InputError("The tokenizer has no end-of-text token, so the model could not learn to stop: set one.")
    encoded = encode_all(tokenizer, samples, data.max_length, data.system_prompt, data.loss_on)
    batches = batches_of(config, encoded, tokenizer.pad_token_id)
    return Preview(
        rows=rows_of(next(batches), tokenizer),
        batches_per_epoch=batches.per_epoch,
        samples=len(encoded),
        tokens_per_epoch=sum(encoded.lengths),
        trained_tokens_per_epoch=sum(one.trained_tokens for one in encoded),
        notices=tuple(encoded.notices(data.max_length)),
    )


def rows_of(batch: Batch, tokenizer: "PreTrainedTokenizerBase") -> tuple[Row, ...]:
    """The rows of a batch in words."""
    rows = []
    for r, samples in enumerate(batch.rows):
        length = int(batch.attention_mask[r].sum())
        ids, labels = batch.input_ids[r, :length].tolist(), batch.labels[r, :length].tolist()
        starts = (batch.position_ids[r, :length] == 0).cumsum(0).tolist()
        marked = [(i, label != IGNORED, number - 1) for i, label, number in zip(ids, labels, starts, strict=True)]
        pieces = []
        for (trained, sample), group in groupby(marked, key=lambda token: token[1:]):
            tokens = [token[0] for token in group]
            text = tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            pieces.append(Piece(text, trained, sample, len(tokens)))
        rows.append(
            Row(
                pieces=tuple(pieces),
                samples=len(samples),
                tokens=length,
                trained_tokens=sum(piece.tokens for piece in pieces if piece.trained),
                padding_tokens=batch.input_ids.shape[1] - length,
            )
        )
    return tuple(rows)


def print_batch(preview: Preview, console: "Console") -> None:
    """Print a preview: with colours on a terminal, with marks around what the loss counts elsewhere."""
    from rich.text import Text

    colours = console.is_terminal and not console.no_color
    for message in preview.notices:
        console.print(message, markup=False, highlight=False, soft_wrap=True)
    for number, row in enumerate(preview.rows, 1):
        several = f"{row.samples} samples, " if row.samples > 1 else ""
        console.print(
            f"row {number}: {several}{row.tokens} tokens, {row.trained_tokens} of them trained, "
            f"{row.padding_tokens} of padding",
            style="bold",
            markup=False,
            highlight=False,
        )
        text = Text()
        sample = 0
        for piece in row.pieces:
            if piece.sample != sample:
                text.append(f"\n--- sample {piece.sample + 1} of the row ---\n", style="italic")
                sample = piece.sample
            shown = piece.text.replace("\x1b", "␛")  # data must not steer the terminal
            if colours:
                text.append(shown, style="bold green underline" if piece.trained else "dim")
            else:
                text.append(f"{_OPEN}{shown}{_CLOSE}" if piece.trained else shown)
        console.print(text, soft_wrap=True)
    share = preview.trained_tokens_per_epoch / preview.tokens_per_epoch
    how = "underlined" if colours else f"between {_OPEN} and {_CLOSE}"
    console.print(
        f"The loss counts what is {how}: {share:.0%} of the {preview.tokens_per_epoch:,} tokens of "
        f"{preview.samples:,} samples, in {preview.batches_per_epoch:,} batches an epoch.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
