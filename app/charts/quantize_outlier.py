"""Weights with an outlier, and the error of each block with one scale for all and with a scale a block.

The browser moves what is named here (``app/scripts/quantize_outlier.js``), so the places of things are public.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.charts.canvas import FONT_PX, SMALL_PX, add_bar, blank, plot_area
from app.charts.palette import GRID, INK, MUTED, PALETTE
from app.charts.svg import NARROW_PX
from app.text import quantize_journey as text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST_SIZE = 8.0
_BELOW = -1.3
_RIGHT = 22
_BOTTOM = 40
_HEADING = 24


@dataclass(frozen=True)
class Places:
    """Where things stand, in pixels from the upper left corner.

    Attributes:
        left, width, top: of all three plots.
        zero, unit: height of 0 in the plot of weights, and pixels of one largest weight.
        lanes: name -> height of its 0 %.
        lane_height: pixels of 100 %.
        height: of the figure.
    """

    left: float
    width: float
    top: float
    zero: float
    unit: float
    lanes: Mapping[str, float]
    lane_height: float
    height: float


def places(width_px: int) -> Places:
    """The layout for a width in CSS pixels."""
    left = 46
    plot, lane = 180, 72
    unit = plot / (LARGEST_SIZE + 0.4 - _BELOW)
    first = _HEADING + plot + _HEADING + lane
    second = first + _HEADING + lane + 4
    return Places(
        left=left,
        width=width_px - left - _RIGHT,
        top=_HEADING,
        zero=_HEADING + plot + _BELOW * unit,
        unit=unit,
        lanes={"whole": first, "blocks": second},
        lane_height=lane,
        height=second + _BOTTOM,
    )


def outlier_figure(
    width_px: int,
    *,
    weights: Sequence[float],
    place: int,
    size: float,
    block_size: int,
    errors: Mapping[str, Sequence[float]],
    data_type: str,
) -> Figure:
    """Three plots above one another on the same positions.

    Args:
        width_px: width in CSS pixels.
        weights: without the outlier, divided by the largest of them.
        place: position of the outlier, from 0.
        size: of the outlier, in the same unit.
        block_size: weights that share one scale.
        errors: "whole" and "blocks" -> mean error of each block in % of the typical weight.
        data_type: name in the palette.
    """
    at = places(width_px)
    figure = blank(width_px, at.height)
    axes = plot_area(figure, x=(0, width_px), y=(at.height, 0), left=0, top=0, right=0, bottom=0)
    step = at.width / len(weights)
    first = place // block_size * block_size
    last = min(first + block_size, len(weights))
    bottom = at.lanes["blocks"]
    add_bar(
        axes, at.left + first * step, _HEADING, (last - first) * step, bottom - _HEADING, name="own-block",
        color=PALETTE["highlight"], alpha=0.55, zorder=0,
    )  # fmt: skip
    _weights(axes, at, [0 if i == place else weight for i, weight in enumerate(weights)])
    x = at.left + (place + 0.5) * step
    add_bar(axes, x - 1.25, at.zero - size * at.unit, 2.5, size * at.unit, name="stem", color=INK)
    _handle(axes, x, at.zero - size * at.unit)
    small = {"fontsize": SMALL_PX, "color": MUTED, "va": "center", "ha": "right"}
    heading = {"fontsize": FONT_PX, "color": INK, "va": "center"}
    axes.text(at.left, 12, text.OUTLIER_WEIGHTS, **heading)
    for times in (0, LARGEST_SIZE / 2, LARGEST_SIZE):
        axes.text(at.left - 8, at.zero - times * at.unit, f"{times:.0f} ×" if times else "0", **small)
    axes.hlines(at.zero, at.left, at.left + at.width, colors=MUTED, linewidth=0.8)
    count = -(-len(weights) // block_size)
    gap = 1.0 if count > 1 else 0.0
    for lane, label in (("whole", text.OUTLIER_WHOLE), ("blocks", text.OUTLIER_IN_BLOCKS)):
        zero = at.lanes[lane]
        axes.text(at.left, zero - at.lane_height - 12, label, **heading)
        for percent in (0, 50, 100):
            height = zero - at.lane_height * percent / 100
            axes.text(at.left - 8, height, f"{percent} %" if percent else "0", **small)
            axes.hlines(height, at.left, at.left + at.width, colors=GRID, linewidth=1)
        for number, error in enumerate(errors[lane]):
            start, stop = number * block_size * step, min((number + 1) * block_size, len(weights)) * step
            length = min(error, 100) / 100 * at.lane_height
            add_bar(
                axes, at.left + start, zero - length, stop - start - gap, length, name=f"{lane}-{number}",
                color=PALETTE[data_type],
            )  # fmt: skip
    ticks = (
        [0, len(weights) // 2, len(weights)]
        if width_px <= NARROW_PX
        else range(0, len(weights) + 1, max(1, len(weights) // 4))
    )
    for tick in ticks:
        axes.text(
            at.left + tick * step, bottom + 12, f"{max(1, tick):,}", fontsize=SMALL_PX, color=MUTED, ha="center",
            va="center",
        )  # fmt: skip
    axes.text(at.left + at.width / 2, at.height - 9, text.OUTLIER_AXIS, ha="center", **heading)
    return figure


def _weights(axes, at: Places, weights: Sequence[float]) -> None:
    """One vertical line a weight, all in one path."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    step = at.width / len(weights)
    points = [
        (at.left + (i + 0.5) * step, height)
        for i, weight in enumerate(weights)
        for height in (at.zero, round(at.zero - weight * at.unit, 2))
    ]
    path = Path(points, [Path.MOVETO, Path.LINETO] * len(weights))
    line = PathPatch(path, facecolor="none", edgecolor=PALETTE["base-model"], linewidth=max(0.5, min(3, step * 0.7)))
    line.set_gid("weights")
    axes.add_artist(line)


def _handle(axes, x: float, y: float) -> None:
    """What is dragged: a disc, and around it a larger one that cannot be seen, for fingers."""
    from matplotlib.patches import Circle

    for radius, alpha, name in ((7.5, 1.0, "handle"), (22, 0.0, "reach")):
        disc = Circle((x, y), radius, color=INK, alpha=alpha, linewidth=0)
        disc.set_gid(name)
        axes.add_artist(disc)
