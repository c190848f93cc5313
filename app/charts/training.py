"""Charts of a training run: plain lists in, one figure out; as readable with 1 step as with 10,000."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from app.charts.canvas import FONT_PX, LIMIT_DASHES, SMALL_PX, blank, plot_area, round_ticks
from app.charts.palette import INK, MUTED, PALETTE, SURFACE
from app.text import finetune as text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A dashboard of charts side by side, or below each other on a narrow page: one width is readable in both.
WIDTH_PX = 350
HEIGHT_PX = 220

# Bottom to top: what is there from the start lies below what comes and goes.
COMPONENT_COLOURS = {
    "base_model": PALETTE["base-model"],
    "adapters": PALETTE["adapter"],
    "gradients": PALETTE["gradient"],
    "optimizer": PALETTE["optimizer"],
    "activations": PALETTE["activation"],
}

_MOST_COLUMNS = 200
_SMOOTHING = 0.8
_AREA = "■"
# Shares of the width at which names begin; the longest, "optimizer pages", stands in the first column.
_LEGEND_COLUMNS = (0, 0.4, 0.7)


def smoothed(values: Sequence[float], smoothing: float = _SMOOTHING) -> list[float]:
    """Exponential moving average with bias correction, so that it starts at the first value and not at 0.

    s_t = β s_{t-1} + (1 - β) x_t, shown as s_t / (1 - β^t) (Kingma and Ba 2015, section 3).

    Args:
        values: one a step.
        smoothing: β, from 0 to below 1.
    """
    average, result = 0.0, []
    for count, value in enumerate(values, start=1):
        average = smoothing * average + (1 - smoothing) * value
        result.append(average / (1 - smoothing**count))
    return result


def loss_chart(
    steps: Sequence[int], losses: Sequence[float], *, last_step: int | None = None, width_px: int = WIDTH_PX
) -> Figure:
    """Training loss at each step, and smoothed.

    Args:
        steps: from 1, ascending, at least one.
        losses: nats a token, one a step.
        last_step: right end of the axis, for a run that is not there yet.
    """
    figure, axes = _axes(width_px, steps, last_step, text.LOSS_AXIS, highest=max(losses), legend_rows=1)
    steps_a_column = _steps_a_column(steps)
    if steps_a_column == 1:
        name, mark = text.LOSS_EACH_STEP, "-"
        axes.plot(steps, losses, color=MUTED, linewidth=1, marker="o", markersize=_marker_px(steps), gid="loss")
    else:
        name, mark = text.LOSS_RANGE.format(steps=steps_a_column), _AREA
        _fill(axes, _columns(losses, min), _columns(losses, max), _edges(steps), MUTED, "loss", opacity=0.4)
    at, line = _thinned(steps, smoothed(losses))
    axes.plot(at, line, color=PALETTE["accent"], linewidth=2.5, gid="smoothed-loss")
    _legend(figure, [(name, MUTED, mark), (text.LOSS_SMOOTHED, PALETTE["accent"], "-")])
    return figure


def learning_rate_chart(
    steps: Sequence[int], learning_rates: Sequence[float], *, last_step: int | None = None, width_px: int = WIDTH_PX
) -> Figure:
    """Learning rate of each step (arguments as for `loss_chart`)."""
    figure, axes = _axes(
        width_px, steps, last_step, text.LEARNING_RATE_AXIS, highest=max(learning_rates), tick_text=short_power
    )
    _line(axes, steps, learning_rates, "learning-rate")
    return figure


def gradient_norm_chart(
    steps: Sequence[int], gradient_norms: Sequence[float], *, last_step: int | None = None, width_px: int = WIDTH_PX
) -> Figure:
    """Norm of the gradient of each step, before clipping (arguments as for `loss_chart`)."""
    figure, axes = _axes(width_px, steps, last_step, text.GRADIENT_AXIS, highest=max(gradient_norms))
    _line(axes, steps, gradient_norms, "gradient-norm")
    return figure


def throughput_chart(
    steps: Sequence[int], tokens_per_second: Sequence[float], *, last_step: int | None = None, width_px: int = WIDTH_PX
) -> Figure:
    """Tokens a second of each step, padding not counted (arguments as for `loss_chart`)."""
    figure, axes = _axes(width_px, steps, last_step, text.THROUGHPUT_AXIS, highest=max(tokens_per_second))
    _line(axes, steps, tokens_per_second, "tokens-per-second")
    return figure


def memory_chart(
    steps: Sequence[int],
    memory_mib: Mapping[str, Sequence[float]],
    *,
    budget_mib: float | None = None,
    last_step: int | None = None,
    width_px: int = WIDTH_PX,
) -> Figure:
    """Memory on the device at each step's fullest moment, stacked by component, with the budget as a line.

    Args:
        steps: as for `loss_chart`.
        memory_mib: a list of MiB, one a step, for each key of `COMPONENT_COLOURS`.
        budget_mib: what may be on the device, or None for no limit.
    """
    highest = max(map(sum, zip(*(memory_mib[key] for key in COMPONENT_COLOURS), strict=True)))
    figure, axes = _axes(
        width_px, steps, last_step, text.MEMORY_AXIS, highest=max(highest, budget_mib or 0), legend_rows=2
    )
    edges = _edges(steps)
    below = [0.0] * (len(edges) - 1)
    entries = []
    for key, colour in COMPONENT_COLOURS.items():
        # The fullest step of a column stands for it: a mean would hide a moment above the budget.
        top = [low + high for low, high in zip(below, _columns(memory_mib[key], max), strict=True)]
        _fill(axes, below, top, edges, colour, f"memory-{key}")
        entries.append((text.COMPONENTS[key], colour, _AREA))
        below = top
    if budget_mib is not None:
        # The surface's colour under the dashes keeps them apart from the areas that they cross.
        axes.hlines(budget_mib, *axes.get_xlim(), color=SURFACE, linewidth=4)
        axes.hlines(budget_mib, *axes.get_xlim(), color=INK, linewidth=1.5, linestyle=LIMIT_DASHES, gid="budget")
        entries.append((text.MEMORY_BUDGET, INK, LIMIT_DASHES))
    _legend(figure, entries)
    return figure


def page_moves_chart(
    steps: Sequence[int],
    pages_in: Sequence[int],
    pages_out: Sequence[int],
    *,
    last_step: int | None = None,
    width_px: int = WIDTH_PX,
) -> Figure:
    """Optimizer pages that came to the device (up) and left it (down) in each step; long runs are summed in columns.

    Args:
        steps: as for `loss_chart`.
        pages_in, pages_out: moves in each step.
    """
    steps_a_column = _steps_a_column(steps)
    label = text.PAGE_MOVES_AXIS if steps_a_column == 1 else text.PAGE_MOVES_AXIS_SUMMED.format(steps=steps_a_column)
    arrived, left = _columns(pages_in, sum), _columns(pages_out, sum)
    highest = max([*arrived, *left, 1])
    figure, axes = _axes(width_px, steps, last_step, label, highest=highest, lowest=-highest, legend_rows=1)
    none, edges = [0] * len(arrived), _edges(steps)
    _fill(axes, none, arrived, edges, PALETTE["page-resident"], "pages-in")
    _fill(axes, [-moves for moves in left], none, edges, PALETTE["page-evicted"], "pages-out")
    axes.hlines(0, *axes.get_xlim(), color=MUTED, linewidth=1)
    _legend(
        figure,
        [(text.PAGES_ARRIVED, PALETTE["page-resident"], _AREA), (text.PAGES_LEFT, PALETTE["page-evicted"], _AREA)],
    )
    return figure


def short_power(value: float) -> str:
    """2e-4 for 0.0002."""
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}" if value and abs(int(exponent)) > 2 else f"{value:g}"


def _axes(
    width_px: int,
    steps: Sequence[int],
    last_step: int | None,
    label: str,
    *,
    highest: float,
    lowest: float = 0,
    legend_rows: int = 0,
    tick_text: Callable[[float], str] = "{:,g}".format,
) -> tuple[Figure, Axes]:
    figure = blank(width_px, HEIGHT_PX)
    # Level above the plot instead of upright beside it: easier to read, and the plot keeps the width.
    figure.text(0, 0.985, label, color=INK, fontsize=FONT_PX, va="top")
    end = max(last_step or 0, 2, *steps[-1:])
    step_ticks = {1: "1", **{step: name for step, name in round_ticks(end).items() if step > 1 and step % 1 == 0}}
    both_ways = lowest < 0
    ticks = [tick for tick in round_ticks(highest or 1, 2 if both_ways else 3) if not both_ways or tick % 1 == 0]
    axes = plot_area(
        figure,
        x=(0.5, end + 0.5),
        y=(lowest * 1.08, (highest or 1) * 1.08),
        left=52,
        right=20,
        top=30 + 17 * legend_rows,
        bottom=42,
        x_ticks=step_ticks,
        y_ticks={sign * tick: tick_text(tick) for tick in ticks for sign in ((1, -1) if both_ways else (1,))},
        x_label=text.STEP_AXIS,
        grid="y",
    )
    axes.hlines(lowest * 1.08, *axes.get_xlim(), color=MUTED, linewidth=1)
    return figure, axes


def _line(axes: Axes, steps: Sequence[int], values: Sequence[float], gid: str) -> None:
    at, line = _thinned(steps, values)
    axes.plot(at, line, color=PALETTE["accent"], linewidth=2, marker="o", markersize=_marker_px(steps), gid=gid)


def _marker_px(steps: Sequence[int]) -> int:
    """Points where they can be told apart; one alone would not be seen as a line."""
    return 4 if len(steps) <= 60 else 0


def _fill(
    axes: Axes,
    lower: Sequence[float],
    upper: Sequence[float],
    edges: Sequence[float],
    colour: str,
    gid: str,
    opacity: float = 1,
) -> None:
    """Columns between `lower` and `upper`; one more edge than there are columns."""
    from matplotlib.patches import StepPatch

    # Not axes.stairs: it walks every path again to find limits, which are set already.
    axes.add_artist(
        StepPatch(upper, edges, baseline=lower, fill=True, color=colour, alpha=opacity, linewidth=0, gid=gid)
    )


def _steps_a_column(steps: Sequence[int]) -> int:
    return max(1, -(-len(steps) // _MOST_COLUMNS))


def _columns(values: Sequence[float], combine: Callable[[Sequence[float]], float]) -> list[float]:
    """`values` in groups of equal size, at most `_MOST_COLUMNS` of them, each combined into one."""
    size = _steps_a_column(values)
    return [combine(values[i : i + size]) for i in range(0, len(values), size)]


def _edges(steps: Sequence[int]) -> list[float]:
    """Where the columns of `_columns` begin, and where the last one ends."""
    return [first - 0.5 for first in _columns(steps, min)] + [steps[-1] + 0.5]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _thinned(steps: Sequence[int], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """A line of at most `_MOST_COLUMNS` points: means of steps and values over equal groups."""
    return _columns(steps, _mean), _columns(values, _mean)


def _legend(figure: Figure, entries: Sequence[tuple[str, str, str | tuple]]) -> None:
    """Names with their colours between the heading and the plot, three a row.

    Args:
        entries: name, colour, and `_AREA` or the line style of a line.
    """
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches() * figure.dpi
    for position, (name, colour, mark) in enumerate(entries):
        row, column = divmod(position, len(_LEGEND_COLUMNS))
        left = _LEGEND_COLUMNS[column] * width
        middle = (height - 28 - 17 * row) / height
        if mark == _AREA:
            figure.text(left / width, middle, mark, color=colour, fontsize=FONT_PX, va="center")
        else:
            ends = [(left + 1) / width, (left + 14) / width]
            figure.add_artist(Line2D(ends, [middle, middle], color=colour, linewidth=2, linestyle=mark))
        figure.text((left + 18) / width, middle, name, color=INK, fontsize=SMALL_PX, va="center")
