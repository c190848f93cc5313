"""What questions are answered from: the line that says it, and the ways to the paper's PDF when it is not here."""

import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from app.charts import markup
from app.tabs import ask_view as view
from app.text import ask as text
from qlora.errors import InputError

POLL_SECONDS = 0.3

PaperState = tuple[str, dict, dict]
"""The line, the button that downloads, the button that takes a file."""


def build() -> list:
    """The row with the line and its two buttons, in the order of :data:`PaperState`."""
    with gr.Row(elem_id="ask-status-row"):
        status = gr.HTML(view.status(text.STATUS_CHECKING), elem_id="ask-status", scale=4, min_width=260)
        download = gr.Button(text.DOWNLOAD, visible=False, size="sm", scale=0, min_width=140, elem_id="ask-download")
        upload = gr.UploadButton(
            text.UPLOAD, visible=False, file_types=[".pdf"], size="sm", scale=0, min_width=160, elem_id="ask-upload"
        )
    return [status, download, upload]


def wire(blocks: gr.Blocks, row: list, question: gr.Textbox) -> None:
    """What the row's buttons, the page's start and a visit to the question box do."""
    hidden = {"show_progress": "hidden", "api_visibility": "private"}
    _, download, upload = row
    download.click(get_from_arxiv, None, row, concurrency_limit=4, **hidden)
    upload.upload(add_copy, upload, row, **hidden)
    question.focus(prepare, None, row, concurrency_limit=8, **hidden)
    blocks.load(show_status, None, row, queue=False, **hidden)


def show_status() -> PaperState:
    """Which sources answers come from, and what is under way; reads no model and no index."""
    from app.assistant import library

    paper = library.papers()[0]
    found = library.find_pdf(paper)
    return _paper_state(paper, found, "", None)


def _paper_state(paper, found, detail: str, share: float | None) -> PaperState:
    sentence = text.STATUS_PDF if found.path else text.STATUS_NOTES.format(licence=paper.licence)
    html = view.status(sentence, detail, share)
    if found.problem:
        html += markup.problem(found.problem)
    missing = gr.update(visible=found.path is None)
    return html, missing, missing


def prepare() -> Iterator[PaperState]:
    """Open the index in the background and say how far it is."""
    from app.tabs.ask_session import session

    work = session().opening()
    while not work.done:
        yield current_state()
        time.sleep(POLL_SECONDS)
    yield current_state()


def current_state() -> PaperState:
    """What :func:`show_status` says, with how far the index is."""
    from app.tabs.ask_session import session

    current = session()
    work = current.state
    assistant = current.assistant
    detail, share = "", None
    if work is not None and work.problem:
        html, *buttons = _paper_state(assistant.paper, assistant.find_pdf(), "", None)
        return html + markup.problem(work.problem), *buttons
    if work is not None and not work.done:
        share = work.share
        detail = text.STATUS_READING.format(percent=round(100 * share)) if share else text.STATUS_PREPARING
    elif assistant.is_open:
        count = len(assistant.open().search.candidates)
        detail = text.STATUS_READY.format(count=count)
    return _paper_state(assistant.paper, assistant.find_pdf(), detail, share)


def get_from_arxiv() -> Iterator[PaperState]:
    """Download the PDF, because the visitor asked for it, then read it."""
    from app.tabs.ask_session import session

    current = session()
    work = current.download()
    while not work.done:
        sentence = text.STATUS_DOWNLOADING.format(percent=round(100 * work.share))
        yield view.status(sentence, "", work.share), gr.update(interactive=False), gr.update(interactive=False)
        time.sleep(POLL_SECONDS)
    ready = gr.update(interactive=True)
    if work.problem:
        html, *_ = current_state()
        yield html + markup.problem(work.problem), ready, ready
        return
    yield from prepare()


def add_copy(path: str) -> Iterator[PaperState]:
    """Check and keep the visitor's own copy of the PDF, then read it."""
    from app.tabs.ask_session import session

    try:
        session().add(Path(path))
    except InputError as error:
        html, *buttons = current_state()
        yield html + markup.problem(str(error)), *buttons
        return
    yield from prepare()
