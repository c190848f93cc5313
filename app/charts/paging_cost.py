"""The chart of what moving optimizer pages adds to a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10
from typing import TYPE_CHECKING

from app.charts.canvas import blank, legend, plot_area
from app.charts.paging import BELOW_PX, DASHES, LEFT_PX, LINE_TITLE_PX, RIGHT_PX, legend_px, plot_title
from app.charts.palette import GRID, MUTED, PALETTE, SURFACE
from app.text import paging as text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def cost_chart(
    width_px: int,
    *,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    chosen: Mapping[str, tuple[float, float]],
    paper_tokens: float,
) -> Figure:
    """The share of a step that moving pages adds, over the tokens of a step (both axes grow tenfold).

    Args:
        width_px: of the figure.
        lines: name of a bus -> (tokens, per cent of the computing time).
        chosen: name of a bus -> the point of the visitor's setting.
        paper_tokens: of the paper's batch of 16, where it found no difference.
    """
    looks = (
        {"color": PALETTE["page-evicted"], "linestyle": "-"},
        {"color": PALETTE["accent"], "linestyle": (0, (6, 2))},
    )
    styles = dict(zip(lines, looks, strict=True))
    entries = [(name, {**styles[name], "linewidth": 2.5}) for name in lines]
    top = legend_px(entries, width_px) + LINE_TITLE_PX
    figure = blank(width_px, top + 260)
    legend(figure, entries, left=0)
    plot_title(figure, top, text.COST_AXIS)
    tokens = [at for points in lines.values() for at, _ in points]
    low, high = log10(min(tokens)), log10(max(tokens))
    bottom, ceiling = -2.0, 3.0
    axes = plot_area(
        figure,
        x=(low, high),
        y=(bottom, ceiling),
        left=LEFT_PX,
        right=RIGHT_PX + 8,
        top=top,
        bottom=BELOW_PX,
        x_ticks={log10(at): f"{at:,}" for at in (100, 1000, 10_000, 100_000) if low <= log10(at) <= high},
        y_ticks={power: f"{10.0**power:,g} %" for power in range(-2, 4)},
        x_label=text.TOKENS_AXIS,
        grid="y",
    )
    axes.vlines(log10(paper_tokens), bottom, ceiling, color=MUTED, linewidth=1, linestyle=DASHES)
    axes.text(
        log10(paper_tokens) + 0.04, ceiling - 0.12, text.COST_PAPER_MARK, color=MUTED, fontsize=12, va="top", ha="left"
    )
    for name, points in lines.items():
        inside = [(log10(at), log10(share)) for at, share in points if share > 0]
        xs, ys = [x for x, _ in inside], [min(max(y, bottom), ceiling) for _, y in inside]
        axes.plot(xs, ys, linewidth=2.5, gid="cost", **styles[name])
    for name, (at, share) in chosen.items():
        if share > 0:
            y = min(max(log10(share), bottom), ceiling)
            axes.plot(
                [log10(at)],
                [y],
                marker="o",
                markersize=9,
                color=styles[name]["color"],
                markeredgecolor=SURFACE,
                markeredgewidth=2,
                gid="cost-chosen",
            )
    axes.hlines(bottom, low, high, color=GRID, linewidth=1)
    return figure
