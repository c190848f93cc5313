"""The charts of a run, with the numbers behind each."""

import statistics
from collections.abc import Sequence

from app.charts import training as charts
from app.charts.frame import Data, framed
from app.charts.svg import to_svg
from app.tabs import finetune_view as view
from app.text import finetune as text
from qlora import events


def charts_html(told: view.Story, *, live: bool) -> str:
    """All charts of the run and what its pages did; nothing before the first step."""
    if not told.steps:
        return ""
    steps = [step.step for step in told.steps]
    losses = [step.loss for step in told.steps]
    rates = [step.learning_rate for step in told.steps]
    speeds = [step.tokens_per_second for step in told.steps]
    norms = [step.gradient_norm for step in told.steps]
    memory = {
        key: [step.memory_bytes.get(key, 0) / view.MIB for step in told.steps] for key in charts.COMPONENT_COLOURS
    }
    arrived, left = [step.pages_in for step in told.steps], [step.pages_out for step in told.steps]
    end = {"last_step": told.started.steps if live and told.started else None}
    count = len(steps)
    drawn = [
        (
            charts.loss_chart(steps, losses, **end),
            text.LOSS_TITLE,
            text.LOSS_DESCRIPTION.format(steps=count, first=losses[0], last=charts.smoothed(losses)[-1]),
            {text.LOSS_AXIS: losses, text.LOSS_SMOOTHED: charts.smoothed(losses)},
        ),
        (
            charts.memory_chart(steps, memory, budget_mib=told.budget_mib, **end),
            text.MEMORY_TITLE,
            text.MEMORY_DESCRIPTION.format(components=_components_in_words(told.steps[-1])),
            {f"{text.COMPONENTS[key]}, MiB": values for key, values in memory.items()},
        ),
        (
            charts.page_moves_chart(steps, arrived, left, **end),
            text.PAGE_MOVES_TITLE,
            text.PAGE_MOVES_DESCRIPTION.format(arrived=sum(arrived), left=sum(left), steps=count),
            dict(zip(text.TABLE_PAGE_COLUMNS, (arrived, left), strict=True)),
        ),
        (
            charts.throughput_chart(steps, speeds, **end),
            text.THROUGHPUT_TITLE,
            text.THROUGHPUT_DESCRIPTION.format(steps=count, median=statistics.median(speeds)),
            {text.THROUGHPUT_AXIS: speeds},
        ),
        (
            charts.gradient_norm_chart(steps, norms, **end),
            text.GRADIENT_TITLE,
            text.GRADIENT_DESCRIPTION.format(steps=count, median=statistics.median(norms)),
            {text.GRADIENT_AXIS: norms},
        ),
        (
            charts.learning_rate_chart(steps, rates, **end),
            text.LEARNING_RATE_TITLE,
            text.LEARNING_RATE_DESCRIPTION.format(
                steps=count, first=charts.short_power(rates[0]), last=charts.short_power(rates[-1])
            ),
            {text.LEARNING_RATE_AXIS: rates},
        ),
    ]
    figures = "".join(
        framed(
            to_svg(figure, title=title, description=described), title=title, data=None if live else _data(steps, series)
        )
        for figure, title, described, series in drawn
    )
    return f'<div class="run-charts">{figures}{view.pages_html(told)}</div>'


def _data(steps: Sequence[int], series: dict[str, Sequence[float]]) -> Data:
    """Each step's numbers for the file; one table under all charts shows them together."""
    columns = (text.STEP_AXIS, *series)
    rows = list(zip(steps, *series.values(), strict=True))
    return Data(columns, rows, ("{}",) * len(columns), text.TABLE_CAPTION, summary="")


def _components_in_words(step: events.StepFinished) -> str:
    return ", ".join(
        f"{text.COMPONENTS[key]} {step.memory_bytes.get(key, 0) / view.MIB:,.1f} MiB"
        for key in charts.COMPONENT_COLOURS
    )
