"""The experiment in the Ask tab: search with the embedding model itself in 4 bits, as recorded and as it runs here."""

import functools
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import gradio as gr

from app.charts import markup
from app.charts.frame import Data
from app.charts.svg import chart
from app.tabs import viewport
from app.tabs.ask_library_view import progress, said
from app.text import ask_experiment as text
from app.text import common
from qlora.errors import InputError

if TYPE_CHECKING:
    from app.assistant.embedding_experiment import Experiment
    from app.tabs.ask_shelf import Job

TAB_ID = "ask-experiment"
TITLE = text.TITLE
_JOB = "embedding-experiment"
_POLL_SECONDS = 0.3
_MIB = 2**20
_stop = threading.Event()
"""Ends the one run that the server has at a time."""


def build(blocks: gr.Blocks, tab: gr.Tab) -> None:
    """Lay the part out inside ``tab``; the recording is read when it is first opened, the model when it is run."""
    gr.HTML(f'<h3 class="panel-title">{text.HEADING}</h3><p class="lead">{text.LEAD}</p>')
    with gr.Row(elem_id="experiment-row"):
        start = gr.Button(text.RUN, variant="primary", scale=0, min_width=160, elem_id="experiment-run")
        stop = gr.Button(text.STOP, variant="stop", visible=False, scale=0, min_width=120, elem_id="experiment-stop")
    about = gr.HTML(elem_id="experiment-about", elem_classes="ask-slot")
    work = gr.HTML(elem_id="experiment-work", elem_classes="ask-slot")
    measured = gr.HTML(elem_id="experiment-measured", elem_classes="ask-slot")
    recorded = gr.HTML(markup.note(text.WAITING), elem_id="experiment-recorded", elem_classes="ask-place")
    narrow, crossed = viewport.watch(blocks, "experiment")
    hidden = {"show_progress": "hidden", "api_visibility": "private"}
    following = [work, measured, start, stop]
    tab.select(show, narrow, [recorded, about, measured], js=viewport.FILL_IN, queue=False, **hidden).then(
        follow, narrow, following, js=viewport.FILL_IN, concurrency_limit=8, **hidden
    )
    start.click(begin, narrow, following, js=viewport.FILL_IN, concurrency_limit=8, **hidden)
    stop.click(end, None, stop, queue=False, **hidden)
    crossed.click(show, narrow, [recorded, about, measured], js=viewport.FILL_IN, queue=False, **hidden)


def show(narrow: bool) -> tuple[str, str, str]:
    """The recorded run, what a run takes, and the last run here."""
    from app.assistant.embedding_experiment import recorded
    from app.tabs.ask_shelf import shelf

    job = shelf().find(_JOB)
    own = panel(job.result, bool(narrow), common.MEASURED) if job and job.done and job.result else ""
    try:
        kept = recorded()
    except InputError as error:
        return markup.problem(str(error)), "", own
    return panel(kept, bool(narrow), common.RECORDED), markup.note(text.RUN_NOTE), own


def begin(narrow: bool) -> Iterator[tuple]:
    """Run the experiment here, unless it runs already, and follow it."""
    from app.tabs.ask_shelf import shelf

    job = shelf().find(_JOB)
    if job is None or job.done:
        _stop.clear()
    shelf().start(_JOB, text.PREPARING, _task, again=True)
    yield from follow(narrow)


def follow(narrow: bool) -> Iterator[tuple]:
    """How far the run is, also one that another visitor has begun, then its result."""
    from app.tabs.ask_shelf import shelf

    job = shelf().find(_JOB)
    if job is None:
        yield (gr.skip(),) * 4
        return
    was_under_way = not job.done
    while not job.done:
        stop = gr.update(visible=True, value=text.STOPPING if _stop.is_set() else text.STOP)
        yield progress(job.label, job.share), gr.skip(), gr.update(visible=False), stop
        time.sleep(_POLL_SECONDS)
    ready = (gr.update(visible=True, value=text.RUN_AGAIN), gr.update(visible=False))
    if job.problem:
        yield markup.problem(job.problem), "", *ready
    elif job.result is None:
        yield (said(text.STOPPED) if was_under_way else ""), "", *ready
    else:
        yield "", panel(job.result, bool(narrow), common.MEASURED), *ready


def end() -> dict:
    """Stop the run at its next batch."""
    _stop.set()
    return gr.update(value=text.STOPPING)


def _task(job: "Job") -> "Experiment | None":
    from app.assistant.embedding_experiment import Experiment, run
    from app.assistant.evaluation import GOLD_QUESTIONS
    from app.assistant.known_questions import read_questions
    from app.tabs.ask_session import session

    questions = read_questions(GOLD_QUESTIONS)
    for event in run(session().assistant, questions, stop=_stop):
        if isinstance(event, Experiment):
            return event
        pattern = text.SEARCHING if event.searching else text.EMBEDDING
        count = sum(question.get("answerable", True) for question in questions)
        job.label = pattern.format(name=text.NAMES.get(event.data_type, event.data_type), count=count)
        job.share = event.share
    return None


def panel(found: "Experiment", narrow: bool, origin: str) -> str:
    """The conclusion, the chart with its numbers, and the conditions."""
    from app.charts.retrieval import Dots, retrieval_description, retrieval_figure, retrieval_parts

    dots = [Dots(row.data_type, {group: vars(getattr(row, group)) for group in text.GROUPS}) for row in found.rows]
    title = text.RECORDED_TITLE if origin == common.RECORDED else text.MEASURED_TITLE
    threads = text.THREADS[found.threads == 1].format(count=found.threads)
    conditions = text.RECORDED_ON if origin == common.RECORDED else text.MEASURED_ON
    drawing = chart(
        functools.partial(retrieval_figure, rows=dots),
        narrow=narrow,
        title=text.CHART_TITLE,
        description=retrieval_description(dots),
        data=_data(found, origin),
        parts=retrieval_parts(dots),
    )
    return "".join(
        [
            markup.panel_title(title, kind=origin),
            markup.conclusion(conclusion(found)),
            drawing,
            markup.note(_note(found)),
            "" if found.has_paper else markup.note(text.NOTES_ONLY),
            markup.note(
                conditions.format(
                    date=found.date,
                    device=found.device,
                    threads=threads,
                    torch=found.versions["torch"],
                    command=found.command,
                )
            ),
        ]
    )


def conclusion(found: "Experiment") -> str:
    """What the figures say, in a sentence."""
    full, *others = found.rows
    lost = {}
    for group in text.GROUPS:
        before, after = (
            [round(found.questions * getattr(getattr(row, group), text.FIRST_FIVE)) for row in rows]
            for rows in ([full], others)
        )
        most = max(before[0] - min(after), 0)
        lost[group] = (text.LOST if most else text.LOST_NONE).format(lost=most, count=found.questions)
    share = 100 * max(row.linear_bytes for row in others) / full.linear_bytes
    return text.CONCLUSION.format(share=share, **lost)


def _note(found: "Experiment") -> str:
    full, *others = found.rows
    return text.NOTE.format(
        points=100 / found.questions,
        full=full.model_bytes / _MIB,
        small=max(row.model_bytes for row in others) / _MIB,
        block_size=found.block_size,
        double=text.WITH_DOUBLE if found.double_quantization else "",
    )


def _data(found: "Experiment", origin: str) -> Data:
    rows = [
        (
            text.NAMES.get(row.data_type, row.data_type),
            row.model_bytes / _MIB,
            row.linear_bytes / _MIB,
            row.mean_cosine,
            row.least_cosine,
            *(getattr(getattr(row, group), metric) for group in text.GROUPS for metric in text.METRICS),
        )
        for row in found.rows
    ]
    caption = text.CAPTION.format(
        questions=found.questions, passages=found.passages, sentences=found.sentences, origin=origin
    )
    return Data(text.COLUMNS, rows, text.FORMATS, caption)
