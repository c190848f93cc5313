"""Runs that lie on this machine: look at one again, go on with it, compare two, take the adapter along."""

import dataclasses
import datetime
import functools
import statistics
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from app import runs
from app.charts.frame import Data
from app.charts.markup import conclusion, note, panel_title, problem
from app.charts.svg import chart
from app.charts.table import table
from app.charts.training import smoothed
from app.tabs import viewport
from app.text import common
from app.text import finetune as text
from qlora import events
from qlora.errors import InputError

_LAST_STEPS = 5
_FETCH = """() => setTimeout(() => {
  const file = document.querySelector("#finetune-adapter-file");
  (file?.tagName === "A" ? file : file?.querySelector("a") ?? file)?.click();
}, 100)"""


class Lists(NamedTuple):
    """The fold's parts."""

    fold: gr.Accordion
    show: gr.Dropdown
    other: gr.Dropdown
    resume: gr.Button
    adapter: gr.Button
    archive: gr.DownloadButton
    problem: gr.HTML
    comparison: gr.HTML


def build() -> Lists:
    """Both lists, what can be done with the run that is shown, and the comparison, folded."""
    with gr.Accordion(text.RUNS_TITLE, open=False, elem_id="finetune-runs") as fold:
        with gr.Row():
            show = gr.Dropdown([], label=text.RUNS_SHOW, filterable=False, elem_id="finetune-show", min_width=280)
            other = gr.Dropdown([], label=text.RUNS_COMPARE, filterable=False, elem_id="finetune-other", min_width=280)
        with gr.Row(elem_classes="finetune-buttons"):
            again = gr.Button(text.RESUME, visible=False, elem_id="finetune-resume")
            adapter = gr.Button(text.ADAPTER, elem_id="finetune-adapter")
            archive = gr.DownloadButton(visible="hidden", elem_id="finetune-adapter-file")
        said = gr.HTML(elem_classes="finetune-place")
        compared = gr.HTML(note(text.COMPARE_CHOOSE), elem_id="finetune-comparison")
    return Lists(fold, show, other, again, adapter, archive, said, compared)


def wire(
    lists: Lists,
    shown: gr.State,
    drawn: gr.State,
    started: gr.HTML,
    refreshed: dict,
    narrow: gr.Checkbox,
    width_changed: gr.Button,
) -> None:
    """Let the lists change which run the tab shows.

    Args:
        lists: from `build`.
        shown, drawn: the tab's run and what of it stands on the page.
        started: where the tab says what hinders a run.
        refreshed: listener that draws the shown run.
        narrow, width_changed: from `viewport.watch`.
    """
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    compare = {
        "fn": comparison,
        "inputs": [shown, lists.other, narrow],
        "outputs": lists.comparison,
        "js": viewport.FILL_IN,
        **quiet,
    }
    listed = {"fn": offered, "inputs": [shown, lists.other], "outputs": [lists.show, lists.other], **quiet}
    lists.fold.expand(**listed)
    shown.change(**listed)
    lists.show.input(lambda run_id: (run_id, {}, ""), lists.show, [shown, drawn, lists.problem], **quiet).then(
        **refreshed
    ).then(**compare)
    gr.on([lists.other.input, width_changed.click], **compare)
    lists.resume.click(resume, shown, started, **quiet).then(**refreshed)
    # The file is made when it is asked for; the hidden button then gives it to the browser.
    lists.adapter.click(adapter_file, shown, [lists.archive, lists.problem], **quiet).then(
        None, lists.archive, js=_FETCH, api_visibility="private"
    )


def label(run: runs.Run) -> str:
    """A run in a line: when, how far, with what, and how it stands."""
    started = datetime.datetime.strptime(run.id, runs.ID_FORMAT)
    try:
        config = runs.config_of(run)
    except InputError:
        return text.RUN_UNKNOWN.format(time=f"{started:%Y-%m-%d %H:%M:%S}")
    return text.RUN_LABEL.format(
        time=f"{started:%Y-%m-%d %H:%M:%S}",
        done=len(_steps(run)),
        steps=config.training.steps,
        data_type=text.DATA_TYPES.get(config.quantization.quant_type, config.quantization.quant_type),
        r=config.adapter.r,
        state=runs.status(run).state,
    )


def offered(shown: str | None, other: str | None) -> tuple[dict, dict]:
    """The choices of both lists as they are now; a choice that is gone becomes none."""
    known = [(label(run), run.id) for run in runs.list_runs()[: runs.LISTED]]
    ids = {run_id for _, run_id in known}
    return (
        gr.update(choices=known, value=shown if shown in ids else None),
        gr.update(
            choices=[(words, run_id) for words, run_id in known if run_id != shown],
            value=other if other in ids and other != shown else None,
        ),
    )


def resume(run_id: str | None) -> str:
    """Go on with the shown run; what hinders it is said."""
    run = runs.find(run_id) if run_id else None
    if run is None:
        return problem(text.RUN_GONE)
    try:
        runs.resume(run)
    except InputError as error:
        return problem(str(error))
    return ""


def adapter_file(run_id: str | None) -> tuple[dict, str]:
    """The run's adapter as PEFT's files in one archive, and what is wrong where there is none."""
    run = runs.find(run_id) if run_id else None
    if run is None or not runs.has_adapter(run):
        return gr.skip(), problem(text.NO_ADAPTER)
    # Gradio serves files of the system's temporary folder; it copies the file to its cache at once.
    archive = Path(tempfile.mkdtemp(prefix="qlora-adapter-")) / f"adapter-{run.id}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for file in sorted((run.folder / events.ADAPTER_FOLDER).iterdir()):
            packed.write(file, file.name)
    return gr.update(value=str(archive)), ""


def comparison(shown: str | None, other: str | None, narrow: bool) -> str:
    """Both runs' losses on one chart, and the settings in which they differ."""
    if not shown or not other:
        return note(text.COMPARE_CHOOSE)
    pair = [runs.find(shown), runs.find(other)]
    if None in pair:
        return problem(text.RUN_GONE)
    names = [text.STARTED_AT.format(id=run.id) for run in pair]
    losses = [[step.loss for step in _steps(run)] for run in pair]
    for name, values in zip(names, losses, strict=True):
        if not values:
            return note(text.COMPARE_NO_STEPS.format(name=name))
    return (
        panel_title(text.COMPARE_TITLE, kind=common.MEASURED, ask=text.COMPARE_QUESTION)
        + conclusion(_verdict(names, losses))
        + _losses_chart(names, pair, losses, narrow)
        + _differences(names, pair)
    )


def _verdict(names: list[str], losses: list[list[float]]) -> str:
    # At the same step: the longer run would win by its length alone.
    steps = min(map(len, losses))
    last = [statistics.fmean(values[max(0, steps - _LAST_STEPS) : steps]) for values in losses]
    better = last.index(min(last))
    return text.COMPARE_CONCLUSION.format(
        better=names[better], lower=min(last), higher=max(last), step=steps, count=min(_LAST_STEPS, steps)
    )


def _losses_chart(names: list[str], pair: list[runs.Run], losses: list[list[float]], narrow: bool) -> str:
    from app.charts.training_compare import compared_losses

    steps = [[step.step for step in _steps(run)] for run in pair]
    by_step = [dict(zip(at, values, strict=True)) for at, values in zip(steps, losses, strict=True)]
    rows = [(step, by_step[0].get(step), by_step[1].get(step)) for step in sorted({*steps[0], *steps[1]})]
    return chart(
        functools.partial(compared_losses, runs=list(zip(names, steps, losses, strict=True))),
        narrow=narrow,
        title=text.COMPARE_TITLE,
        description="; ".join(
            text.COMPARE_DESCRIPTION.format(name=name, steps=len(values), last=smoothed(values)[-1])
            for name, values in zip(names, losses, strict=True)
        )
        + ".",
        data=Data((text.STEP_AXIS, *names), rows, ("{}", "{:.3f}", "{:.3f}"), text.COMPARE_CAPTION),
    )


def _differences(names: list[str], pair: list[runs.Run]) -> str:
    try:
        settings = [_flat(dataclasses.asdict(runs.config_of(run))) for run in pair]
    except InputError as error:  # a run of an older version, or a damaged file
        return problem(str(error))
    rows = [
        (key, str(settings[0].get(key, "")), str(settings[1].get(key, "")))
        for key in settings[0] | settings[1]
        if settings[0].get(key) != settings[1].get(key) and key != "output"
    ]
    if not rows:
        return note(text.COMPARE_SAME)
    return table((text.COMPARE_SETTING, *names), rows, caption=text.COMPARE_SETTINGS, left_aligned=True)


def _flat(values: dict, prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _steps(run: runs.Run) -> list[events.StepFinished]:
    return [event for event in runs.events(run) if isinstance(event, events.StepFinished)]


def expected(config) -> str:
    """Memory by formula and, from the pace of the latest run here, time: before anything is started."""
    from qlora.memory.budget import run_options
    from qlora.memory.estimate import estimate
    from qlora.memory.model_config import shape_of
    from qlora.training.preflight import choose_device

    device = choose_device(config)
    dtype = "bfloat16" if device.type == "cuda" else "float32"
    rows, tokens = config.training.batch_size, config.data.max_length
    kept = {"keep": 0, "auto": 0}.get(config.training.activations)
    options = run_options(
        config, rows=rows, tokens=tokens, compute_dtype=dtype, adapter_dtype=dtype, checkpointed_layers=kept
    )
    result = estimate(shape_of(config.model.name), options)
    form = text.EXPECTED_KEPT if config.training.activations == "auto" else text.EXPECTED
    words = form.format(mib=result.peak_bytes / 2**20, out=result.peak_bytes_paged_out / 2**20)
    pace = next((pace for run in runs.list_runs() if (pace := _seconds_a_token(run)) is not None), None)
    if pace is None:
        return words
    seconds = pace * rows * config.training.accumulation * tokens * config.training.steps
    return words + " " + text.EXPECTED_TIME.format(minutes=max(1, round(seconds / 60)))


def _seconds_a_token(run: runs.Run) -> float | None:
    paces = [step.step_seconds / step.tokens for step in _steps(run) if step.tokens]
    return statistics.median(paces) if paces else None
