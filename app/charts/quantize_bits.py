"""What the scales cost, row by row, until double quantization is complete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.charts.canvas import FONT_PX, SMALL_PX, add_bar, blank, plot_area
from app.charts.palette import GRID, INK, MUTED, PALETTE
from app.charts.svg import NARROW_PX
from app.text import quantize_story as text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def scale_bits(block_size: int) -> tuple[float, float, float]:
    """Bits a weight for scales: 32-bit, 8-bit, and 8-bit with a 32-bit scale for 256 of them (section 3)."""
    return 32 / block_size, 8 / block_size, 8 / block_size + 32 / (block_size * 256)


def scales_figure(width_px: int, *, block_size: int, shown: int) -> Figure:
    """Three rows, of which the first ``shown`` have their bars; all are in proportion to the first.

    Args:
        width_px: width in CSS pixels.
        block_size: weights that share one scale.
        shown: 1 to 3.
    """
    bits: Sequence[float] = scale_bits(block_size)
    row, top = 58, 4
    height = top + row * len(bits) + 26
    figure = blank(width_px, height)
    axes = plot_area(figure, x=(0, width_px), y=(height, 0), left=0, top=0, right=0, bottom=0)
    room = width_px - (70 if width_px <= NARROW_PX else 220)
    axes.vlines(1, top, top + row * len(bits), colors=GRID, linewidth=1)
    for number, value in enumerate(bits):
        y = top + row * number
        here = number < shown
        words = {"va": "center", "fontsize": FONT_PX, "color": INK if here else MUTED}
        axes.text(6, y + 12, text.DOUBLE_ROWS[number], **words)
        if not here:
            continue
        length = room * value / bits[0]
        first = min(length, room * bits[1] / bits[0]) if number == 2 else length
        add_bar(axes, 1, y + 24, first, 20, name=f"bits-{number}", color=PALETTE["base-model"])
        if number == 2:
            add_bar(axes, 1 + first, y + 24, length - first, 20, name="bits-nested", color=PALETTE["adapter"])
        equation = text.DOUBLE_FORMULAS[number].format(block=f"{block_size:,}")
        value_text = f"{value:.3f}" if width_px <= NARROW_PX and number == 0 else f"{equation} = {value:.3f}"
        axes.text(length + 9, y + 34, value_text, va="center", fontsize=SMALL_PX, color=INK, weight="bold")
    axes.text(6, height - 10, text.DOUBLE_AXIS, va="center", fontsize=SMALL_PX, color=MUTED)
    return figure
