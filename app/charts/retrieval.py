"""Retrieval quality by the data type of the embedding model: a dot a data type, on one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.charts.canvas import FONT_PX, LEGEND_ROW_PX, SMALL_PX, blank, legend, legend_rows, plot_area
from app.charts.palette import GRID, INK, MUTED, PALETTE, SURFACE
from app.charts.svg import NARROW_PX
from app.text import ask_experiment as text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW, _HEADING, _METRIC, _GAP = 17, 30, 28, 14
_MARKERS = {"fp32": "D", "nf4": "o", "fp4-e2m1": "s", "fp4-e3m0": "v", "int4": "^"}


@dataclass(frozen=True)
class Dots:
    """Of one data type: metric -> value (0 to 1), for each of :data:`app.text.ask_experiment.GROUPS`."""

    data_type: str
    values: Mapping[str, Mapping[str, float]]


def lowest(rows: Sequence[Dots]) -> float:
    """Where the scale begins: the tenth below the smallest value."""
    least = min(value for row in rows for group in row.values.values() for value in group.values())
    return max(0.0, math.floor(10 * least - 0.2) / 10)


def retrieval_figure(width_px: int, *, rows: Sequence[Dots]) -> Figure:
    """A panel a group, side by side or, on a narrow page, one below the other; in it a block a metric with a line for
    every data type, on which its dot stands. A dashed line marks the first data type's value.

    Args:
        width_px: width in CSS pixels.
        rows: one a data type, the one that the others are held against first.
    """
    narrow = width_px <= NARROW_PX
    names = [text.NAMES.get(row.data_type, row.data_type) for row in rows]
    left = 8
    head = 12 + LEGEND_ROW_PX * legend_rows(names, width_px, left=left)
    block = _METRIC + _ROW * len(rows)
    panel = _HEADING + block * len(text.METRICS) + 22
    height = head + (panel + _GAP) * (len(text.GROUPS) if narrow else 1) + 12
    figure = blank(width_px, height)
    axes = plot_area(figure, x=(0, width_px), y=(height, 0), left=0, top=0, right=0, bottom=0)
    legend(figure, [(name, _style(row.data_type)) for name, row in zip(names, rows, strict=True)], left=left)
    low, value_px = lowest(rows), 46
    panel_width = width_px if narrow else width_px / len(text.GROUPS)
    for number, (group, title) in enumerate(text.GROUPS.items()):
        start = left if narrow else left + number * panel_width
        top = head + (number * (panel + _GAP) if narrow else 0)
        length = panel_width - 2 * left - value_px
        axes.text(start, top + 12, title, va="center", color=INK, fontsize=FONT_PX, weight="bold")
        bottom = top + _HEADING + block * len(text.METRICS)

        def at(value: float, start: float = start, length: float = length) -> float:
            return start + 6 + (value - low) / (1 - low) * (length - 12)

        for tick in range(round(10 * low), 11, 1 if low >= 0.5 else 2):
            axes.vlines(at(tick / 10), top + _HEADING - 4, bottom, colors=GRID, linewidth=1, zorder=0)
            axes.text(
                at(tick / 10), bottom + 6, f"{tick / 10:.1f}", ha="center", va="top", color=MUTED, fontsize=SMALL_PX
            )
        for place, (metric, name) in enumerate(text.METRICS.items()):
            first = top + _HEADING + place * block
            axes.text(start, first + 14, name, va="center", color=INK, fontsize=SMALL_PX,
                      bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 1})  # fmt: skip
            reference = rows[0].values[group][metric]
            axes.vlines(at(reference), first + _METRIC - 4, first + block - 3, colors=MUTED, linewidth=1.2,
                        linestyles=[(0, (3, 2))], zorder=1)  # fmt: skip
            for line, row in enumerate(rows):
                value, middle = row.values[group][metric], first + _METRIC + _ROW * (line + 0.4)
                style = _style(row.data_type)
                axes.plot([at(value)], [middle], linestyle="", markersize=9, zorder=3,
                          gid=f"{group}-{metric}-{row.data_type}", **style)  # fmt: skip
                axes.text(start + length + value_px - 4, middle, f"{value:.3f}", ha="right", va="center",
                          color=INK, fontsize=SMALL_PX - 1)  # fmt: skip
    label = text.AXIS_NARROW if narrow else text.AXIS
    axes.text(left, height - 4, label, va="bottom", color=MUTED, fontsize=SMALL_PX)
    return figure


def _style(data_type: str) -> dict:
    return {"marker": _MARKERS.get(data_type, "o"), "color": PALETTE.get(data_type, INK), "markeredgewidth": 0}


def retrieval_description(rows: Sequence[Dots]) -> str:
    """The chart in sentences."""
    groups = []
    for group, title in text.GROUPS.items():
        metrics = []
        for metric, name in text.METRICS.items():
            values = ", ".join(
                f"{text.NAMES.get(row.data_type, row.data_type)} {row.values[group][metric]:.3f}" for row in rows
            )
            metrics.append(text.DESCRIPTION_METRIC.format(metric=name.lower(), values=values))
        groups.append(text.DESCRIPTION_GROUP.format(group=title, metrics="; ".join(metrics)))
    return text.DESCRIPTION.format(low=lowest(rows), groups=" ".join(groups))


def retrieval_parts(rows: Sequence[Dots]) -> dict[str, str]:
    """What each dot says to who points at it or reaches it with the keyboard."""
    return {
        f"{group}-{metric}-{row.data_type}": text.PART.format(
            name=text.NAMES.get(row.data_type, row.data_type),
            group=title,
            metric=name.lower(),
            value=row.values[group][metric],
        )
        for group, title in text.GROUPS.items()
        for metric, name in text.METRICS.items()
        for row in rows
    }
