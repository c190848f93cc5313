"""The Paging tab: a run's pages at every moment, a run under a limit of one's own, and what moving pages costs."""

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any

import gradio as gr

from app import recordings, runs
from app.charts.markup import note, panel_title, problem
from app.tabs import paging_cost, paging_player, paging_view, viewport
from app.tabs import paging_sources as sources
from app.tabs.finetune_settings import SMALL_DEVICE_MIB, preset_config
from app.tabs.paging_cost_view import ASSUMED_TERAFLOPS, cost_html, evidence_html
from app.text import common
from app.text import paging as text
from qlora.errors import InputError
from qlora.memory.shapes import LLAMA

TAB_ID = "paging"
TITLE = text.TITLE

_REFRESH_SECONDS = 1.5
_REDRAW_SECONDS = 4.0
_BUDGETS_MIB = (200, 340, 2)
# The address may name what is shown: ?paging=recording:smollm2-cpu-budget.
_FROM_ADDRESS = (
    "() => [new URLSearchParams(location.search).get('paging') || '', "
    f"window.innerWidth <= {viewport.NARROW_WINDOW_PX}]"
)


def attach(asked: str, narrow: bool):
    """What a page that has just been opened shows: the source that its address names, or the first recording.

    Returns:
        The choice, and what `show` returns.
    """
    offered = sources.choices()
    known = [value for _, value in offered]
    chosen = asked if asked in known else (known[0] if known else None)
    return gr.Dropdown(choices=offered, value=chosen), *show(chosen, {}, narrow)


def show(source_id: str | None, drawn: dict, narrow: bool):
    """Everything of one source, skipping what has not changed since `drawn`.

    Returns:
        heading, player's frame, its data, chart, stop button, timer, and the new `drawn`.
    """
    if not source_id:
        return problem(text.NO_RECORDINGS), "", "", "", gr.Button(interactive=False), gr.Timer(active=False), {}
    try:
        source = sources.load(source_id)
    except InputError as error:
        return problem(str(error)), "", "", "", gr.Button(interactive=False), gr.Timer(active=False), {}
    rows = len(source.run.rows) if source.run else 0
    said = paging_view.heading_html(source)
    framed = source.run is not None
    same_frame = (drawn.get("id"), drawn.get("framed")) == (source_id, framed)
    key = (source_id, rows, source.live, narrow)
    fresh = source.live and same_frame and time.time() - drawn.get("at", 0) < _REDRAW_SECONDS
    redraw = key != drawn.get("key") and not fresh
    outputs = (
        gr.skip() if drawn.get("said") == said else said,
        gr.skip() if same_frame else paging_player.player_html(source),
        paging_player.data_html(source) if redraw else gr.skip(),
        _chart(source_id, rows, source.live, narrow) if redraw else gr.skip(),
        gr.Button(interactive=source.live and source.status.stopping_seconds is None),
        gr.Timer(active=source.live),
    )
    drawn = {**drawn, "id": source_id, "framed": framed, "said": said}
    return *outputs, {**drawn, "key": key, "at": time.time()} if redraw else drawn


@functools.lru_cache(maxsize=16)
def _chart(source_id: str, rows: int, live: bool, narrow: bool) -> str:
    """The chart, drawn once for all who watch; `rows` and `live` say how far the run was."""
    return paging_view.run_chart_html(sources.load(source_id), narrow)


def start(budget_mib: float | None):
    """Start a run under this limit; a run that is going on is shown instead, and what hinders it is said in place.

    Returns:
        The choice with the run in it, and a sentence.
    """
    said = note(text.STARTED)
    try:
        if isinstance(budget_mib, bool) or not isinstance(budget_mib, int | float):
            raise InputError(text.NO_LIMIT_GIVEN)
        config = preset_config("small_device")
        run = runs.start(
            dataclasses.replace(
                config, optimizer=dataclasses.replace(config.optimizer, device_budget_mib=budget_mib)
            )
        )  # fmt: skip
    except InputError as error:
        said, run = problem(str(error)), runs.live_run()
        if run is None:
            return gr.skip(), said
    return gr.Dropdown(choices=sources.choices(), value=sources.run_id(run)), said


def stop(source_id: str | None) -> str:
    """Ask the shown run to stop after the step at hand."""
    run = sources.shown_run(source_id)
    if run is None:
        return problem(text.SOURCE_GONE)
    try:
        runs.stop(run)
    except InputError as error:
        return problem(str(error))
    return note(text.STATES["stopping"])


def step_html(narrow: bool) -> str:
    """The recorded step, or a sentence about why it cannot be shown."""
    name = sources.step_recording()
    said = text.NO_STEP_RECORDING
    if name is not None:
        try:
            return _step_panel(recordings.path(name), recordings.path(name).stat().st_mtime_ns, bool(narrow))
        except InputError as error:
            said = str(error)
    return panel_title(text.STEP_TITLE, kind=common.RECORDED) + problem(text.NO_STEP.format(problem=said))


@functools.lru_cache(maxsize=4)
def _step_panel(file: Path, changed: int, narrow: bool) -> str:
    """The panel, drawn once for all visitors; `changed` says of which version of the file."""
    name = file.name.removesuffix(recordings.SUFFIX)
    recording = recordings.read(name, file.parent)
    if recording.step is None or not recording.step.samples or not recording.log:
        raise InputError(text.STEP_UNREADABLE.format(name=name))
    return paging_view.step_panel(recording, narrow)


def build(blocks: gr.Blocks) -> None:
    """Lay the tab out and wire it; it is filled after the first paint."""
    drawn = gr.State({})
    gr.HTML(f'<h2 class="panel-title">{text.HEADING}</h2><p class="lead">{text.LEAD}</p>')
    asked = gr.Textbox(visible="hidden", container=False)
    source = gr.Dropdown([], label=text.SOURCE, filterable=False, elem_id="paging-source")
    heading = gr.HTML(note(text.WAITING), elem_id="paging-heading")
    player = gr.HTML(elem_id="paging-player", elem_classes="finetune-place")
    data = gr.HTML(elem_id="paging-data", elem_classes="paging-data")
    chart = gr.HTML(elem_id="paging-chart", elem_classes="finetune-place")
    budget, start_button, stop_button, said = _own_limit()
    step = gr.HTML(elem_id="paging-step")
    settings, cost = _cost()
    timer = gr.Timer(_REFRESH_SECONDS, active=False)
    narrow, width_changed = viewport.watch(blocks, TAB_ID)

    quiet = viewport.QUIET
    shown = [heading, player, data, chart, stop_button, timer, drawn]
    watch = [source, drawn, narrow]
    blocks.load(attach, [asked, narrow], [source, *shown], js=_FROM_ADDRESS, queue=False, **quiet)
    # A run may have been started in another tab, or in another browser.
    source.focus(lambda: gr.Dropdown(choices=sources.choices()), outputs=source, queue=False, **quiet)
    timer.tick(show, watch, shown, js=viewport.FILL_IN, concurrency_limit=None, **quiet)
    source.change(show, watch, shown, js=viewport.FILL_IN, queue=False, **quiet)
    width_changed.click(show, watch, shown, js=viewport.FILL_IN, queue=False, **quiet)
    start_button.click(start, budget, [source, said], **quiet)
    stop_button.click(stop, source, said, **quiet)
    drawn_alone = {"js": viewport.FILL_IN, "queue": False, "trigger_mode": "always_last", **quiet}
    opened = [blocks.load, width_changed.click]
    gr.on(opened, step_html, narrow, step, **drawn_alone)
    gr.on([control.input for control in settings] + opened, cost_html, [*settings, narrow], cost, **drawn_alone)


def _own_limit() -> tuple[gr.Slider, gr.Button, gr.Button, gr.HTML]:
    """Controls of a live run."""
    steps = preset_config("small_device").training.steps
    gr.HTML(panel_title(text.TRY_TITLE, kind=common.MEASURED) + note(text.TRY_LEAD.format(steps=steps)))
    low, high, by = _BUDGETS_MIB
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            budget = gr.Slider(
                low, high, SMALL_DEVICE_MIB, step=by, label=text.BUDGET, info=text.BUDGET_INFO, elem_id="paging-budget"
            )
        with gr.Column(scale=1, min_width=280), gr.Row(elem_classes="finetune-buttons"):
            start_button = gr.Button(text.START, variant="primary", elem_id="paging-start")
            stop_button = gr.Button(text.STOP, interactive=False, elem_id="paging-stop")
    return budget, start_button, stop_button, gr.HTML(elem_id="paging-said", elem_classes="finetune-place")


def _cost() -> tuple[list[Any], gr.HTML]:
    """Controls of the formula, and its panel."""
    reached = paging_cost.recorded_speed()
    info = text.COST_SPEED_INFO_PLAIN
    if reached:
        info = text.COST_SPEED_INFO.format(reached=reached[0], device=reached[1])
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            settings = [
                gr.Dropdown(list(LLAMA), value=paging_cost.PAPER_MODEL, label=text.COST_MODEL, filterable=False),
                gr.Slider(1, 64, paging_cost.PAPER_BATCH, step=1, label=text.COST_BATCH, elem_id="paging-batch"),
                gr.Slider(64, 8192, paging_cost.PAPER_SEQUENCE, step=64, label=text.COST_SEQUENCE),
                gr.Slider(0, 100, 100, step=5, label=text.COST_EVICTED),
                gr.Slider(0, 100, 0, step=5, label=text.COST_HIDDEN),
                gr.Slider(10, 600, ASSUMED_TERAFLOPS, step=10, label=text.COST_SPEED, info=info),
            ]
        with gr.Column(scale=3, min_width=320):
            cost = gr.HTML(elem_id="paging-cost")
            gr.HTML(evidence_html(), elem_id="paging-evidence")
    return settings, cost
