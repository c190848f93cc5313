"""The Start tab: the story in one picture, filled with the numbers of a recorded run, and first things to try."""

import json
from collections.abc import Sequence
from html import escape

import gradio as gr

from app import recordings
from app.charts import markup
from app.charts.story import diagram
from app.recordings.plans import RANDOM_MODEL_NAME
from app.tabs.paging_replay import most_away_by_step, replay
from app.text import common
from app.text import start as text
from qlora import events
from qlora.errors import InputError

TAB_ID = "start"
TITLE = text.TITLE
_MIB = 2**20
_SHORT_DTYPES = {"bfloat16": "bf16", "float32": "fp32"}


def build(blocks: gr.Blocks) -> None:
    """Everything at once: the picture is text and the recording a small file, so nothing has to be waited for."""
    gr.HTML(f"<h2>{text.HEADING}</h2><p class='lead'>{text.LEAD}</p>")
    gr.HTML(panel(), elem_id="start-story", apply_default_css=False)
    gr.HTML(first_steps(), apply_default_css=False)


def panel() -> str:
    """The picture with a recorded run's numbers; without them, and the reason, where the recording cannot be read."""
    try:
        recording = _recording()
        started, run = frames(recording.log)
    except InputError as problem:
        return (
            markup.panel_title(text.DIAGRAM_TITLE, kind=common.RECORDED, ask=text.QUESTION)
            + markup.note(text.NO_RECORDING.format(reason=problem))
            + diagram({}, 0)
        )
    data = {"frames": run}
    slider = f'<input type="range" min="0" max="{len(run) - 1}" value="0" step="1" aria-label="{escape(text.SCRUB)}">'
    name = started.config["model"]["name"]
    caption = text.CAPTION_RUN.format(
        model=text.RANDOM_MODEL if name == RANDOM_MODEL_NAME else name,
        device=started.device,
        date=recording.header.date,
    )
    return (
        markup.panel_title(text.DIAGRAM_TITLE, kind=common.RECORDED, ask=text.QUESTION)
        + markup.conclusion(conclusion(started, recording.log))
        + f'<div data-run="{escape(json.dumps(data))}">{diagram(run[0]["words"], started.pages)}'
        + f'<div class="story-controls"><button type="button" data-story-play data-play="{text.PLAY}" '
        + f'data-pause="{text.PAUSE}">{text.PLAY}</button>{slider}<span class="story-step"></span></div></div>'
        + markup.note(f"{caption} {text.EMULATED if started.emulated_device else ''}")
    )


def _recording() -> recordings.Recording:
    """A run that pages moved in: on a GPU where there is such a recording."""
    names = [name for name in recordings.names() if name.endswith("-budget")]
    found = [recordings.read(name) for name in names]
    if not found:
        raise InputError(text.NO_RUN_RECORDED)
    return min(found, key=lambda recording: recording.header.emulated_device)


def frames(log: Sequence[events.Event]) -> tuple[events.RunStarted, list[dict]]:
    """What the picture shows at each step of a run.

    Args:
        log: the run's events in order.

    Returns:
        the start, and for each step the words for the boxes, the pages that were away at the moment when most were, and
        the words beside the slider.

    Raises:
        InputError: the log has no start, no page or no step.
    """
    started = next((event for event in log if isinstance(event, events.RunStarted)), None)
    steps = [event for event in log if isinstance(event, events.StepFinished)]
    run = replay(log)
    if started is None or not steps or run is None:
        raise InputError(text.NO_STEPS_RECORDED)
    away = most_away_by_step(run)
    return started, [
        {
            "words": _words(started, step),
            "away": sorted(pages),
            "caption": text.CAPTION_STEP.format(step=step.step, steps=started.steps),
        }
        for step, pages in zip(steps[-len(away) :], away, strict=True)  # a replay keeps the end of a long run
    ]


def _words(started: events.RunStarted, step: events.StepFinished) -> dict[str, str]:
    config = started.config
    compute = config["training"]["compute_dtype"]
    if compute == "auto":  # as qlora.config.TrainingConfig resolves it
        compute = "float32" if started.emulated_device else "bfloat16"
    return {
        "tokens": f"{step.tokens:,}",
        "loss": f"{step.loss:.2f}",
        "compute": _SHORT_DTYPES[compute],
        "r": str(config["adapter"]["r"]),
        "pages": str(started.pages),
        "pages_on_device": str(step.pages_on_device),
        **{name: f"{step.memory_bytes.get(name, 0) / _MIB:,.1f}" for name in ("base_model", "adapters", "gradients")},
    }


def conclusion(started: events.RunStarted, log: Sequence[events.Event]) -> str:
    """What the recorded run shows, in one sentence."""
    fullest = max(
        sum(size for name, size in event.memory_bytes.items() if name != "peak")
        for event in log
        if isinstance(event, events.StepFinished)
    )
    return text.CONCLUSION.format(
        share=100 * started.trainable_parameters / started.parameters,
        trainable=started.trainable_parameters,
        parameters=started.parameters,
        base=started.memory_bytes["base_model"] / _MIB,
        half=2 * started.parameters / _MIB,
        total=fullest / _MIB,
    )


def first_steps() -> str:
    """Five things to try, each a button that opens its place."""
    items = "".join(
        f'<li><button type="button" data-open-tab="{tab}" data-open-at="{place}"><strong>{escape(title)}</strong>'
        f"<span>{escape(words)}</span></button></li>"
        for title, words, tab, place in text.FIRST
    )
    return f'<h3 class="panel-title">{text.FIRST_TITLE}</h3><ul class="story-first">{items}</ul>'
