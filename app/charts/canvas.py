"""Figures in the page's manner, measured in CSS pixels and made to be drawn in a few tens of milliseconds.

Matplotlib spends most of a small chart's time on ticks, spines and automatic limits. None of the charts needs them:
the limits are known, and a handful of labels says more than a scale. So the axes here are bare and carry plain text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from app.charts.palette import GRID, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

_POINTS_PER_INCH = 72
FONT_PX = 13
SMALL_PX = 12
DASHED = (0, (3, 3))
LIMIT_DASHES = (0, (4, 3))


def blank(width_px: float, height_px: float) -> Figure:
    """An empty figure whose SVG is ``width_px`` units wide, one unit a pixel."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_px / _POINTS_PER_INCH, height_px / _POINTS_PER_INCH), dpi=_POINTS_PER_INCH)


def plot_area(
    figure: Figure,
    *,
    x: tuple[float, float],
    y: tuple[float, float],
    left: float,
    top: float,
    right: float = 12,
    bottom: float = 44,
    x_ticks: Mapping[float, str] | None = None,
    y_ticks: Mapping[float, str] | None = None,
    x_label: str = "",
    y_label: str = "",
    grid: str = "",
) -> Axes:
    """Bare axes inside fixed margins, with tick texts, labels and a light grid.

    Args:
        figure: from :func:`blank`.
        x, y: values at the left and right, bottom and top edge; they may run backwards.
        left, top, right, bottom: margins in pixels.
        x_ticks, y_ticks: value -> text beside the axis.
        x_label, y_label: what the axes count.
        grid: "x" for lines at ``x_ticks``, "y" for lines at ``y_ticks``, "" for none.
    """
    from app.charts.bare_axes import BareAxes

    width, height = (inches * _POINTS_PER_INCH for inches in figure.get_size_inches())
    inner_width, inner_height = width - left - right, height - top - bottom
    axes = BareAxes(figure, (left / width, bottom / height, inner_width / width, inner_height / height))
    figure.add_axes(axes)
    axes.set(xlim=x, ylim=y, autoscale_on=False)
    below, beside = axes.get_xaxis_transform(), axes.get_yaxis_transform()
    tick = {"color": MUTED, "fontsize": SMALL_PX}
    for value, name in (x_ticks or {}).items():
        axes.text(value, -8 / inner_height, name, transform=below, ha="center", va="top", **tick)
    for value, name in (y_ticks or {}).items():
        axes.text(-8 / inner_width, value, name, transform=beside, ha="right", va="center", **tick)
    if grid == "x":
        axes.vlines(list(x_ticks), *y, colors=GRID, linewidth=1, zorder=0)
    elif grid == "y":
        axes.hlines(list(y_ticks), *x, colors=GRID, linewidth=1, zorder=0)
    label = {"color": INK, "fontsize": FONT_PX}
    if x_label:
        figure.text((left + inner_width / 2) / width, 4 / height, x_label, ha="center", va="bottom", **label)
    if y_label:
        middle = (bottom + inner_height / 2) / height
        figure.text(4 / width, middle, y_label, ha="left", va="center", rotation=90, **label)
    return axes


def add_bar(
    axes: Axes, left: float, bottom: float, width: float, height: float, *, name: str, color: str, **style: object
) -> Rectangle:
    """A rectangle from (left, bottom) in the axes' values; ``name`` becomes ``data-part`` in the SVG."""
    from matplotlib.patches import Rectangle

    bar = Rectangle((left, bottom), width, height, linewidth=style.pop("linewidth", 0), color=color, **style)
    bar.set_gid(name)
    axes.add_artist(bar)
    return bar


LEGEND_ROW_PX = 22


def legend(figure: Figure, entries: Sequence[tuple[str, Mapping[str, object]]], *, left: float, top: float = 0) -> None:
    """Samples with their names from `top` down, in as many rows as `legend_rows` says.

    Args:
        figure: from :func:`blank`.
        entries: (name, style of a line); the style ``{"marker": "s", "color": …}`` makes a filled square.
        left, top: pixels.
    """
    from matplotlib.lines import Line2D
    from matplotlib.transforms import IdentityTransform

    width, height = figure.get_size_inches() * _POINTS_PER_INCH
    for (name, style), (row, start) in zip(entries, _places([name for name, _ in entries], width, left), strict=True):
        middle = height - top - 12 - LEGEND_ROW_PX * row
        sample = Line2D([start, start + 18], [middle, middle], transform=IdentityTransform(), **style)
        if "marker" in style:
            sample = Line2D([start + 9], [middle], transform=IdentityTransform(), markersize=11, linewidth=0, **style)
        figure.add_artist(sample)
        figure.text((start + 24) / width, middle / height, name, va="center", color=INK, fontsize=SMALL_PX)


def legend_rows(names: Sequence[str], width_px: float, *, left: float) -> int:
    """Rows that the legend of these names takes in a figure of that width."""
    return _places(names, width_px, left)[-1][0] + 1


def _places(names: Sequence[str], width_px: float, left: float) -> list[tuple[int, float]]:
    """(row, start in pixels) of each name."""
    places, row, start = [], 0, left
    for name in names:
        length = 24 + 0.6 * SMALL_PX * len(name)
        if start + length > width_px and start > left:
            row, start = row + 1, left
        places.append((row, start))
        start += length + 18
    return places


def round_ticks(largest: float, count: int = 4) -> dict[float, str]:
    """About ``count`` round values from 0 to at most ``largest``, with their texts."""
    step = largest / count
    magnitude = 10.0 ** len(str(int(step))) / 10 if step >= 1 else 10.0 ** -len(str(int(1 / step)))
    step = min((factor * magnitude for factor in (1, 2, 2.5, 5, 10)), key=lambda candidate: abs(candidate - step))
    return {number * step: f"{number * step:,.10g}" for number in range(int(largest / step + 1e-9) + 1)}
