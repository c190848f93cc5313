"""Charts of a training run: plain lists in, one figure out; as readable with 1 step as with 10,000."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from app.charts.canvas import FONT_PX, blank, dress
from app.charts.palette import INK, MUTED, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_PX = 400
HEIGHT_PX = 236

# Bottom to top: what is there from the start lies below what comes and goes.
COMPONENTS = {
    "base_model": ("base model", PALETTE["base-model"]),
    "adapters": ("adapters", PALETTE["adapter"]),
    "gradients": ("gradients", PALETTE["gradient"]),
    "optimizer": ("optimizer pages", PALETTE["optimizer"]),
    "activations": ("activations", PALETTE["activation"]),
}

_MOST_COLUMNS = 200
_SMOOTHING = 0.8
_DASHES = (0, (4, 3))


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
        steps: from 1, ascending.
        losses: nats a token, one a step.
        last_step: right end of the axis, for a run that is not there yet.
    """
    figure, axes = _axes(width_px, steps, last_step, "loss, nats a token", legend_rows=1)
    steps_a_column = _steps_a_column(steps)
    if steps_a_column == 1:
        name = "each step"
        axes.plot(steps, losses, color=MUTED, linewidth=1, marker="o", markersize=_marker_px(steps), gid="loss")
    else:
        name = f"range of {steps_a_column} steps"
        lowest, highest = _columns(losses, min), _columns(losses, max)
        _fill(axes, lowest, highest, _edges(steps), MUTED, "loss", opacity=0.4)
    at, line = _thinned(steps, smoothed(losses))
    axes.plot(at, line, color=PALETTE["accent"], linewidth=2.5, gid="smoothed-loss")
    _from_zero(axes, losses)
    _legend(figure, [(name, MUTED, "-"), ("smoothed", PALETTE["accent"], "-")])
    return figure


def learning_rate_chart(
    steps: Sequence[int], learning_rates: Sequence[float], *, last_step: int | None = None, width_px: int = WIDTH_PX
) -> Figure:
    """Learning rate of each step (arguments as for `loss_chart`)."""
    from matplotlib.ticker import FuncFormatter

    figure, axes = _axes(width_px, steps, last_step, "learning rate")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short_power(value)))
    _line(axes, steps, learning_rates, "learning-rate")
    return figure


def throughput_chart(
    steps: Sequence[int], tokens_per_second: Sequence[float], *, last_step: int | None = None, width_px: int = WIDTH_PX
) -> Figure:
    """Tokens a second of each step, padding not counted (arguments as for `loss_chart`)."""
    figure, axes = _axes(width_px, steps, last_step, "tokens a second")
    _line(axes, steps, tokens_per_second, "tokens-per-second")
    return figure


def memory_chart(
    steps: Sequence[int],
    memory_mib: dict[str, Sequence[float]],
    *,
    budget_mib: float | None = None,
    last_step: int | None = None,
    width_px: int = WIDTH_PX,
) -> Figure:
    """Memory on the device at each step's fullest moment, stacked by component, with the budget as a line.

    Args:
        steps: as for `loss_chart`.
        memory_mib: a list of MiB, one a step, for each key of `COMPONENTS`.
        budget_mib: what may be on the device, or None for no limit.
    """
    figure, axes = _axes(width_px, steps, last_step, "MiB on the device", legend_rows=2)
    edges = _edges(steps)
    below = [0.0] * len(edges[:-1])
    for key, (_, colour) in COMPONENTS.items():
        # The fullest step of a column stands for it: a mean would hide a moment above the budget.
        top = [low + high for low, high in zip(below, _columns(memory_mib[key], max), strict=True)]
        _fill(axes, below, top, edges, colour, f"memory-{key}")
        below = top
    highest = max([*below, budget_mib or 0, 1])
    axes.set_ylim(0, highest * 1.08)
    entries = [(label, colour, "■") for label, colour in COMPONENTS.values()]
    if budget_mib is not None:
        axes.axhline(budget_mib, color=INK, linewidth=1.5, linestyle=_DASHES, gid="budget")
        entries.append(("budget", INK, _DASHES))
    _legend(figure, entries, columns=3)
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
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    edges = _edges(steps)
    steps_a_column = _steps_a_column(steps)
    label = "pages moved a step" if steps_a_column == 1 else f"pages moved in {steps_a_column} steps"
    figure, axes = _axes(width_px, steps, last_step, label, legend_rows=1)
    arrived, left = _columns(pages_in, sum), _columns(pages_out, sum)
    entries = [("to the device", PALETTE["page-resident"], "■"), ("away from it", PALETTE["page-evicted"], "■")]
    none = [0] * len(arrived)
    _fill(axes, none, arrived, edges, PALETTE["page-resident"], "pages-in")
    _fill(axes, [-moves for moves in left], none, edges, PALETTE["page-evicted"], "pages-out")
    highest = max([*arrived, *left, 1]) * 1.08
    axes.set_ylim(-highest, highest)
    axes.axhline(0, color=MUTED, linewidth=1)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
    _legend(figure, entries)
    return figure


def _axes(
    width_px: int, steps: Sequence[int], last_step: int | None, y_label: str, *, legend_rows: int = 0
) -> tuple[Figure, Axes]:
    from matplotlib.ticker import MaxNLocator

    figure = blank(width_px, HEIGHT_PX, left=44, right=20, top=30 + 17 * legend_rows, bottom=42)
    axes = figure.add_subplot()
    dress(axes, x_label="step")
    # Level above the axis instead of upright beside it: easier to read, and the plot keeps the width.
    figure.text(0, 0.985, y_label, color=INK, fontsize=FONT_PX, va="top")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlim(0.5, max([last_step or 0, 2, *steps[-1:]]) + 0.5)
    return figure, axes


def _line(axes: Axes, steps: Sequence[int], values: Sequence[float], gid: str) -> None:
    at, line = _thinned(steps, values)
    axes.plot(at, line, color=PALETTE["accent"], linewidth=2, marker="o", markersize=_marker_px(steps), gid=gid)
    _from_zero(axes, values)


def _from_zero(axes: Axes, values: Sequence[float]) -> None:
    axes.set_ylim(0, max([*values, 1e-12]) * 1.08)


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

    # Not axes.stairs: it walks every path again to find limits, which are set here anyway.
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
    return [first - 0.5 for first in _columns(steps, min)] + [step + 0.5 for step in steps[-1:]]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _thinned(steps: Sequence[int], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """A line of at most `_MOST_COLUMNS` points: means of steps and values over equal groups."""
    return _columns(steps, _mean), _columns(values, _mean)


def _short_power(value: float) -> str:
    """2e-4 for 0.0002."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}" if abs(int(exponent)) > 2 else f"{value:g}"


def _legend(figure: Figure, entries: Sequence[tuple[str, str, str | tuple]], *, columns: int = 3) -> None:
    """Names with their colours between the heading and the plot, in rows of `columns`.

    Args:
        entries: name, colour, and "■" for an area or the line style of a line.
    """
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches() * 72
    for position, (name, colour, mark) in enumerate(entries):
        row, column = divmod(position, columns)
        left = column * (width - 10) / columns
        top = (height - 28 - 17 * row) / height
        if mark == "■":
            figure.text(left / width, top, mark, color=colour, fontsize=FONT_PX, va="center")
        else:
            ends = [(left + 1) / width, (left + 14) / width]
            figure.add_artist(Line2D(ends, [top, top], color=colour, linewidth=2, linestyle=mark))
        figure.text((left + 18) / width, top, name, color=INK, fontsize=FONT_PX - 1, va="center")
