"""What the Quantize tab measures on the chosen weights: their histogram, and what storing them in few bits does."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.tabs.kept import kept
from app.tabs.quantize_sources import Chosen, weights

if TYPE_CHECKING:
    import numpy as np

    from qlora.quantization.weight import QuantizedWeight

HISTOGRAM_STEPS = 100
_RUN = 32
_RUNS_LOOKED_AT = 512
# One computation at a time: each takes all cores, and threads of several would wait for each other. Nothing that is
# kept may be asked for meanwhile.
_COMPUTING = threading.Lock()


@dataclass(frozen=True)
class Histogram:
    """Weights divided by the absmax of their block.

    Attributes:
        edges: (steps + 1,) from -1 to 1.
        density: (steps,), its integral is 1.
        half: half of the weights lie within ± this.
        distinct_in_run: different values in 32 neighbouring weights, mean over the first 512 runs; NaN
            where there are fewer than 32 weights.
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

    @property
    def relative_errors(self) -> dict[str, float]:
        """The errors in percent of the typical weight."""
        return {measure: 100 * error / self.typical_weight for measure, error in self.errors.items()}

    def levels_within(self, half: float) -> int:
        """How many levels lie within ± this."""
        return int((abs(self.levels) <= half).sum())


@kept(256)
def histogram(chosen: Chosen, block_size: int) -> Histogram:
    """Histogram of the scaled weights.

    Raises:
        InputError: as `quantize_sources.weights`.
    """
    import numpy as np
    import torch

    values = weights(chosen).flatten()
    with _COMPUTING:
        runs = values[: values.numel() // _RUN * _RUN].view(-1, _RUN)[:_RUNS_LOOKED_AT].sort(dim=1).values
        distinct = 1 + (runs.diff(dim=1) != 0).sum(dim=1).float().mean().item()
        padded = torch.nn.functional.pad(values, (0, -values.numel() % block_size)).view(-1, block_size)
        absmax = padded.abs().amax(dim=1, keepdim=True)
        scaled = (padded / absmax.clamp_min(torch.finfo(torch.float32).tiny)).flatten()[: values.numel()]
        # As torch.histc and torch.median do it, in a fifth of their time.
        steps = scaled.add(1).mul_(HISTOGRAM_STEPS / 2).int().clamp_(max=HISTOGRAM_STEPS - 1)
        counts = torch.bincount(steps, minlength=HISTOGRAM_STEPS).numpy()
        middle = (scaled.numel() - 1) // 2
        half = np.partition(scaled.abs_().numpy(), middle)[middle].item()
        return Histogram(
            edges=np.linspace(-1, 1, HISTOGRAM_STEPS + 1),
            density=counts * (HISTOGRAM_STEPS / 2 / counts.sum()),
            half=half,
            distinct_in_run=distinct,
        )


@kept(32)
def stored(chosen: Chosen, data_type: str, block_size: int, double_quantization: bool) -> QuantizedWeight:
    """The chosen weights quantized by `qlora.quantize`, once for panels that ask at the same time.

    Raises:
        InputError, ValueError: as `quantized`.
    """
    if double_quantization:
        return stored(chosen, data_type, block_size, False).double_quantized()
    import qlora

    values = weights(chosen)
    with _COMPUTING:
        return qlora.quantize(values, data_type, block_size=block_size, double_quantization=False, name=chosen.where())


@kept(512)
def quantized(chosen: Chosen, data_type: str, block_size: int, double_quantization: bool) -> Quantized:
    """The chosen weights quantized by `qlora.quantize`, measured.

    Raises:
        InputError: as `quantize_sources.weights`.
        ValueError: an argument is not one that `qlora.quantize` takes.
    """
    import torch

    from qlora.quantization.codebook import codebook, decision_thresholds

    values, weight = weights(chosen), stored(chosen, data_type, block_size, double_quantization)
    thresholds, order = decision_thresholds(data_type)
    order = order.long()
    with _COMPUTING:
        counts = torch.bincount(weight.unpacked_codes(), minlength=16)[order]
        error = weight.dequantize(torch.float32).sub_(values).abs_()
        return Quantized(
            levels=codebook(data_type)[order].numpy(),
            thresholds=thresholds.numpy(),
            counts=counts.numpy(),
            errors={
                "mean_absolute": error.mean().item(),
                "root_mean_square": error.norm().item() / error.numel() ** 0.5,
                "largest": error.max().item(),
            },
            typical_weight=values.norm().item() / values.numel() ** 0.5,
            nbytes=weight.nbytes,
            bits_per_parameter=weight.bits_per_parameter,
        )
