"""Charts of optimizer pages: where each was over a run, and the memory of one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.charts.canvas import FONT_PX, LEGEND_ROW_PX, add_bar, blank, legend, legend_rows, plot_area, round_ticks
from app.charts.palette import INK, MUTED, PALETTE, SURFACE
from app.text import paging as text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT_PX, RIGHT_PX = 62, 14
_PAGES_PX, _MEMORY_PX = 150, 130
_BETWEEN_PX, BELOW_PX = 18, 46
LINE_TITLE_PX = 26
DASHES = (0, (4, 3))
_FEWEST_STEP_TICK_PX = 34

Entries = list[tuple[str, Mapping[str, object]]]

_PAGES_LEGEND: Entries = [
    (text.ON_THE_DEVICE, {"marker": "s", "color": PALETTE["page-resident"]}),
    (text.AWAY, {"marker": "s", "color": PALETTE["page-evicted"]}),
]


@dataclass(frozen=True)
class RunPlots:
    """Where the plots of `run_chart` are, in its pixels.

    Attributes:
        height: of the figure.
        pages, memory: (top, bottom) of the upper and the lower one.
        memory_legend: top of the lower one's legend.
    """

    height: float
    pages: tuple[float, float]
    memory: tuple[float, float]
    memory_legend: float


def run_plots(width_px: int, with_limit: bool) -> RunPlots:
    """Lay `run_chart` out: its script draws the shown moment there."""
    top = legend_px(_PAGES_LEGEND, width_px) + LINE_TITLE_PX
    legend_top = top + _PAGES_PX + _BETWEEN_PX
    below = legend_top + legend_px(_memory_legend(with_limit), width_px) + LINE_TITLE_PX
    return RunPlots(below + _MEMORY_PX + BELOW_PX, (top, top + _PAGES_PX), (below, below + _MEMORY_PX), legend_top)


def run_chart(
    width_px: int,
    *,
    pages: int,
    seconds: float,
    absences: Sequence[tuple[int, float, float]],
    held: Sequence[tuple[float, float]],
    fullest: Sequence[tuple[float, float, float]],
    constant_mib: float,
    limit_mib: float | None,
    step_ticks: Mapping[float, str],
) -> Figure:
    """Where each page was over the time of a run; below it the pages on the device, and each step's fullest moment.

    Args:
        width_px: of the figure.
        pages: how many there are.
        seconds: length of the run.
        absences: (page, from, to) in seconds.
        held: (seconds, MiB of pages on the device from then on).
        fullest: of each step: from, to in seconds, MiB of pages and activations at its fullest moment; 0
            where that was the update, when no activation is there.
        constant_mib: of weights, adapters and gradients, which are there all the time and are left out of the drawing.
        limit_mib: what may be on the device in all, or None.
        step_ticks: seconds -> number of the step that ends there.
    """
    plots = run_plots(width_px, limit_mib is not None)
    top, below, height = plots.pages[0], plots.memory[0], plots.height
    figure = blank(width_px, height)
    legend(figure, _PAGES_LEGEND, left=0)
    legend(figure, _memory_legend(limit_mib is not None), left=0, top=plots.memory_legend)
    end = max(seconds, 1e-3)
    edges = {"left": LEFT_PX, "right": RIGHT_PX, "x": (0, end)}
    inner_px = width_px - LEFT_PX - RIGHT_PX

    plot_title(figure, top, text.PAGES_AXIS)
    grid = plot_area(
        figure,
        y=(pages - 0.5, -0.5),
        top=top,
        bottom=height - top - _PAGES_PX,
        y_ticks={0: "0", pages - 1: str(pages - 1)} if pages > 1 else {0: "0"},
        **edges,
    )
    used = next((at for at, mib in held if mib), 0.0)
    add_bar(grid, used, -0.5, end - used, pages, name="pages-resident", color=PALETTE["page-resident"])
    # Narrower than a pixel would not be seen.
    least = end / inner_px
    boxes = [(began, page - 0.5, max(ended - began, least), 1.0) for page, began, ended in absences]
    _rectangles(grid, boxes, PALETTE["page-evicted"], "pages-away")

    plot_title(figure, below, text.MEMORY_ABOVE_AXIS.format(constant=constant_mib))
    room = None if limit_mib is None else limit_mib - constant_mib
    highest = max([*(mib for _, _, mib in fullest), *(mib for _, mib in held), room or 0, 1e-3])
    memory = plot_area(
        figure,
        y=(0, highest * 1.08),
        top=below,
        bottom=BELOW_PX,
        x_ticks=_spread(step_ticks, inner_px / end),
        y_ticks=round_ticks(highest, 3),
        x_label=text.STEP_TIME_AXIS,
        grid="y",
        **edges,
    )
    boxes = [(began, 0.0, ended - began, mib) for began, ended, mib in fullest if mib]
    _rectangles(memory, boxes, PALETTE["activation"], "memory-activations")
    ends = [at for at, _ in held[1:]] + [end]
    steps = [(at, 0.0, until - at, mib) for (at, mib), until in zip(held, ends, strict=True)]
    _rectangles(memory, steps, PALETTE["optimizer"], "memory-pages")
    if room is not None:
        _limit(memory, room, (0, end))
    memory.hlines(0, 0, end, color=MUTED, linewidth=1)
    return figure


def step_chart(
    width_px: int,
    *,
    operators: int,
    phases: Mapping[str, int],
    samples: Sequence[tuple[int, float, float]],
    constant_mib: float,
    limit_mib: float | None,
) -> Figure:
    """The memory of one step after every operator: pages below, activations on them.

    Args:
        width_px: of the figure.
        operators: that ran.
        phases: name -> number of its first operator, in order.
        samples: (operator, MiB of activations, MiB of pages on the device).
        constant_mib, limit_mib: as in `run_chart`.
    """
    entries = _memory_legend(limit_mib is not None)
    top = legend_px(entries, width_px) + 2 * LINE_TITLE_PX
    figure = blank(width_px, top + 230)
    legend(figure, entries, left=0)
    plot_title(figure, top - LINE_TITLE_PX, text.MEMORY_ABOVE_AXIS.format(constant=constant_mib))
    room = None if limit_mib is None else limit_mib - constant_mib
    fullest = max([activations + pages for _, activations, pages in samples] + [room or 0, 1e-3])
    axes = plot_area(
        figure,
        x=(0, operators),
        y=(0, fullest * 1.08),
        left=LEFT_PX,
        right=RIGHT_PX,
        top=top,
        bottom=BELOW_PX,
        x_ticks=round_ticks(operators, 4 if width_px > 500 else 2),
        y_ticks=round_ticks(fullest, 4),
        x_label=text.OPERATORS_AXIS,
        grid="y",
    )
    at = [operator for operator, _, _ in samples]
    pages = [mib for _, _, mib in samples]
    total = [activations + mib for _, activations, mib in samples]
    _area(axes, at, [0.0] * len(at), pages, PALETTE["optimizer"], "step-pages")
    _area(axes, at, pages, total, PALETTE["activation"], "step-activations")
    if room is not None:
        _limit(axes, room, (0, operators))
    axes.hlines(0, 0, operators, color=MUTED, linewidth=1)
    starts = [*phases.values(), operators]
    inner_px = width_px - LEFT_PX - RIGHT_PX
    for (name, first), ended in zip(phases.items(), starts[1:], strict=True):
        if first:
            axes.vlines(first, 0, fullest * 1.08, color=MUTED, linewidth=1)
        # The update is a hundred of ten thousand operators: its name ends where it does.
        wide = (ended - first) / operators * inner_px > 60
        x, across = ((first + ended) / 2, "center") if wide else (ended, "right")
        style = {"color": MUTED, "fontsize": 12, "ha": across, "va": "bottom"}
        axes.text(x, 1.03, text.PHASES[name], transform=axes.get_xaxis_transform(), **style)
    return figure


def _memory_legend(with_limit: bool) -> Entries:
    entries: Entries = [
        (text.PAGES_ON_DEVICE, {"marker": "s", "color": PALETTE["optimizer"]}),
        (text.ACTIVATIONS, {"marker": "s", "color": PALETTE["activation"]}),
    ]
    if with_limit:
        entries.append((text.LIMIT, {"color": INK, "linewidth": 1.5, "linestyle": DASHES}))
    return entries


def legend_px(entries: Entries, width_px: float) -> int:
    """Height of the legend of these entries in a figure of that width."""
    return LEGEND_ROW_PX * legend_rows([name for name, _ in entries], width_px, left=0)


def plot_title(figure: Figure, above_px: float, words: str) -> None:
    """What a plot counts, level and over its top at `above_px`."""
    height = figure.get_size_inches()[1] * figure.dpi
    figure.text(0, 1 - (above_px - 15) / height, words, color=INK, fontsize=FONT_PX, va="center")


def _rectangles(axes: Axes, boxes: Sequence[tuple[float, float, float, float]], colour: str, name: str) -> None:
    """(left, bottom, width, height) each, as one shape: hundreds of them would be hundreds of elements in the page."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not boxes:
        return
    corners, codes = [], []
    for x, y, width, height in boxes:
        corners += [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]
        codes += [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY]
    axes.add_artist(PathPatch(Path(corners, codes), facecolor=colour, linewidth=0, gid=name))


def _area(axes: Axes, at: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str, name: str) -> None:
    from matplotlib.patches import Polygon

    outline = [*zip(at, high, strict=True), *zip(reversed(at), reversed(low), strict=True)]
    axes.add_artist(Polygon(outline, closed=True, facecolor=colour, linewidth=0, gid=name))


def _limit(axes: Axes, at: float, ends: tuple[float, float]) -> None:
    # The surface's colour under the dashes keeps them apart from the areas that they cross.
    axes.hlines(at, *ends, color=SURFACE, linewidth=4)
    axes.hlines(at, *ends, color=INK, linewidth=1.5, linestyle=DASHES, gid="limit")


def _spread(ticks: Mapping[float, str], px_a_unit: float) -> dict[float, str]:
    """Of the ticks those that have room for their text."""
    kept: dict[float, str] = {}
    last = None
    for at, name in ticks.items():
        if last is None or (at - last) * px_a_unit >= _FEWEST_STEP_TICK_PX:
            kept[at], last = name, at
    return kept
