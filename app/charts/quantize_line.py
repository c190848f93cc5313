"""The axis on which a scaled weight finds its nearest level; the browser moves both marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.charts.canvas import DASHED, blank, legend, legend_rows, plot_area
from app.charts.palette import INK, MUTED, PALETTE
from app.text import quantize as labels
from app.text import quantize_journey as text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEFT = RIGHT = 14
SIDES = (-1.17, 1.05)


def pixels_a_unit(width_px: float) -> float:
    """Pixels between 0 and 1 on the axis."""
    return (width_px - LEFT - RIGHT) / (SIDES[1] - SIDES[0])


def line_figure(
    width_px: int, *, levels: Sequence[float], thresholds: Sequence[float], data_type: str, value: float, level: float
) -> Figure:
    """Levels and edges on one axis, a triangle above the value and a square under its level.

    Args:
        width_px: width in CSS pixels.
        levels, thresholds: (16,) and (15,), ascending.
        data_type: name in the palette.
        value: the scaled weight.
        level: the nearest level.
    """
    entries = [
        (
            labels.LEVELS_LEGEND_LEVEL.format(data_type=labels.DATA_TYPES[data_type]),
            {"color": PALETTE[data_type], "linewidth": 1.6},
        ),
        (text.LINE_EDGE, {"color": MUTED, "linewidth": 0.8, "linestyle": DASHED}),
        (text.LINE_VALUE, {"color": INK, "marker": "v"}),
        (text.LINE_LEVEL, {"color": PALETTE[data_type], "marker": "s"}),
    ]
    rows = legend_rows([name for name, _ in entries], width_px, left=LEFT)
    top = 22 * rows + 8
    figure = blank(width_px, top + 126)
    axes = plot_area(
        figure, x=SIDES, y=(0, 1), left=LEFT, top=top, right=RIGHT,
        x_ticks={-1: "−1", -0.5: "−0.5", 0: "0", 0.5: "0.5", 1: "1"}, x_label=text.LINE_AXIS,
    )  # fmt: skip
    axes.hlines(0.3, *SIDES, colors=MUTED, linewidth=1)
    axes.vlines(thresholds, 0.08, 0.52, colors=MUTED, linewidth=0.8, linestyles=DASHED)
    axes.vlines(levels, 0.1, 0.6, colors=PALETTE[data_type], linewidth=1.6)
    _mark(axes, value, 0.82, [(-6, 7), (6, 7), (0, -7)], INK, "value")
    _mark(axes, level, 0.02, [(-5, -5), (5, -5), (5, 5), (-5, 5)], PALETTE[data_type], "level")
    legend(figure, entries, left=LEFT)
    return figure


def _mark(axes, x: float, y: float, corners: Sequence[tuple[float, float]], color: str, name: str) -> None:
    from matplotlib.patches import Polygon
    from matplotlib.transforms import IdentityTransform

    at_x, at_y = axes.transData.transform((x, y))
    shape = Polygon(
        [(at_x + dx, at_y + dy) for dx, dy in corners], color=color, linewidth=0, transform=IdentityTransform()
    )
    shape.set_gid(name)
    axes.figure.add_artist(shape)
