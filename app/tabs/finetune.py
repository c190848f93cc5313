"""The Finetune tab: settings, a run as it happens, and both models' answers."""

import dataclasses
import functools
import html
import time
from pathlib import Path
from typing import Any

import gradio as gr

from app import runs
from app.charts.markup import note, panel_title, problem
from app.tabs import finetune_charts, finetune_runs, viewport
from app.tabs import finetune_view as view
from app.tabs.finetune_ask import ask
from app.tabs.finetune_settings import chosen_config, field_values, plan, preset_config, read_upload
from app.text import common
from app.text import finetune as text
from qlora import config as configuration
from qlora.config import RunConfig
from qlora.errors import InputError

TAB_ID = "finetune"
TITLE = text.TITLE

_REFRESH_SECONDS = 1.0
_REDRAW_SECONDS = 2.0
_PATIENCE_SECONDS = 20.0
_MOST_ANSWER_TOKENS = 256
# What `refresh` fills, in the order of the page.
_SECTIONS = ("status", "cards", "charts", "table", "samples", "ask")


def preview(preset: str, instructions: str | None, *values: Any):
    """Plan, configuration as YAML and what is wrong with it, and whether it can be started."""
    try:
        config = chosen_config(preset, *values)
        sentence = f"{plan(config, instructions)} {finetune_runs.expected(config)}"
    except InputError as error:
        return problem(str(error)), gr.skip(), gr.Button(interactive=False)
    if instructions:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=Path(instructions).name))
    return _plan_html(sentence), configuration.to_yaml(config), gr.Button(interactive=runs.live_run() is None)


def start(preset: str, instructions: str | None, *values: Any):
    """Start a run; what hinders it is said in place, and a run that is going on already is shown instead."""
    try:
        config = chosen_config(preset, *values)
        if instructions:
            read_upload(instructions)
        run = runs.start(config, instructions=Path(instructions) if instructions else None)
    except InputError as error:
        live = runs.live_run()
        return gr.skip() if live is None else live.id, problem(str(error)), {}
    return run.id, "", {}


def stop(run_id: str | None):
    """Ask the shown run to stop; end its process when it has not answered for long."""
    run = runs.find(run_id) if run_id else None
    if run is None:
        return problem(text.RUN_GONE)
    try:
        if (runs.status(run).stopping_seconds or 0) > _PATIENCE_SECONDS:
            runs.kill(run)
        else:
            runs.stop(run)
    except InputError as error:
        return problem(str(error))
    return ""


def attach(run_id: str | None, prompt: str):
    """Find the latest run for a page that has just been opened."""
    latest = runs.latest()
    if latest is None:
        return run_id, prompt
    try:
        prompts = runs.config_of(latest).training.sample_prompts
    except InputError:  # of an older version: its log can be shown all the same
        prompts = ()
    return latest.id, prompts[0] if prompts else prompt


def refresh(run_id: str | None, drawn: dict):
    """Everything that the page shows of a run, skipping what has not changed since `drawn`.

    Returns:
        status, cards, charts, their table, samples, note beside "Ask both", fold of the table, start, stop, ask and
        resume buttons, timer, and the new `drawn`.
    """
    run = runs.find(run_id) if run_id else None
    if run is None:
        words = note(text.NO_RUN) if run_id is None else problem(text.RUN_GONE)
        idle = runs.live_run() is None
        sections = dict.fromkeys(_SECTIONS, "") | {"status": words, "ask": note(text.ASK_WAIT_FOR_RUN)}
        return _changes(sections, drawn, may_start=idle, status=None, may_ask=False)
    status = runs.status(run)
    told = view.story(runs.events(run))
    may_ask = not status.live and runs.has_adapter(run)
    sections = {
        "status": view.status_html(run, status, told, runs.unreadable_lines(run)) + _kill_note(status),
        "cards": view.cards_html(run, status, told),
        "samples": view.samples_html(told),
        "ask": "" if may_ask else note(text.ASK_WAIT_FOR_RUN),
    }
    key = (run.id, len(told.steps), status.live)
    fresh = status.live and key[0] == drawn.get("key", key)[0] and time.time() - drawn.get("at", 0) < _REDRAW_SECONDS
    if key != drawn.get("key") and not fresh:
        sections["charts"] = _charts(run, len(told.steps), status.live)
        sections["table"] = view.table_html(told)
        drawn = {**drawn, "key": key, "at": time.time()}
    may_resume = not status.live and runs.can_resume(run)
    return _changes(sections, drawn, may_start=not status.live, status=status, may_ask=may_ask, may_resume=may_resume)


@functools.lru_cache(maxsize=8)
def _charts(run: runs.Run, steps: int, live: bool) -> str:
    """The charts, drawn once for all who watch; `steps` says how far the run was."""
    return finetune_charts.charts_html(view.story(runs.events(run)), live=live)


def _plan_html(sentence: str) -> str:
    return f"<p>{html.escape(sentence)}</p>"


def _kill_note(status: runs.Status) -> str:
    seconds = status.stopping_seconds or 0
    return note(text.KILL_NOTE.format(seconds=seconds)) if seconds > _PATIENCE_SECONDS else ""


def _changes(
    sections: dict[str, str],
    drawn: dict,
    *,
    may_start: bool,
    status: runs.Status | None,
    may_ask: bool,
    may_resume: bool = False,
) -> tuple:
    live = status is not None and status.live
    stopping = status.stopping_seconds if status else None
    may_kill = (stopping or 0) > _PATIENCE_SECONDS
    updates = [
        gr.skip() if name not in sections or drawn.get(name) == sections[name] else sections[name] for name in _SECTIONS
    ]
    drawn = drawn | sections
    return (
        *updates,
        gr.Accordion(visible=bool(drawn.get("table"))),
        gr.Button(interactive=may_start),
        gr.Button(text.KILL if may_kill else text.STOP, interactive=live and (stopping is None or may_kill)),
        gr.Button(interactive=may_ask),
        gr.Button(visible=may_resume),
        gr.Timer(active=live),
        drawn,
    )


def build(blocks: gr.Blocks) -> None:
    """Lay the tab out and wire it; called inside its `gr.Tab`."""
    shown = gr.State(None)
    drawn = gr.State({})
    gr.HTML(f'<h2 class="panel-title">{text.HEADING}</h2><p class="lead">{text.LEAD}</p>{note(text.DEMO_WEIGHTS)}')
    preset = gr.Radio(
        [(words, name) for name, words in text.PRESETS.items()],
        value=next(iter(text.PRESETS)),
        label=text.PRESET,
        elem_id="finetune-preset",
    )
    first = preset_config(next(iter(text.PRESETS)))
    plan_html = gr.HTML(_plan_html(plan(first, None)), elem_id="finetune-plan", elem_classes="finetune-plan")
    with gr.Row(elem_classes="finetune-buttons"):
        start_button = gr.Button(text.START, variant="primary", elem_id="finetune-start")
        stop_button = gr.Button(text.STOP, interactive=False, elem_id="finetune-stop")
    started_html = gr.HTML(elem_id="finetune-problem", elem_classes="finetune-place")
    with gr.Accordion(text.SETTINGS, open=False, elem_id="finetune-settings"):
        fields, upload = _settings(first)
    with gr.Accordion(text.EXACTLY, open=False, elem_id="finetune-exactly"):
        gr.Code(text.COMMAND, language="shell", label=text.COMMAND_LABEL, interactive=False)
        yaml_code = gr.Code(configuration.to_yaml(first), language="yaml", label=text.YAML_LABEL, interactive=False)

    status_html = gr.HTML(note(text.NO_RUN), elem_id="finetune-status")
    cards_html = gr.HTML(elem_id="finetune-cards", elem_classes="finetune-place")
    charts_html = gr.HTML(elem_id="finetune-charts", elem_classes="finetune-place")
    with gr.Accordion(common.SHOW_AS_TABLE, open=False, visible=False, elem_id="finetune-table") as table_fold:
        table_html = gr.HTML()
    samples_html = gr.HTML(elem_id="finetune-samples", elem_classes="finetune-place")
    lists = finetune_runs.build()
    gr.HTML(panel_title(text.ASK_TITLE, kind=common.MEASURED) + note(text.ASK_LEAD))
    ask_note = gr.HTML(note(text.ASK_WAIT_FOR_RUN), elem_classes="finetune-place")
    with gr.Row():
        # Columns, because fields alone in a row stay side by side on a narrow page.
        with gr.Column(scale=2, min_width=280):
            question = (first.training.sample_prompts or ("",))[0]
            prompt = gr.Textbox(question, label=text.ASK_PROMPT, lines=2, elem_id="finetune-prompt")
        with gr.Column(scale=1, min_width=280):
            length = first.training.sample_tokens
            tokens = gr.Slider(8, _MOST_ANSWER_TOKENS, length, step=8, label=text.ASK_TOKENS, elem_id="finetune-tokens")
    with gr.Row(elem_classes="finetune-buttons"):
        ask_button = gr.Button(text.ASK, variant="primary", interactive=False, elem_id="finetune-ask")
        ask_stop = gr.Button(text.ASK_STOP, visible=False, elem_id="finetune-ask-stop")
    answers_box = gr.HTML(elem_id="finetune-answers", elem_classes="finetune-place")
    timer = gr.Timer(_REFRESH_SECONDS, active=False)

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    form = [preset, upload, *fields]
    seen = [
        status_html, cards_html, charts_html, table_html, samples_html, ask_note,
        table_fold, start_button, stop_button, ask_button, lists.resume, timer, drawn,
    ]  # fmt: skip
    previewed = {"fn": preview, "inputs": form, "outputs": [plan_html, yaml_code, start_button], **quiet}
    preset.input(lambda name: field_values(preset_config(name)), preset, fields, **quiet).then(**previewed)
    gr.on(
        [component.change for component in (*fields, upload)] + [blocks.load], **previewed, trigger_mode="always_last"
    )
    start_button.click(start, form, [shown, started_html, drawn], **quiet).then(refresh, [shown, drawn], seen, **quiet)
    stop_button.click(stop, shown, started_html, **quiet).then(refresh, [shown, drawn], seen, **quiet)
    timer.tick(refresh, [shown, drawn], seen, concurrency_limit=None, **quiet)
    blocks.load(attach, [shown, prompt], [shown, prompt], **quiet).then(refresh, [shown, drawn], seen, **quiet)
    narrow, width_changed = viewport.watch(blocks, TAB_ID)
    shown_anew = {"fn": refresh, "inputs": [shown, drawn], "outputs": seen, **quiet}
    finetune_runs.wire(lists, shown, drawn, started_html, shown_anew, narrow, width_changed)
    asked = ask_button.click(ask, [shown, prompt, tokens], [answers_box, ask_button, ask_stop], **quiet)
    ask_stop.click(
        lambda: (gr.Button(interactive=True), gr.Button(visible=False)),
        outputs=[ask_button, ask_stop],
        cancels=asked,
        **quiet,
    )


def _settings(config: RunConfig) -> tuple[list, gr.File]:
    """The form's fields in the order of `FIELDS`, and the upload."""
    steps, batch_size, max_length, learning_rate, rank, data_type, budget = field_values(config)

    def number(value, label: str, info: str, name: str, whole: bool = True) -> gr.Number:
        return gr.Number(
            value, label=label, info=info, precision=0 if whole else None, elem_id=f"finetune-{name}", min_width=220
        )

    with gr.Row():
        fields = [
            number(steps, text.STEPS, text.STEPS_INFO, "steps"),
            number(batch_size, text.BATCH_SIZE, text.BATCH_SIZE_INFO, "batch-size"),
            number(max_length, text.MAX_LENGTH, text.MAX_LENGTH_INFO, "max-length"),
            number(learning_rate, text.LEARNING_RATE, text.LEARNING_RATE_INFO, "learning-rate", whole=False),
        ]
    with gr.Row():
        fields += [
            number(rank, text.RANK, text.RANK_INFO, "rank"),
            gr.Dropdown(
                [(words, name) for name, words in text.DATA_TYPES.items()],
                value=data_type,
                label=text.DATA_TYPE,
                info=text.DATA_TYPE_INFO,
                elem_id="finetune-data-type",
                min_width=220,
            ),
            number(budget, text.BUDGET, text.BUDGET_INFO, "budget", whole=False),
        ]
    gr.HTML(note(text.UPLOAD_INFO))
    return fields, gr.File(label=text.UPLOAD, elem_id="finetune-upload", height=120)
