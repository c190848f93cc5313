"""Real layers for the Quantize tab: read from the packaged models, one matrix at a time."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from app.text import quantize as text
from qlora.errors import InputError

if TYPE_CHECKING:
    import torch

_KEY_PATTERN = {
    text.LANGUAGE_MODEL: ("model.layers.{layer}.{matrix}.weight", 0),
    text.EMBEDDING_MODEL: ("encoder.layer.{layer}.{matrix}.weight", 1),
}
MODELS = tuple(_KEY_PATTERN)


def weights_file(model: str) -> Path:
    """Where a model's weights are.

    Raises:
        InputError: the model is not there.
    """
    if model == text.LANGUAGE_MODEL:
        from qlora.models.demo import demo_model_dir

        return demo_model_dir() / "model.safetensors"
    from app.assistant.embedding_package import model_folder

    return model_folder() / "model.safetensors"


def matrices(model: str) -> dict[tuple[int, str], tuple[int, int]]:
    """The matrices that QLoRA would quantize, from the file's header.

    Returns:
        (layer from 1, name of the matrix in `app.text.quantize.MATRICES`) -> (rows, columns).

    Raises:
        InputError: the file is missing, broken, or holds none of them.
    """
    return _matrices(model, *identity(model))


def matrix(model: str, layer: int, name: str) -> torch.Tensor:
    """One matrix in fp32.

    Raises:
        InputError: as `matrices`, and if the model has no such matrix.
    """
    path, changed = identity(model)
    known = _matrices(model, path, changed)
    if (layer, name) not in known:
        layers = max(number for number, _ in known)
        raise InputError(text.NO_SUCH_MATRIX.format(model=model, layer=layer, matrix=name, layers=layers))
    from safetensors import SafetensorError

    with _open(model, path) as file:
        try:
            weights = file.get_tensor(_key(model, layer, name)).float()
        except SafetensorError as error:
            raise InputError(text.BROKEN_FILE.format(model=model, path=path, reason=error)) from None
    return weights


def identity(model: str) -> tuple[Path, int]:
    """A model's file and when it last changed: what is kept belongs to both, so that a replaced file is read again.

    Raises:
        InputError: the model is not there.
    """
    path = weights_file(model)
    if not path.is_file():
        raise InputError(text.NO_FILE.format(model=model, path=path))
    return path, path.stat().st_mtime_ns


def _open(model: str, path: Path):
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise InputError(text.BROKEN_FILE.format(model=model, path=path, reason=error)) from None


@functools.lru_cache(maxsize=4)
def _matrices(model: str, path: Path, changed: int) -> dict[tuple[int, str], tuple[int, int]]:
    found = {}
    with _open(model, path) as file:
        keys = set(file.keys())
        for layer in itertools.count(1):
            here = {name: key for name in text.MATRICES if (key := _key(model, layer, name)) in keys}
            if not here:
                break
            for name, key in here.items():
                rows, columns = file.get_slice(key).get_shape()
                found[layer, name] = (rows, columns)
    if not found:
        raise InputError(text.NO_MATRICES.format(model=model, path=path))
    return found


def _key(model: str, layer: int, name: str) -> str:
    pattern, place = _KEY_PATTERN[model]
    return pattern.format(layer=layer - 1, matrix=text.MATRICES[name][place])
