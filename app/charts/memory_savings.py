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


def savings_figure(width_px: int, *, savings: Sequence[tuple[str, float]]) -> Figure:
    """One bar a change of the settings: by how many percent of the peak it would lower the peak.

    Args:
        width_px: width in CSS pixels.
        savings: (the change in a few words, percent), largest first.
    """
    edge = max(10.0, 1.1 * max(percent for _, percent in savings))
    right = 56
    figure, axes, left, middles = _named_rows(
        width_px,
        [name for name, _ in savings],
        edge=edge,
        top=6,
        right=right,
        below=46,
        x_ticks={value: f"{name} %" for value, name in round_ticks(edge).items()},
        x_label=text.SAVINGS_AXIS,
    )
    beside = 6 * edge / (width_px - left - right)
    for number, ((_, percent), middle) in enumerate(zip(savings, middles, strict=True)):
        add_bar(axes, 0, middle - 9, percent, 18, name=f"saving-{number}", color=PALETTE["accent"])
        axes.text(percent + beside, middle, f"{percent:.1f} %", va="center", color=INK, fontsize=SMALL_PX)
    return figure


def measured_figure(width_px: int, *, rows: Sequence[tuple[str, float, float]]) -> Figure:
    """A line a run: where the formula says its peak lies, and where the allocator measured it.

    Args:
        width_px: width in CSS pixels.
        rows: (run in a few words, GiB by formula, GiB measured).
    """
    edge = 1.08 * max(max(formula, measured) for _, formula, measured in rows)
    figure, axes, left, middles = _named_rows(
        width_px,
        [name for name, *_ in rows],
        edge=edge,
        top=40,
        right=20,
        below=50,
        x_ticks=round_ticks(edge),
        x_label=text.MEASURED_AXIS,
    )
    formula_style = {"marker": "|", "color": MUTED, "markeredgewidth": 3}
    measured_style = {"marker": "o", "color": PALETTE["accent"]}
    legend(figure, [(text.MEASURED_FORMULA, formula_style), (text.MEASURED_POINT, measured_style)], left=max(left, 4))
    for number, ((_, formula, measured), middle) in enumerate(zip(rows, middles, strict=True)):
        axes.plot([formula], [middle], markersize=16, linestyle="", gid=f"formula-{number}", **formula_style)
        axes.plot([measured], [middle], markersize=7, linestyle="", gid=f"measured-{number}", **measured_style)
    return figure


def _named_rows(
    width_px: int,
    names: Sequence[str],
    *,
    edge: float,
    top: int,
    right: int,
    below: int,
    x_ticks: dict[float, str],
    x_label: str,
) -> tuple[Figure, Axes, int, list[float]]:
    """A figure with a row a name: its axes from 0 to `edge`, their left margin, and the middle of each row.

    Names stand above their rows where the page is narrow, else left of them.
    """
    narrow = width_px <= NARROW_PX
    row = 44 if narrow else 30
    left = 8 if narrow else 250
    figure = blank(width_px, top + row * len(names) + below)
    axes = plot_area(
        figure,
        x=(0, edge),
        y=(row * len(names), 0),
        left=left,
        top=top,
        right=right,
        x_ticks=x_ticks,
        x_label=x_label,
        grid="x",
    )
    middles = [row * number + (29 if narrow else 15) for number in range(len(names))]
    style = {"va": "center", "color": INK, "fontsize": SMALL_PX}
    for number, (name, middle) in enumerate(zip(names, middles, strict=True)):
        if narrow:
            axes.text(0, row * number + 10, name, **style)
        else:
            axes.text(
                -8 / (width_px - left - right), middle, name, transform=axes.get_yaxis_transform(), ha="right", **style
            )
    return figure, axes, left, middles
