"""Two runs on the same axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.charts.canvas import blank, legend, plot_area, round_ticks
from app.charts.palette import PALETTE
from app.charts.training import smoothed
from app.text import finetune as text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Told apart without colour, too.
STYLES = (
    {"color": PALETTE["accent"], "linewidth": 2.5, "linestyle": "-"},
    {"color": PALETTE["adapter"], "linewidth": 2.5, "linestyle": (0, (4, 2))},
)


def compared_losses(width_px: int, *, runs: Sequence[tuple[str, Sequence[int], Sequence[float]]]) -> Figure:
    """The smoothed training loss of each run.

    Args:
        width_px: width in CSS pixels.
        runs: (name, steps, loss at each in nats a token), two of them, each with at least one step.
    """
    figure = blank(width_px, 260)
    highest = max(max(losses) for _, _, losses in runs) or 1
    last = max(2, *(steps[-1] for _, steps, _ in runs))
    axes = plot_area(
        figure,
        x=(1, last),
        y=(0, 1.08 * highest),
        left=52,
        top=34,
        right=16,
        x_ticks={step: name for step, name in round_ticks(last).items() if step >= 1 and step % 1 == 0},
        y_ticks=round_ticks(highest, 3),
        x_label=text.STEP_AXIS,
        y_label=text.LOSS_AXIS,
        grid="y",
    )
    for number, (_, steps, losses) in enumerate(runs):
        axes.plot(steps, smoothed(losses), gid=f"run-{number}", **STYLES[number])
    legend(figure, [(name, STYLES[number]) for number, (name, _, _) in enumerate(runs)], left=52)
    return figure
