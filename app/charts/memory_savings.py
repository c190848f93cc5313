"""Charts beside the memory estimate: what each change would save, and what was measured against the formula."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.charts.canvas import SMALL_PX, add_bar, blank, legend, plot_area, round_ticks
from app.charts.palette import INK, MUTED, PALETTE
from app.charts.svg import NARROW_PX
from app.text import memory as text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 30


def savings_figure(width_px: int, *, savings: Sequence[tuple[str, float]]) -> Figure:
    """One bar a change of the settings: by how many percent of the peak it would lower the peak.

    Args:
        width_px: width in CSS pixels.
        savings: (the change in a few words, percent), largest first.
    """
    narrow = width_px <= NARROW_PX
    row = 44 if narrow else _ROW
    left = 8 if narrow else 250
    figure = blank(width_px, row * len(savings) + 52)
    edge = max(10.0, 1.1 * max(percent for _, percent in savings))
    axes = plot_area(
        figure,
        x=(0, edge),
        y=(row * len(savings), 0),
        left=left,
        top=6,
        right=56,
        x_ticks={value: f"{name} %" for value, name in round_ticks(edge).items()},
        x_label=text.SAVINGS_AXIS,
        grid="x",
    )
    inner = width_px - left - 56
    for number, (name, percent) in enumerate(savings):
        top = row * number + (20 if narrow else 6)
        add_bar(axes, 0, top, percent, 18, name=f"saving-{number}", color=PALETTE["accent"])
        axes.text(percent + 6 * edge / inner, top + 9, f"{percent:.1f} %", va="center", color=INK, fontsize=SMALL_PX)
        _name_row(axes, name, row * number + 10 if narrow else None, top + 9, inner)
    return figure


def measured_figure(width_px: int, *, rows: Sequence[tuple[str, float, float]]) -> Figure:
    """A line a run: where the formula says its peak lies, and where the allocator measured it.

    Args:
        width_px: width in CSS pixels.
        rows: (run in a few words, GiB by formula, GiB measured).
    """
    narrow = width_px <= NARROW_PX
    row = 44 if narrow else _ROW
    left = 8 if narrow else 250
    figure = blank(width_px, row * len(rows) + 90)
    edge = 1.08 * max(max(formula, measured) for _, formula, measured in rows)
    axes = plot_area(
        figure,
        x=(0, edge),
        y=(row * len(rows), 0),
        left=left,
        top=40,
        right=20,
        x_ticks=round_ticks(edge),
        x_label=text.MEASURED_AXIS,
        grid="x",
    )
    formula_style = {"marker": "|", "color": MUTED, "markeredgewidth": 3}
    measured_style = {"marker": "o", "color": PALETTE["accent"]}
    legend(figure, [(text.MEASURED_FORMULA, formula_style), (text.MEASURED_POINT, measured_style)], left=max(left, 4))
    inner = width_px - left - 20
    for number, (name, formula, measured) in enumerate(rows):
        middle = row * number + (29 if narrow else _ROW / 2)
        axes.plot([formula], [middle], markersize=16, linestyle="", gid=f"formula-{number}", **formula_style)
        axes.plot([measured], [middle], markersize=7, linestyle="", gid=f"measured-{number}", **measured_style)
        _name_row(axes, name, row * number + 10 if narrow else None, middle, inner)
    return figure


def _name_row(axes: Axes, name: str, above: float | None, beside: float, inner_px: float) -> None:
    """The row's name above its bar where the page is narrow, else left of it."""
    style = {"va": "center", "color": INK, "fontsize": SMALL_PX}
    if above is not None:
        axes.text(0, above, name, **style)
    else:
        axes.text(-8 / inner_px, beside, name, transform=axes.get_yaxis_transform(), ha="right", **style)
