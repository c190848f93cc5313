"""Charts of memory: the paper's Figure 6 beside its formula, and the moments of one training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.charts.canvas import (
    LEGEND_ROW_PX,
    LIMIT_DASHES,
    SMALL_PX,
    add_bar,
    blank,
    legend,
    legend_rows,
    plot_area,
    round_ticks,
)
from app.charts.palette import INK, MUTED, PALETTE, SURFACE
from app.charts.svg import NARROW_PX
from app.text import memory as text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MIB_IN_GIB = 1024
#: Memory of common cards, in GiB.
CARDS_GIB = (8, 16, 24, 48, 80)
_FIGURE6_COLOURS = {
    "model": "base-model",
    "adapters": "adapter",
    "weight_gradient": "gradient",
    "optimizer": "optimizer",
    "input_gradient": "activation",
}
_SHADES = (1.0, 0.62, 0.4, 0.25)
_BAR, _PAIR_GAP = 20, 14


def smallest_card(gib: float) -> int | None:
    """The smallest of `CARDS_GIB` that holds ``gib``, or None."""
    return next((size for size in CARDS_GIB if size >= gib), None)


def figure6_figure(
    width_px: int,
    *,
    ours: Mapping[str, Mapping[str, float]],
    paper: Mapping[str, Mapping[str, float]],
    labels: Mapping[str, float],
) -> Figure:
    """Two lying stacked bars a model size, formula over paper, with lines for common cards.

    Args:
        width_px: width in CSS pixels.
        ours, paper: size -> component -> MiB, in the order of the paper's figure from the bottom up.
        labels: size -> the total printed over the paper's bar, in GB; written at the bars' ends when there is room.
    """
    narrow = width_px <= NARROW_PX
    row = 2 * _BAR + 4 + _PAIR_GAP
    left, right = (74, 16) if narrow else (84, 104)
    legend_left = 4 if narrow else left
    top = 34 + LEGEND_ROW_PX * legend_rows(list(text.FIGURE6_PARTS.values()), width_px, left=legend_left)
    height = top + row * len(ours) + 50
    figure = blank(width_px, height)
    largest = max(sum(parts.values()) for group in (ours, paper) for parts in group.values()) / MIB_IN_GIB
    axes = plot_area(
        figure,
        x=(0, _right_edge(largest)),
        y=(row * len(ours), 0),
        left=left,
        top=top,
        right=right,
        x_ticks=round_ticks(_right_edge(largest)),
        x_label=text.MEMORY_AXIS,
    )
    add_cards(axes, _right_edge(largest))
    entries = [
        (name, {"marker": "s", "color": PALETTE[_FIGURE6_COLOURS[part]]}) for part, name in text.FIGURE6_PARTS.items()
    ]
    legend(figure, entries, left=legend_left)
    unit = axes.get_yaxis_transform()
    for number, size in enumerate(ours):
        axes.text((8 - left) / (width_px - left - right), row * number + _BAR + 2, size, transform=unit, va="center",
                  color=INK, fontsize=SMALL_PX + 1, weight="bold")  # fmt: skip
        for second, (name, parts) in enumerate(((text.ROW_FORMULA, ours[size]), (text.ROW_PAPER, paper[size]))):
            base = row * number + second * (_BAR + 2)
            axes.text(-6 / (width_px - left - right), base + _BAR / 2, name, transform=unit, ha="right", va="center",
                      color=MUTED, fontsize=SMALL_PX - 1)  # fmt: skip
            start = 0.0
            for part, mib in parts.items():
                width = mib / MIB_IN_GIB
                add_bar(axes, start, base, width, _BAR, name=f"{size}-{name}-{part}",
                        color=PALETTE[_FIGURE6_COLOURS[part]], alpha=1.0 if second == 0 else 0.6)  # fmt: skip
                start += width
            if not narrow:
                total = (
                    text.BAR_FORMULA.format(mib=start * MIB_IN_GIB)
                    if second == 0
                    else text.BAR_PAPER.format(gb=labels[size])
                )
                axes.text(start + 0.3, base + _BAR / 2, total, va="center", color=INK, fontsize=SMALL_PX - 1,
                          bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 1})  # fmt: skip
    return figure


def stacked_figure(width_px: int, *, rows: Mapping[str, Mapping[str, int]], names: Mapping[str, str]) -> Figure:
    """One lying stacked bar a moment of a training step, or a method, with lines for common cards.

    Args:
        width_px: width in CSS pixels.
        rows: row -> component -> bytes; components as in `app.text.memory.COMPONENTS`. Parts of bars are named
            "row-component" in the SVG.
        names: row -> what stands beside its bar.
    """
    narrow = width_px <= NARROW_PX
    row, bar, left, right = 42, 26, 104, 60
    legend_left = 4 if narrow else left
    groups = [name for name, _ in text.GROUPS.values()]
    top = 34 + LEGEND_ROW_PX * legend_rows(groups, width_px, left=legend_left)
    figure = blank(width_px, top + row * len(rows) + 46)
    gib = {name: {part: size / 2**30 for part, size in parts.items()} for name, parts in rows.items()}
    largest = max(sum(parts.values()) for parts in gib.values())
    edge = _right_edge(largest)
    axes = plot_area(
        figure,
        x=(0, edge),
        y=(row * len(gib), 0),
        left=left,
        top=top,
        right=right,
        x_ticks=round_ticks(edge),
        y_ticks={row * number + bar / 2 + 4: names[name] for number, name in enumerate(gib)},
        x_label=text.MEMORY_AXIS,
    )
    add_cards(axes, edge)
    entries = [(name, {"marker": "s", "color": PALETTE[colour]}) for colour, (name, _) in text.GROUPS.items()]
    legend(figure, entries, left=legend_left)
    for number, (row_name, parts) in enumerate(gib.items()):
        start, base = 0.0, row * number + 4
        for colour, (_, members) in text.GROUPS.items():
            for shade, name in zip(_SHADES, members, strict=False):
                width = parts.get(name, 0)
                if not width:
                    continue
                add_bar(axes, start, base, width, bar, name=f"{row_name}-{name}", color=PALETTE[colour], alpha=shade)
                start += width
        axes.text(start + edge * 0.008, base + bar / 2, gib_text(start), va="center", color=INK, fontsize=SMALL_PX,
                  bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 1})  # fmt: skip
    return figure


def add_cards(axes: Axes, edge: float) -> None:
    """Dashed lines at the cards that lie within ``edge`` GiB, their names above the plot.

    A name that would touch that of the next larger card is left out; the line stays.
    """
    pixels = axes.bbox.width / edge
    above = axes.get_xaxis_transform()
    inside = [size for size in CARDS_GIB if size <= edge]
    axes.vlines(inside, *axes.get_ylim(), colors=INK, linewidth=1, linestyles=LIMIT_DASHES, zorder=0.5)
    free_up_to = float("inf")
    crowded = CARDS_GIB[0] * pixels < 0.7 * SMALL_PX * len(text.CARD.format(size=CARDS_GIB[1]))
    for size in reversed(inside):
        name = str(size) if crowded and size != inside[-1] else text.CARD.format(size=size)
        half = 0.32 * SMALL_PX * len(name)
        if size * pixels + half <= free_up_to:
            axes.text(size, 1.02, name, transform=above, ha="center", va="bottom", color=INK, fontsize=SMALL_PX)
            free_up_to = size * pixels - half - 6


def gib_text(gib: float) -> str:
    """Memory for people: MiB under 1 GiB, one decimal under 100 GiB, else whole GiB."""
    if gib < 1:
        return f"{gib * MIB_IN_GIB:,.0f} MiB"
    return f"{gib:,.1f} GiB" if gib < 100 else f"{gib:,.0f} GiB"


def _right_edge(largest: float) -> float:
    """The axis ends a little beyond the larger of the bars and of the card that would hold them."""
    return 1.04 * max(largest, smallest_card(largest) or 0)
