"""The Paging tab's HTML: the player's frame, what a run says in a sentence, and its charts."""

import functools
from collections.abc import Mapping

from app import recordings
from app.charts import paging as charts
from app.charts.frame import Data
from app.charts.markup import conclusion, note, origin, panel_title
from app.charts.svg import NARROW_PX, WIDE_PX, chart
from app.tabs.paging_replay import (
    AWAY,
    Replay,
    absences,
    most_away,
    resident_over_time,
    state_at,
)
from app.tabs.paging_sources import Source
from app.text import common
from app.text import paging as text

MIB = 2**20
_TABLE_ROWS = 120


def kind_of(source: Source) -> str:
    """The word for where a source's numbers come from."""
    return common.RECORDED if source.header else common.MEASURED


def heading_html(source: Source) -> str:
    """Title with its mark, the conclusion, and what a person should know of the source."""
    started, run = source.started, source.run
    body, origins = panel_title(text.REPLAY_TITLE, kind=kind_of(source), ask=text.ASK_PAGING), _origin_words(source)
    if run is None:
        waiting = source.live and started is None
        return body + note(origins) + note(text.NOT_YET if waiting else text.NO_PAGES) + _remarks(source)
    body += (conclusion(conclusion_of(run)) if run.steps else note(text.NO_STEP_YET)) + note(origins)
    if started.emulated_device:
        body += note(text.EMULATED)
    elif (over := _over_limit(run)) > 0:
        body += note(text.OVER_LIMIT.format(over=over / MIB))
    return body + _remarks(source) + _made_with(source)


def _over_limit(run: Replay) -> int:
    """Bytes by which the fullest moment is above the limit; 0 where there is none or it held."""
    if run.budget_bytes is None:
        return 0
    return max(0, max((sum(step.memory.values()) for step in run.steps), default=0) - run.budget_bytes)


def conclusion_of(run: Replay) -> str:
    """What a run with at least one finished step shows."""
    moved = [step for step in run.steps if step.pages_in or step.pages_out]
    at, away = most_away(run)
    if not away:
        return text.CONCLUSION_STAYED.format(pages=run.pages, steps=_counted(text.STAYED, len(run.steps)))
    fullest = next((step for step in run.steps if step.row >= at - 1), run.steps[-1])
    quiet = len(run.steps) - len(moved)
    back = AWAY not in state_at(run, fullest.row + 1)
    return text.CONCLUSION_MOVED.format(
        quiet=text.QUIET_SOME.format(quiet=quiet, steps=len(run.steps)) if quiet else text.QUIET_NONE,
        tokens=fullest.tokens,
        step=fullest.number,
        away=away,
        pages=run.pages,
        back=text.BACK_IN_STEP if back else "",
        share=per_cent(moving_share(run)),
        moving=_counted(text.MOVING, len(moved)),
    )


def _counted(words: tuple[str, str], count: int) -> str:
    return words[count != 1].format(count=count)


def moving_share(run: Replay) -> float:
    """Copying in per cent of the time of the steps in which pages moved; 0 when none did."""
    moved = [step for step in run.steps if step.pages_in or step.pages_out]
    seconds = sum(step.seconds for step in moved)
    return 100 * sum(step.moving_ms for step in moved) / 1e3 / seconds if seconds else 0.0


def per_cent(value: float) -> str:
    """A share with two digits that count, which no line break parts from its sign."""
    return (f"{value:.0f}" if value >= 10 else f"{value:.2g}") + "\u00a0%"


def run_chart_html(source: Source, narrow: bool) -> str:
    """Where each page was, and memory against the limit; nothing before the first step."""
    run = source.run
    if run is None or not run.steps:
        return ""
    width = NARROW_PX if narrow else WIDE_PX
    away = absences(run)
    constant = sum(run.constant.values()) / MIB
    limit = run.budget_bytes / MIB if run.budget_bytes else None
    seconds = run.rows[-1][2] / 1e3
    draw = functools.partial(
        charts.run_chart,
        pages=run.pages,
        seconds=seconds,
        absences=[(page, began / 1e3, ended / 1e3) for page, began, ended in away],
        held=[(at / 1e3, size / MIB) for at, size in resident_over_time(run)],
        fullest=[
            (
                step.began_ms / 1e3,
                step.ended_ms / 1e3,
                _with_activations(step.memory) / MIB,
            )
            for step in run.steps
        ],
        constant_mib=constant,
        limit_mib=limit,
        step_ticks={step.ended_ms / 1e3: str(step.number) for step in run.steps},
    )
    described = text.RUN_CHART_DESCRIPTION.format(
        pages=run.pages,
        steps=len(run.steps),
        absences=len(away),
        limit=text.RUN_CHART_LIMIT.format(limit=limit) if limit else "",
    )
    plots = charts.run_plots(width, limit is not None)
    across = (charts.LEFT_PX, width - charts.RIGHT_PX)
    plot = ",".join(f"{value:g}" for value in (*across, *plots.pages, *plots.memory))
    drawn = chart(
        draw, narrow=narrow, title=text.RUN_CHART_TITLE, description=described, data=_run_data(source, constant)
    )
    return (
        f'<h4 class="sub-title">{text.RUN_CHART_TITLE} {origin(kind_of(source))}</h4>'
        f'<div class="pager-chart" data-pager-chart="{plot}" data-seconds="{seconds:.3f}">{drawn}</div>'
        + note(text.RUN_CHART_NOTE.format(constant=constant))
    )


def step_panel(recording: recordings.Recording, narrow: bool) -> str:
    """The memory of one recorded step."""
    started, step = recording.log[0], recording.step
    constant = sum(size for name, size in started.memory_bytes.items() if name != "optimizer") / MIB
    limit = started.device_budget_bytes / MIB if started.device_budget_bytes else None
    samples = [(operator, activations / MIB, pages / MIB) for operator, activations, pages in step.samples]
    pages = [held for _, _, held in samples]
    words = text.STEP_CONCLUSION_FITS
    if min(pages) < pages[0]:
        words = text.STEP_CONCLUSION.format(tokens=step.tokens, left=pages[0] - min(pages), pages=pages[0])
    phases = list(step.phases.items())
    rows = [
        (operator, next(text.PHASES[n] for n, first in reversed(phases) if operator >= first), activations, held)
        for operator, activations, held in samples
    ]
    described = text.STEP_DESCRIPTION.format(
        operators=step.operators,
        first=pages[0],
        least=min(pages),
        last=pages[-1],
        most=max(activations for _, activations, _ in samples),
        limit=text.RUN_CHART_LIMIT.format(limit=limit) if limit else "",
    )
    header = recording.header
    drawn = chart(
        functools.partial(
            charts.step_chart,
            operators=step.operators,
            phases=step.phases,
            samples=samples,
            constant_mib=constant,
            limit_mib=limit,
        ),
        narrow=narrow,
        title=text.STEP_CHART_TITLE,
        description=described,
        data=Data(
            text.STEP_TABLE,
            rows,
            ("{:,}", "{}", "{:,.1f}", "{:,.1f}"),
            text.STEP_TABLE_CAPTION.format(origin=common.RECORDED.capitalize(), constant=constant),
        ),
    )
    return (
        panel_title(text.STEP_TITLE, kind=common.RECORDED)
        + conclusion(words)
        + note(recorded_words(header))
        + drawn
        + note(text.STEP_NOTE + (" " + text.EMULATED if header.emulated_device else ""))
    )


def recorded_words(header: recordings.Header) -> str:
    """Where and when a recording was made."""
    form = text.ORIGIN_RECORDED if header.emulated_device else text.ORIGIN_RECORDED_GPU
    words = form.format(device=header.device, date=header.date, threads=header.threads)
    return f"{common.RECORDED.capitalize()} {words}."


def _origin_words(source: Source) -> str:
    if source.header:
        return recorded_words(source.header)
    state = "stopping" if source.status.stopping_seconds is not None else source.status.state
    words = text.STATES[state].format(message=source.status.message)
    if source.started is None:
        return words
    return f"{common.MEASURED.capitalize()} {text.ORIGIN_MEASURED.format(device=source.started.device)}. {words}"


def _remarks(source: Source) -> str:
    return "".join(map(note, source.remarks))


def _made_with(source: Source) -> str:
    header = source.header
    if header is None:
        return ""
    versions = ", ".join(f"{name} {version}" for name, version in header.versions.items())
    words = text.MADE_WITH_WORDS.format(reason=header.reason, command=header.command, versions=versions)
    return f'<details class="table-twin"><summary>{text.MADE_WITH}</summary>{note(words)}</details>'


def _run_data(source: Source, constant_mib: float) -> Data:
    run = source.run
    every = -(-len(run.steps) // _TABLE_ROWS)
    rows = [
        (
            step.number,
            step.tokens,
            step.seconds,
            step.pages_out,
            step.pages_in,
            step.moving_ms,
            step.memory.get("optimizer", 0) / MIB,
            step.memory.get("activations", 0) / MIB,
            constant_mib + (step.memory.get("optimizer", 0) + step.memory.get("activations", 0)) / MIB,
        )
        for step in [*run.steps[:-1:every], run.steps[-1]]
    ]
    caption = text.RUN_TABLE_CAPTION.format(origin=kind_of(source).capitalize())
    caption += "" if every == 1 else text.RUN_TABLE_THINNED.format(every=every)
    formats = ("{:,}", "{:,}", "{:,.2f}", "{:,}", "{:,}", "{:,.2f}", "{:,.1f}", "{:,.1f}", "{:,.1f}")
    return Data(text.RUN_TABLE, rows, formats, caption)


def _with_activations(memory: Mapping[str, int]) -> int:
    """Bytes of pages and activations at a step's fullest moment; 0 where that was the update, as in the first step,
    which makes the pages."""
    return memory.get("optimizer", 0) + memory["activations"] if memory.get("activations") else 0
