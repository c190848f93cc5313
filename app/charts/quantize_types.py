"""The levels of all four data types on one axis, over the weights that they have to serve, with what each loses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.charts.canvas import FONT_PX, SMALL_PX, blank, plot_area
from app.charts.palette import GRID, INK, MUTED, PALETTE
from app.charts.svg import NARROW_PX
from app.text import quantize as text

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


def types_figure(
    width_px: int, *, density: np.ndarray, levels: Mapping[str, np.ndarray], errors: Mapping[str, float], chosen: str
) -> Figure:
    """A row of marks for each data type; behind every row the same histogram.

    Args:
        width_px: width in CSS pixels.
        density: histogram of weights divided by their block's absmax, evenly spaced from −1 to 1.
        levels: data type -> its levels.
        errors: data type -> mean absolute error in % of the typical weight.
        chosen: the data type that is set in bold.
    """
    import numpy as np
    from matplotlib.patches import Polygon

    small = width_px <= NARROW_PX
    row, top, bottom = (68, 6, 44) if small else (52, 6, 44)
    left, right = (12, 12) if small else (104, 84)
    figure = blank(width_px, top + row * len(levels) + bottom)
    axes = plot_area(
        figure, x=(-1.17, 1.03), y=(len(levels), 0), left=left, top=top, right=right, bottom=bottom,
        x_ticks={-1: "−1", -0.5: "−0.5", 0: "0", 0.5: "0.5", 1: "1"}, x_label=text.LEVELS_X,
    )  # fmt: skip
    edges = np.linspace(-1, 1, len(density) + 1)
    x = np.concatenate([[-1], np.repeat(edges, 2)[1:-1], [1]])
    height = np.concatenate([[0], np.repeat(density / density.max(), 2), [0]])
    room = 0.55 if small else 0.78
    for place, (name, values) in enumerate(levels.items()):
        base = place + 0.95
        axes.add_artist(
            Polygon(np.column_stack([x, base - height * room]), color=PALETTE["base-model"], alpha=0.22, linewidth=0)
        )
        axes.hlines(base, -1.17, 1.03, colors=GRID, linewidth=1)
        marks = axes.vlines(values, base - room, base, colors=PALETTE[name], linewidth=2 if name == chosen else 1.5)
        marks.set_gid(f"levels-{name}")
        words = {"fontsize": SMALL_PX, "va": "center", "weight": "bold" if name == chosen else "normal"}
        beside = axes.get_yaxis_transform()
        if small:
            axes.text(0, place + 0.18, text.DATA_TYPES[name], transform=beside, color=INK, ha="left", **words)
            axes.text(1, place + 0.18, f"{errors[name]:.2f} %", transform=beside, color=INK, ha="right", **words)
        else:
            middle, gap = base - room / 2, 10 / (width_px - left - right)
            axes.text(-gap, middle, text.DATA_TYPES[name], transform=beside, color=MUTED, ha="right", **words)
            axes.text(1 + gap, middle, f"{errors[name]:.2f} %", transform=beside, color=INK, ha="left", **words)
    if not small:
        figure.text(
            1, 4 / (top + row * len(levels) + bottom), text.TYPES_ERROR, ha="right", va="bottom", color=INK,
            fontsize=FONT_PX,
        )  # fmt: skip
    return figure
