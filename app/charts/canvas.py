"""Empty figures in the page's manner, measured in CSS pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.charts.palette import GRID, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINTS_PER_INCH = 72
FONT_PX = 13


def blank(
    width_px: float, height_px: float, *, left: float = 56, right: float = 12, top: float = 16, bottom: float = 40
) -> Figure:
    """A figure whose SVG is ``width_px`` units wide, with fixed margins in the same unit.

    Fixed margins rather than a layout engine: the engine lays all text out twice, which costs more than the drawing.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_px / _POINTS_PER_INCH, height_px / _POINTS_PER_INCH), dpi=_POINTS_PER_INCH)
    figure.subplots_adjust(
        left=left / width_px, right=1 - right / width_px, top=1 - top / height_px, bottom=bottom / height_px
    )
    return figure


def dress(axes: Axes, *, x_label: str = "", y_label: str = "", grid: str | None = "y") -> None:
    """Quiet axes: no box, a light grid along ``grid`` ("x", "y" or None), muted ticks, labels in ink."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=FONT_PX - 1, length=0, pad=6)
    axes.set_xlabel(x_label, color=INK, fontsize=FONT_PX)
    axes.set_ylabel(y_label, color=INK, fontsize=FONT_PX)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=1)
