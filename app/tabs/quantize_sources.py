"""Where the Quantize tab's weights come from: a packaged model, a visitor's safetensors file, or typed numbers.

A choice is small and hashable, and kept figures are filed under it; its weights are read when they are needed.
"""

from __future__ import annotations

import functools
import math
import struct
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from app.tabs import quantize_weights
from app.text import quantize as text
from app.text import quantize_sources as words
from qlora.errors import InputError

if TYPE_CHECKING:
    import torch

#: Of a matrix in an uploaded file, at most this many weights are read and measured.
MOST_WEIGHTS = 2**20
MOST_FILE_BYTES = 512 * 2**20
_MOST_HEADER_BYTES = 8 * 2**20
_MOST_TENSORS = 2_000
_LONGEST_NAME = 200
_MOST_NUMBERS = 4_096
_MOST_CHARACTERS = 100_000
_FLOATS = ("F32", "F16", "BF16", "F64")


@dataclass(frozen=True)
class PackagedMatrix:
    """A matrix of one of the models that come with the product; ``identity`` is its file and when that changed."""

    model: str
    layer: int
    name: str
    identity: tuple[Path, int]

    def where(self) -> str:
        """The matrix in words, with its shape."""
        rows, columns = quantize_weights.matrices(self.model)[self.layer, self.name]
        shape = text.WHERE.format(layer=self.layer, matrix=self.name, rows=rows, columns=columns)
        return f"{self.model}, {shape}"


@dataclass(frozen=True)
class UploadedTensor:
    """A tensor of a visitor's file."""

    name: str
    identity: tuple[Path, int]

    def where(self) -> str:
        """The tensor in words, with its shape, and how much of it is measured."""
        shape = dict(tensors(self.identity[0]))[self.name]
        told = words.UPLOADED.format(name=self.name, shape=" × ".join(map(str, shape)))
        if math.prod(shape) > MOST_WEIGHTS:
            told += words.ONLY_THE_FIRST.format(count=weights(self).numel(), all=math.prod(shape))
        return told


@dataclass(frozen=True)
class TypedNumbers:
    """What a visitor typed, unparsed."""

    numbers: str

    def where(self) -> str:
        """How many numbers there are."""
        return words.TYPED.format(count=weights(self).numel())


Chosen = PackagedMatrix | UploadedTensor | TypedNumbers


def upload_limit() -> str:
    """What ``app/scripts/quantize_upload.js`` says of a file that is too large, in place of sending it here."""
    sentence = words.TOO_LARGE.format(size="{size}", most=MOST_FILE_BYTES // 2**20)
    return (
        f'<p class="problem" role="alert" id="quantize-upload-limit" data-bytes="{MOST_FILE_BYTES}" '
        f'data-sentence="{escape(sentence)}" hidden></p>'
    )


def choose(
    model: str, layer: int, matrix: str, uploaded: str | None, tensor: str | None, numbers: str | None
) -> Chosen:
    """The choice that the controls stand at.

    Args:
        model: a packaged model, or `app.text.quantize_sources.UPLOAD` or `TYPE`.
        layer, matrix: of a packaged model.
        uploaded, tensor: path of a visitor's file and one of its tensors.
        numbers: what was typed.

    Raises:
        InputError: there is no such thing, or it cannot be read.
    """
    if model == words.TYPE:
        return TypedNumbers(numbers or "")
    if model != words.UPLOAD:
        return PackagedMatrix(model, layer, matrix, quantize_weights.identity(model))
    if not uploaded:
        raise InputError(words.NO_UPLOAD)
    path = Path(uploaded)
    names = [name for name, _ in tensors(path)]
    return UploadedTensor(tensor if tensor in names else names[0], (path, path.stat().st_mtime_ns))


@functools.lru_cache(maxsize=16)
def weights(chosen: Chosen) -> torch.Tensor:
    """The chosen weights in fp32, in their own shape; do not write to them.

    Raises:
        InputError: they cannot be read, are not finite, or all zero.
    """
    if isinstance(chosen, PackagedMatrix):
        found = quantize_weights.matrix(chosen.model, chosen.layer, chosen.name)
    elif isinstance(chosen, UploadedTensor):
        found = _uploaded(chosen)
    else:
        found = _typed(chosen.numbers)
    if not found.isfinite().all():
        raise InputError(text.NOT_FINITE)
    if not found.any():
        raise InputError(text.NOTHING_TO_SCALE)
    return found


def tensors(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    """(name, shape) of the tensors of floats in a safetensors file, matrices first; nothing but the header is read.

    Raises:
        InputError: it is no safetensors file, too large, its header lies, or there is no such tensor.
    """
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        raise InputError(words.NO_UPLOAD) from None
    return _tensors(path, changed)


def offered(uploaded: str) -> list[tuple[str, str]]:
    """(name with shape, name) of the tensors of a visitor's file, for a list to choose from.

    Raises:
        InputError: as `tensors`.
    """
    return [
        (words.CHOICE.format(name=name, shape=" × ".join(map(str, shape))), name)
        for name, shape in tensors(Path(uploaded))
    ]


@functools.lru_cache(maxsize=16)
def _tensors(path: Path, changed: int) -> list[tuple[str, tuple[int, ...]]]:
    found = []
    with _open(path) as file:
        names = list(file.keys())
        for name in names[: 4 * _MOST_TENSORS]:
            piece = file.get_slice(name)
            shape = tuple(piece.get_shape())
            if piece.get_dtype() in _FLOATS and math.prod(shape) and len(name) <= _LONGEST_NAME and shape:
                found.append((name, shape))
    if not found:
        raise InputError(words.NO_TENSORS.format(count=len(names)))
    return sorted(found, key=lambda item: len(item[1]) != 2)[:_MOST_TENSORS]


def _open(path: Path):
    """The file, after a look at its first eight bytes: a header's length is what it says before anything is read."""
    from safetensors import SafetensorError, safe_open

    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
        if size > MOST_FILE_BYTES:
            raise InputError(words.TOO_LARGE.format(size=f"{size / 2**20:,.0f}", most=MOST_FILE_BYTES // 2**20))
        header = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= header <= size - 8:
            raise InputError(words.NOT_SAFETENSORS)
        if header > _MOST_HEADER_BYTES:
            raise InputError(words.LONG_HEADER.format(size=header / 2**20, most=_MOST_HEADER_BYTES // 2**20))
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise InputError(words.BROKEN_UPLOAD.format(reason=_short(error))) from None


def _uploaded(chosen: UploadedTensor) -> torch.Tensor:
    from safetensors import SafetensorError

    path = chosen.identity[0]
    with _open(path) as file:
        try:
            piece = file.get_slice(chosen.name)
            shape = piece.get_shape()
            row = math.prod(shape[1:])
            if row <= MOST_WEIGHTS:
                found = piece[: max(1, MOST_WEIGHTS // row)]
            elif len(shape) == 2:
                found = piece[:1, :MOST_WEIGHTS]
            else:
                raise InputError(words.ODD_SHAPE.format(name=chosen.name, shape=" × ".join(map(str, shape))))
        except SafetensorError as error:
            raise InputError(words.BROKEN_UPLOAD.format(reason=_short(error))) from None
    return found.float()


def _typed(numbers: str) -> torch.Tensor:
    import torch

    if len(numbers) > _MOST_CHARACTERS:
        raise InputError(words.TOO_MANY_NUMBERS.format(most=_MOST_NUMBERS))
    pieces = numbers.replace(",", " ").replace(";", " ").replace("−", "-").split()
    if not pieces:
        raise InputError(words.NO_NUMBERS)
    if len(pieces) > _MOST_NUMBERS:
        raise InputError(words.TOO_MANY_NUMBERS.format(most=_MOST_NUMBERS))
    values = []
    for place, piece in enumerate(pieces, start=1):
        try:
            values.append(float(piece))
        except ValueError:
            raise InputError(words.NOT_A_NUMBER.format(place=place, piece=piece[:30])) from None
    found = torch.tensor(values, dtype=torch.float64).float()
    if not found.isfinite().all():
        place = int((~found.isfinite()).nonzero()[0])
        raise InputError(words.NOT_A_FINITE_NUMBER.format(place=place + 1, piece=pieces[place][:30]))
    return found


def _short(error: Exception) -> str:
    """The first line of a reason that somebody else's file made, cut to a readable length."""
    return str(error).partition("\n")[0][:160]
