"""Real layers for the Quantize tab: read from the packaged models one matrix at a time, and measured."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.text import quantize as text
from qlora.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch

HISTOGRAM_STEPS = 100
_KEY_PATTERN = {
    text.LANGUAGE_MODEL: ("model.layers.{layer}.{matrix}.weight", 0),
    text.EMBEDDING_MODEL: ("encoder.layer.{layer}.{matrix}.weight", 1),
}
MODELS = tuple(_KEY_PATTERN)
_RUN = 32
_RUNS_LOOKED_AT = 512


@dataclass(frozen=True)
class Histogram:
    """Weights divided by the absmax of their block.

    Attributes:
        edges: (steps + 1,) from -1 to 1.
        density: (steps,), its integral is 1.
        half: half of the weights lie within ± this.
        distinct_in_run: different values in 32 neighbouring weights, mean over the matrix's first 512 runs.
    """

    edges: np.ndarray
    density: np.ndarray
    half: float
    distinct_in_run: float


@dataclass(frozen=True)
class Quantized:
    """One matrix stored in 4 bits, in figures.

    Attributes:
        levels: (16,) ascending.
        thresholds: (15,) ascending, where rounding changes from one level to the next.
        counts: (16,) weights at each level.
        errors: measure -> error in the unit of the weights; the measures of ``app.text.quantize.ERROR_METRICS``.
        typical_weight: root mean square of the weights before quantization.
        nbytes: bytes stored.
        bits_per_parameter: 8 · nbytes / weights.
    """

    levels: np.ndarray
    thresholds: np.ndarray
    counts: np.ndarray
    errors: dict[str, float]
    typical_weight: float
    nbytes: int
    bits_per_parameter: float

    @property
    def count(self) -> int:
        """Number of weights."""
        return int(self.counts.sum())

    @property
    def shares(self) -> np.ndarray:
        """(16,): counts as shares of 1."""
        return self.counts / self.counts.sum()


def weights_file(model: str) -> Path:
    """Where a model's weights are.

    Raises:
        InputError: the model is not there.
    """
    if model == text.LANGUAGE_MODEL:
        from qlora.models.demo import demo_model_dir

        return demo_model_dir() / "model.safetensors"
    from app.assistant.embedding import model_folder

    return model_folder() / "model.safetensors"


def matrices(model: str) -> dict[tuple[int, str], tuple[int, int]]:
    """The matrices that QLoRA would quantize, from the file's header.

    Returns:
        (layer from 1, name of the matrix in `app.text.quantize.MATRICES`) -> (rows, columns).

    Raises:
        InputError: the file is missing, broken, or holds none of them.
    """
    return _matrices(model, *_identity(model))


def matrix(model: str, layer: int, name: str) -> torch.Tensor:
    """One matrix in fp32.

    Raises:
        InputError: as `matrices`, and if the model has no such matrix, or its weights are not finite or all zero.
    """
    return _matrix(model, *_identity(model), layer, name)


def histogram(model: str, layer: int, name: str, block_size: int) -> Histogram:
    """Histogram of one scaled matrix.

    Raises:
        InputError: as `matrix`.
    """
    return _histogram(model, *_identity(model), layer, name, block_size)


def quantized(
    model: str, layer: int, name: str, data_type: str, block_size: int, double_quantization: bool
) -> Quantized:
    """One matrix quantized by `qlora.quantize`, measured.

    Raises:
        InputError: as `matrix`.
        ValueError: an argument is not one that `qlora.quantize` takes.
    """
    return _quantized(model, *_identity(model), layer, name, data_type, block_size, double_quantization)


# What is kept belongs to a path and the time of its last change, so that a file that is replaced is read again. A
# matrix is at most 3.5 MB; figures are small.


def _identity(model: str) -> tuple[Path, int]:
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


@functools.lru_cache(maxsize=16)
def _matrix(model: str, path: Path, changed: int, layer: int, name: str) -> torch.Tensor:
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
    if not weights.isfinite().all():
        raise InputError(text.NOT_FINITE)
    if not weights.any():
        raise InputError(text.NOTHING_TO_SCALE)
    return weights


@functools.lru_cache(maxsize=256)
def _histogram(model: str, path: Path, changed: int, layer: int, name: str, block_size: int) -> Histogram:
    import numpy as np
    import torch

    weights = _matrix(model, path, changed, layer, name).flatten()
    runs = weights[: weights.numel() // _RUN * _RUN].view(-1, _RUN)[:_RUNS_LOOKED_AT].sort(dim=1).values
    distinct = 1 + (runs.diff(dim=1) != 0).sum(dim=1).float().mean().item()
    padded = torch.nn.functional.pad(weights, (0, -weights.numel() % block_size)).view(-1, block_size)
    absmax = padded.abs().amax(dim=1, keepdim=True)
    scaled = (padded / absmax.clamp_min(torch.finfo(torch.float32).tiny)).flatten()[: weights.numel()]
    counts = torch.histc(scaled, HISTOGRAM_STEPS, -1, 1).numpy()
    half = scaled.abs_().median().item()
    return Histogram(
        edges=np.linspace(-1, 1, HISTOGRAM_STEPS + 1),
        density=counts * (HISTOGRAM_STEPS / 2 / counts.sum()),
        half=half,
        distinct_in_run=distinct,
    )


@functools.lru_cache(maxsize=1024)
def _quantized(
    model: str,
    path: Path,
    changed: int,
    layer: int,
    name: str,
    data_type: str,
    block_size: int,
    double_quantization: bool,
) -> Quantized:
    import torch

    import qlora
    from qlora.quantization.codebook import codebook, decision_thresholds

    weights = _matrix(model, path, changed, layer, name)
    stored = qlora.quantize(
        weights, data_type, block_size=block_size, double_quantization=double_quantization, name=name
    )
    thresholds, order = decision_thresholds(data_type)
    order = order.long()
    counts = torch.bincount(stored.unpacked_codes(), minlength=16)[order]
    error = stored.dequantize(torch.float32).sub_(weights).abs_()
    return Quantized(
        levels=codebook(data_type)[order].numpy(),
        thresholds=thresholds.numpy(),
        counts=counts.numpy(),
        errors={
            "mean_absolute": error.mean().item(),
            "root_mean_square": error.norm().item() / error.numel() ** 0.5,
            "largest": error.max().item(),
        },
        typical_weight=weights.norm().item() / weights.numel() ** 0.5,
        nbytes=stored.nbytes,
        bits_per_parameter=stored.bits_per_parameter,
    )
