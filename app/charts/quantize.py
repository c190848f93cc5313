"""Charts of one quantized layer: histogram under the levels, use of the levels, error of the four data types."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from app.charts.canvas import DASHED, FONT_PX, SMALL_PX, add_bar, blank, legend, plot_area, round_ticks
from app.charts.palette import GRID, INK, MUTED, PALETTE, SURFACE
from app.charts.svg import NARROW_PX
from app.text import quantize as text

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch


def bin_shapes(edges: np.ndarray, density: np.ndarray, thresholds: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Outline of the histogram above each quantization bin.

    A histogram step that a threshold falls into is divided there, so that areas are in proportion to counts as far as
    the histogram is fine.

    Args:
        edges: (steps + 1,) ascending, of an evenly spaced histogram.
        density: (steps,).
        thresholds: (levels - 1,) ascending, where rounding changes from one level to the next.

    Returns:
        For each level with a bin inside the histogram: x and y of a closed outline.
    """
    import numpy as np

    inside = thresholds[(thresholds > edges[0]) & (thresholds < edges[-1])]
    cuts = np.concatenate([edges[:1], inside, edges[-1:]])
    shapes = []
    for low, high in itertools.pairwise(cuts):
        x = np.concatenate([[low], edges[(edges > low) & (edges < high)], [high]])
        y = density[np.clip(np.searchsorted(edges, (x[:-1] + x[1:]) / 2) - 1, 0, len(density) - 1)]
        shapes.append(
            (np.concatenate([[low], np.repeat(x, 2)[1:-1], [high]]), np.concatenate([[0], np.repeat(y, 2), [0]]))
        )
    return shapes


def levels_figure(
    width_px: int,
    *,
    edges: np.ndarray,
    density: np.ndarray,
    levels: np.ndarray,
    thresholds: np.ndarray,
    data_type: str,
) -> Figure:
    """The histogram of scaled weights, shaded by bin, with the levels and the bins' edges over it.

    Args:
        width_px: width in CSS pixels.
        edges, density: histogram of weights divided by their block's absmax.
        levels: (16,) ascending.
        thresholds: (15,) ascending.
        data_type: name in the palette, "nf4" for example.
    """
    from matplotlib.patches import Polygon

    top = float(density.max())
    figure = blank(width_px, 320)
    axes = plot_area(
        figure,
        x=(min(-1.0, float(levels.min())) - 0.03, 1.03),
        y=(0, top * 1.16),
        left=30,
        top=40,
        x_ticks={-1: "−1", -0.5: "−0.5", 0: "0", 0.5: "0.5", 1: "1"},
        x_label=text.LEVELS_X,
        y_label=text.LEVELS_Y,
    )
    for number, (x, y) in enumerate(bin_shapes(edges, density, thresholds)):
        shape = Polygon(
            list(zip(x, y, strict=True)), color=PALETTE["base-model"], alpha=(0.55, 0.28)[number % 2], linewidth=0
        )
        shape.set_gid(f"bin-{number}")
        axes.add_artist(shape)
    axes.vlines(thresholds, 0, top * 1.04, colors=MUTED, linewidth=0.8, linestyles=DASHED)
    axes.vlines(levels, 0, top * 1.12, colors=PALETTE[data_type], linewidth=1.6)
    to_pixels = axes.transData
    heads = to_pixels.transform([(level, top * 1.12) for level in levels])
    figure.add_artist(_arrow_heads(heads, data_type, "levels"))
    axes.hlines(0, *axes.get_xlim(), colors=MUTED, linewidth=1)
    legend(
        figure,
        [
            (
                text.LEVELS_LEGEND_LEVEL.format(data_type=text.DATA_TYPES[data_type]),
                {"color": PALETTE[data_type], "linewidth": 1.6},
            ),
            (text.LEVELS_LEGEND_EDGE, {"color": MUTED, "linewidth": 0.8, "linestyle": DASHED}),
        ],
        left=30,
    )
    return figure


def _arrow_heads(points: Sequence[tuple[float, float]], data_type: str, name: str) -> PathPatch:
    """Small triangles pointing down, centred on ``points``, which are pixels of the figure."""
    import numpy as np
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path
    from matplotlib.transforms import IdentityTransform

    corners = np.array([(-4.5, 3.5), (4.5, 3.5), (0, -4), (-4.5, 3.5)])
    shape = Path.make_compound_path_from_polys(np.asarray(points)[:, None] + corners)
    heads = PathPatch(shape, color=PALETTE[data_type], linewidth=0, transform=IdentityTransform())
    heads.set_gid(name)
    return heads


def counts_figure(width_px: int, *, levels: Sequence[float], shares: Sequence[float], data_type: str) -> Figure:
    """One bar a level: which share of the weights was moved to it. Upright when there is room, else lying.

    Args:
        width_px: width in CSS pixels.
        levels: (16,) ascending.
        shares: (16,) of 1, in the same order.
        data_type: name in the palette.
    """
    names = dict(enumerate(map(level_name, levels)))
    percent = [100 * share for share in shares]
    lying = width_px <= NARROW_PX
    room = max(percent) * 1.12
    along, ends = (0, room), (-0.6, len(names) - 0.4)
    value_ticks = round_ticks(max(percent))
    equal, dashes = 100 / len(names), {"colors": INK, "linewidth": 1, "linestyles": DASHED, "zorder": 0.5}
    label = {"color": INK, "fontsize": SMALL_PX - 1}
    on_line = {"bbox": {"facecolor": SURFACE, "edgecolor": "none", "pad": 0.5}}
    if lying:
        figure = blank(width_px, 430)
        axes = plot_area(
            figure, x=along, y=ends[::-1], left=56, top=28, x_ticks=value_ticks, y_ticks=names,
            x_label=text.COUNTS_AXIS, grid="x",
        )  # fmt: skip
        axes.vlines(equal, *ends, **dashes)
    else:
        figure = blank(width_px, 300)
        axes = plot_area(
            figure, x=ends, y=along, left=56, top=28, x_ticks=names, y_ticks=value_ticks,
            x_label=text.TABLE_LEVEL[0], y_label=text.COUNTS_AXIS, grid="y",
        )  # fmt: skip
        axes.hlines(equal, *ends, **dashes)
    legend(figure, [(text.COUNTS_EQUAL, {"color": INK, "linewidth": 1, "linestyle": DASHED})], left=56)
    for place, value in enumerate(percent):
        x, y, width, height = (0, place - 0.4, value, 0.8) if lying else (place - 0.4, 0, 0.8, value)
        add_bar(axes, x, y, width, height, name=f"level-{place}", color=PALETTE[data_type])
        box = on_line if abs(value + room * 0.04 - equal) < room * 0.06 else {}
        if lying:
            axes.text(value + room * 0.015, place, f"{value:.1f}", va="center", **label, **box)
        else:
            axes.text(place, value + room * 0.02, f"{value:.1f}", ha="center", va="bottom", **label, **box)
    return figure


def error_figure(width_px: int, *, errors: Mapping[str, Mapping[str, float]], chosen: str) -> Figure:
    """Three groups of bars, one a measure of error, each with its own scale; the chosen data type in bold.

    Args:
        width_px: width in CSS pixels.
        errors: data type -> measure -> error in % of the layer's root mean square weight.
        chosen: a data type.
    """
    row, heading, gap, name_width, value_width = 27, 28, 18, 92, 64
    stacked = width_px <= NARROW_PX
    panels = 1 if stacked else len(text.ERROR_METRICS)
    panel_height = heading + row * len(errors)
    panel_width = (width_px - name_width) / panels
    height = (panel_height + gap) * len(text.ERROR_METRICS) if stacked else panel_height + 4
    figure = blank(width_px, height)
    axes = plot_area(figure, x=(0, width_px), y=(height, 0), left=0, top=0, right=0, bottom=0)
    for number, (measure, title) in enumerate(text.ERROR_METRICS.items()):
        left = name_width + (0 if stacked else number * panel_width)
        top = number * (panel_height + gap) if stacked else 0
        largest = max(error[measure] for error in errors.values())
        axes.text(left, top + 10, title, va="center", color=INK, fontsize=FONT_PX)
        axes.vlines(left, top + heading - 4, top + panel_height, colors=GRID, linewidth=1)
        for place, (data_type, error) in enumerate(errors.items()):
            middle = top + heading + row * (place + 0.4)
            length = error[measure] / largest * (panel_width - value_width)
            add_bar(axes, left, middle - 9, length, 18, name=f"{measure}-{data_type}", color=PALETTE[data_type])
            style = {"va": "center", "fontsize": SMALL_PX, "weight": "bold" if data_type == chosen else "normal"}
            axes.text(left + length + 6, middle, f"{error[measure]:.3g} %", color=INK, **style)
            if stacked or number == 0:
                axes.text(left - 8, middle, text.DATA_TYPES[data_type], ha="right", color=MUTED, **style)
    return figure


def level_name(level: float) -> str:
    """A level with as many digits as tell it from its neighbours, with a typographic minus; −0 keeps its sign."""
    digits = 2 if abs(level) >= 0.1 else 3
    return (f"{level:.0f}" if level in (0, 1, -1) else f"{level:.{digits}f}").replace("-", "−")
