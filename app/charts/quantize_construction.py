"""How NormalFloat's levels arise, in four figures: density, equal masses, two halves, rescaling.

The arithmetic is spelled out here because the steps are what is shown; its last step is tested against
``qlora.quantization.codebook.normal_float``, which is the one in force.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from app.charts.canvas import SMALL_PX, blank, legend, plot_area
from app.charts.palette import INK, MUTED, PALETTE
from app.text import quantize_story as text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NORMAL = NormalDist()
_SIDE = 3.0
_OUTER = 1.5


@dataclass(frozen=True)
class Construction:
    """The steps to the 2^bits levels of NormalFloat, in standard deviations of N(0, 1) unless said otherwise.

    Attributes:
        bits: k, from 2 to 8.
        even: (2^k,) evenly spaced levels from −3 to 3, for comparison.
        edges: (2^k − 1,) where slices of equal mass meet.
        top: probability below the outermost level, 1 − δ.
        quantiles: (2^k,) ascending: 2^(k−1) − 1 negative ones, zero, 2^(k−1) positive ones.
    """

    bits: int
    even: tuple[float, ...]
    edges: tuple[float, ...]
    top: float
    quantiles: tuple[float, ...]

    @property
    def count(self) -> int:
        """2^bits."""
        return 2**self.bits

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles divided by the largest."""
        return tuple(quantile / self.quantiles[-1] for quantile in self.quantiles)


@functools.cache
def construction(bits: int) -> Construction:
    """Follow the construction (section 3 and Appendix E of the paper) for 2 to 8 bits.

    Raises:
        ValueError: bits is outside 2 to 8.
    """
    if not 2 <= bits <= 8:
        raise ValueError(f"NormalFloat is shown for 2 to 8 bits, not {bits}")
    count, half = 2**bits, 2 ** (bits - 1)
    top = 1 - (1 / (2 * (count - 1)) + 1 / (2 * count)) / 2
    positive = [_NORMAL.inv_cdf(top - i * (top - 0.5) / half) for i in range(half)]
    negative = [-_NORMAL.inv_cdf(top - i * (top - 0.5) / (half - 1)) for i in range(half - 1)]
    return Construction(
        bits=bits,
        even=tuple(_SIDE * (2 * i / (count - 1) - 1) for i in range(count)),
        edges=tuple(_NORMAL.inv_cdf(i / count) for i in range(1, count)),
        top=top,
        quantiles=(*negative, 0.0, *reversed(positive)),
    )


def probability(x: float) -> float:
    """Share of a standard normal distribution below ``x``."""
    return _NORMAL.cdf(x)


def nearest_shares(levels: Sequence[float]) -> list[float]:
    """Share of a standard normal distribution that is nearest to each of the ascending levels."""
    middles = [(low + high) / 2 for low, high in itertools.pairwise(levels)]
    below = [0.0, *map(_NORMAL.cdf, middles), 1.0]
    return [high - low for low, high in itertools.pairwise(below)]


def outer_share() -> float:
    """Share of a standard normal distribution beyond the middle of either half of the evenly spaced levels."""
    return 2 * _NORMAL.cdf(-_OUTER)


def step_figure(width_px: int, *, step: int, bits: int) -> Figure:
    """The figure of one step.

    Args:
        width_px: width in CSS pixels.
        step: 1 to 4.
        bits: 2 to 8.
    """
    return (_even_figure, _masses_figure, _halves_figure, _rescaled_figure)[step - 1](width_px, construction(bits))


def _even_figure(width_px: int, steps: Construction) -> Figure:
    figure, axes = _density_axes(width_px)
    edge = _SIDE * 1.1
    _area(axes, (-edge, edge), alpha=0.28, name="density")
    _area(axes, (-edge, -_OUTER), (_OUTER, edge), color=PALETTE["base-model"], alpha=0.7, name="beyond")
    axes.vlines(steps.even, -0.028, 0.0, colors=INK, linewidth=_line(steps))
    legend(
        figure,
        [
            (text.LEGEND_EVEN, {"color": INK, "linewidth": 1.4}),
            (text.LEGEND_BEYOND, {"color": PALETTE["base-model"], "alpha": 0.8, "marker": "s"}),
        ],
        left=30,
    )
    return figure


def _masses_figure(width_px: int, steps: Construction) -> Figure:
    figure, axes = _density_axes(width_px)
    _slices(axes, (-_SIDE * 1.1, *steps.edges, _SIDE * 1.1))
    axes.vlines(steps.edges, -0.02, [_NORMAL.pdf(edge) for edge in steps.edges], colors=INK, linewidth=_line(steps))
    legend(figure, [(text.LEGEND_EDGE, {"color": INK, "linewidth": 1.2})], left=30)
    return figure


def _halves_figure(width_px: int, steps: Construction) -> Figure:
    figure, axes = _density_axes(width_px)
    _slices(axes, steps.quantiles)
    others = [quantile for quantile in steps.quantiles if quantile]
    heights = [_NORMAL.pdf(quantile) + 0.012 for quantile in others]
    axes.vlines(others, -0.02, heights, colors=PALETTE["nf4"], linewidth=_line(steps) + 0.3)
    axes.vlines([0], -0.02, 0.43, colors=INK, linewidth=2)
    label = {"color": INK, "fontsize": SMALL_PX, "va": "center", "ha": "center"}
    half = steps.count // 2
    axes.text(-2.6, 0.2, text.HALF.format(count=half - 1), **label)
    axes.text(2.6, 0.2, text.HALF.format(count=half), **label)
    legend(
        figure,
        [
            (text.LEGEND_LEVEL.format(bits=steps.bits), {"color": PALETTE["nf4"], "linewidth": 1.6}),
            (text.LEGEND_ZERO, {"color": INK, "linewidth": 2}),
        ],
        left=30,
    )
    return figure


def _rescaled_figure(width_px: int, steps: Construction) -> Figure:
    figure = blank(width_px, 250)
    axes = plot_area(
        figure, x=(-1.06, 1.06), y=(0, 1), left=52, top=40, bottom=34, right=16,
        x_ticks={-1: "−1", -0.5: "−0.5", 0: "0", 0.5: "0.5", 1: "1"},
        y_ticks={0.86: text.ROW_BEFORE, 0.12: text.ROW_AFTER},
    )  # fmt: skip
    for sigma in range(-3, 4):
        axes.text(
            sigma / _SIDE, 1.04, f"{sigma} σ".replace("-", "−"), color=MUTED, fontsize=SMALL_PX, ha="center",
            va="bottom", clip_on=False,
        )  # fmt: skip
    axes.hlines([0.86, 0.12], -1.06, 1.06, colors=MUTED, linewidth=1)
    before = [quantile / _SIDE for quantile in steps.quantiles]
    width = _line(steps)
    axes.vlines(before, 0.79, 0.93, colors=PALETTE["nf4"], linewidth=width + 0.3)
    axes.vlines(steps.levels, 0.04, 0.2, colors=PALETTE["nf4"], linewidth=width + 0.6)
    _joints(axes, before, steps.levels, width)
    return figure


def _joints(axes: Axes, before: Sequence[float], after: Sequence[float], width: float) -> None:
    from matplotlib.collections import LineCollection

    lines = [((x, 0.77), (y, 0.22)) for x, y in zip(before, after, strict=True)]
    axes.add_collection(LineCollection(lines, colors=MUTED, linewidth=width * 0.6), autolim=False)


def _density_axes(width_px: int) -> tuple[Figure, Axes]:
    figure = blank(width_px, 290)
    axes = plot_area(
        figure, x=(-_SIDE * 1.1, _SIDE * 1.1), y=(-0.03, 0.43), left=30, top=34,
        x_ticks={sigma: f"{sigma}".replace("-", "−") for sigma in range(-3, 4)},
        x_label=text.DENSITY_X, y_label=text.DENSITY_Y,
    )  # fmt: skip
    axes.hlines(0, *axes.get_xlim(), colors=MUTED, linewidth=1)
    return figure, axes


def _slices(axes: Axes, edges: Sequence[float]) -> None:
    """Neighbouring slices in two shades; all of one shade are one path, because there can be 256."""
    pairs = list(itertools.pairwise(edges))
    for first, alpha, name in ((0, 0.55, "slices-even"), (1, 0.28, "slices-odd")):
        _area(axes, *pairs[first::2], alpha=alpha, name=name)


def _area(axes: Axes, *spans: tuple[float, float], alpha: float, name: str, color: str = "") -> None:
    """The density over each span, filled."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    outlines = []
    for low, high in spans:
        points = max(3, round(16 * (high - low)))
        x = [low + i * (high - low) / (points - 1) for i in range(points)]
        outlines.append(Path([(low, 0), *((at, _NORMAL.pdf(at)) for at in x), (high, 0), (low, 0)], closed=True))
    shape = PathPatch(
        Path.make_compound_path(*outlines), color=color or PALETTE["base-model"], alpha=alpha, linewidth=0
    )
    shape.set_gid(name)
    axes.add_artist(shape)


def _line(steps: Construction) -> float:
    """Width of a level's line: thinner when there are many."""
    return 1.3 if steps.bits <= 4 else 0.9 if steps.bits <= 6 else 0.45
