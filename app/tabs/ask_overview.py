"""The overview in the Ask tab: what a paper says at a glance, with votes, its tables and figures, first questions."""

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.charts import markup
from app.tabs import ask_overview_view as view
from app.tabs import ask_scripts as scripts
from app.tabs import ask_writers as writers
from app.tabs.ask_library_view import progress
from app.tabs.ask_visitor import feedback
from app.text import ask as ask_text
from app.text import ask_overview as text
from qlora.errors import InputError

if TYPE_CHECKING:
    from app.assistant.feedback import Try
    from app.assistant.overview import Overview
    from app.tabs.ask_shelf import Job

TAB_ID = "ask-overview"
TITLE = text.TITLE
_POLL_SECONDS = 0.2
_KEEP = gr.skip()
# gradio finds the handlers that want an event's data by their annotations, which must therefore exist at run time.


def build(blocks: gr.Blocks, tab: gr.Tab, visitor: gr.Textbox) -> tuple[gr.HTML, gr.State]:
    """Lay the part out inside ``tab``; the paper is opened when the tab is.

    Returns:
        The suggested questions, a click on one being a ``select`` whose data has the ``question``; and the overview
        that is shown.
    """
    from app.assistant.paper import manifest_papers

    first = manifest_papers()[0]
    shown = gr.State(None)
    gr.HTML(f'<p class="lead">{text.LEAD}</p>')
    paper = gr.Dropdown(
        [(first.title, first.id)], value=first.id, label=text.PAPER, filterable=False, elem_id="overview-paper"
    )
    work = gr.HTML(elem_id="overview-work", elem_classes="ask-place")
    with gr.Row(elem_id="overview-columns"):
        with gr.Column(scale=6, min_width=320):
            points = _html("overview-key-points", scripts.CONVERSATION)
            with gr.Column(visible=False, elem_id="overview-offer") as offer:
                offered = gr.HTML(elem_id="overview-offered")
                choices = [(label, name) for name, label in ask_text.WRITERS.items() if name != writers.QUOTES]
                who = gr.Radio(choices, value=writers.LOCAL, label=text.OFFER_WRITER, elem_id="overview-writer")
                again = gr.Button(text.TRY, variant="primary", elem_id="overview-try")
            questions = _html("overview-questions", scripts.EARLIER)
        with gr.Column(scale=5, min_width=320):
            page = _html("overview-page", scripts.PAGE, markup.note(text.EMPTY_PAGE))
    gallery = _html("overview-gallery", scripts.CONVERSATION)

    hidden = {"show_progress": "hidden", "api_visibility": "private"}
    outputs = [shown, work, points, offer, offered, questions, gallery]
    # One listener for both, so that two papers never fill the page at the same time; the last choice wins.
    gr.on(
        [tab.select, paper.input],
        show,
        [paper, visitor],
        [paper, *outputs],
        concurrency_limit=4,
        trigger_mode="always_last",
        **hidden,
    )
    paper.input(lambda: markup.note(text.EMPTY_PAGE), None, page, queue=False, **hidden)
    for source in (points, gallery):
        source.select(show_source, shown, page, queue=False, **hidden)
    points.like(vote, [shown, visitor], [points, offer, offered], queue=False, **hidden)
    again.click(try_again, [shown, who, visitor], outputs, concurrency_limit=2, **hidden)
    return questions, shown


def _html(name: str, script: str, value: str = "") -> gr.HTML:
    return gr.HTML(value, elem_id=name, elem_classes="ask-place", js_on_load=script, apply_default_css=False)


def show(chosen: str, visitor: str) -> Iterator[tuple]:
    """The papers as they are now, and the chosen one's overview, made first where there is none; pictures of tables
    and figures follow."""
    from app.assistant import library
    from app.tabs.ask_shelf import shelf

    try:
        papers = {paper.id: paper.title for paper in library.papers()}
        paper_id = chosen if chosen in papers else next(iter(papers))
        choices = [(title, known) for known, title in papers.items()]
        yield gr.update(choices=choices, value=paper_id), *[_KEEP] * 7
        title = papers[paper_id]
        job = shelf().start(f"overview:{paper_id}", text.OPENING.format(title=title), _make(paper_id), again=True)
        for update in _followed(job):
            yield _KEEP, *update
        if job.problem:
            raise InputError(job.problem)
        for update in _shown(job.result, visitor):
            yield _KEEP, *update
    except InputError as error:
        yield _KEEP, None, markup.problem(str(error)), "", gr.update(visible=False), "", "", ""


def _followed(job: "Job") -> Iterator[tuple]:
    """What is said while the overview is made; nothing where that takes no time."""
    time.sleep(_POLL_SECONDS)
    while not job.done:
        yield _KEEP, progress(job.label, job.share), *[_KEEP] * 5
        time.sleep(_POLL_SECONDS)


def _make(paper_id: str):
    def task(job: "Job") -> "Overview":
        from app.assistant.overview import kept_overview, overview_of
        from app.tabs.ask_shelf import shelf

        assistant = shelf().assistant(paper_id)
        if not assistant.is_open:
            job.label = text.READING.format(title=assistant.paper.title)
        index = assistant.open(job.progress).search.index
        job.label, job.share = text.MAKING.format(title=assistant.paper.title), 0.0
        current = _current_try(paper_id)
        kept = kept_overview(index, backend=current.backend, attempt=current.attempt)
        # Where the words of another writer went with an index, the paper's own stand in their place.
        return kept or overview_of(index, assistant.ask, attempt=current.attempt)

    return task


def _current_try(paper_id: str) -> "Try":
    """The current try; the first one where votes cannot be read."""
    from app.assistant.backends import EXTRACTIVE
    from app.assistant.feedback import Try

    try:
        return feedback().current_try(paper_id)
    except InputError:
        return Try(paper_id, 1, EXTRACTIVE, 0, offered=False)


def _shown(overview: "Overview", visitor: str) -> Iterator[tuple]:
    from app.tabs.ask_shelf import shelf

    points, offer, offered = _points(overview, visitor)
    waiting = progress(text.GALLERY_LOADING, 0.0) if overview.exhibits else ""
    questions = view.questions(overview.questions)
    yield overview, "", points, offer, offered, questions, view.gallery(overview.exhibits, (), waiting)
    if not any(exhibit.box for exhibit in overview.exhibits):
        yield *[_KEEP] * 6, view.gallery(overview.exhibits)
        return
    name = f"gallery:{overview.paper}"
    job = shelf().start(name, text.GALLERY_LOADING, lambda job: _pictures(overview, job), again=True)
    while not job.done:
        time.sleep(_POLL_SECONDS)
    pictures = job.result or ()
    problem = markup.problem(job.problem) if job.problem else ""
    yield *[_KEEP] * 6, view.gallery(overview.exhibits, pictures, problem)


def _pictures(overview: "Overview", job: "Job") -> list[bytes | None]:
    from app.assistant.pictures import part_picture
    from app.tabs.ask_shelf import file_of, shelf

    assistant = shelf().assistant(overview.paper)
    sizes = assistant.open().search.index.page_sizes
    pictures = []
    for number, exhibit in enumerate(overview.exhibits, start=1):
        size = sizes.get(exhibit.pdf_page)
        known = exhibit.box and size
        pictures.append(part_picture(file_of(assistant), exhibit.pdf_page, exhibit.box, size[0]) if known else None)
        job.progress(number / len(overview.exhibits))
    return pictures


def _points(overview: "Overview", visitor: str, failed: str = "") -> tuple[str, dict, str]:
    """The key points with their votes, and the offer of a new try."""
    from app.assistant.feedback import RETRY_SCORE

    problem = text.VOTE_FAILED.format(reason=failed) if failed else ""
    scores = {}
    try:
        scores = feedback().scores([point.id for point in overview.points], visitor)
    except InputError as error:
        problem = str(error)
    current = _current_try(overview.paper)
    html = view.points(overview, scores, RETRY_SCORE, feedback().problem or problem)
    offered = current.offered and current.attempt == overview.attempt
    sentence = markup.note(text.OFFER.format(score=view.signed(current.score)))
    return html, gr.update(visible=offered), sentence


def vote(overview: Any, visitor: str, event: gr.EventData) -> tuple[str, dict, str]:
    """Count the visitor's vote on a key point; the same vote again takes it back."""
    from app.assistant.feedback import KEY_POINT, Item

    if overview is None:
        return markup.problem(text.GONE), gr.update(visible=False), ""
    item, value, failed = str(event.entry), int(event.value), ""
    try:
        if item not in {point.id for point in overview.points}:
            raise InputError(text.GONE)
        before = feedback().scores([item], visitor)[item].own
        voted = Item(KEY_POINT, overview.paper, item, overview.attempt)
        feedback().vote(visitor, voted, 0 if before == value else value)
    except InputError as error:
        failed = str(error)
    return _points(overview, visitor, failed)


def show_source(overview: Any, event: gr.EventData) -> str:
    """The page of the key point, table or figure that was clicked, with its place marked."""
    from app.assistant.pictures import page_picture
    from app.tabs.ask_page_view import page
    from app.tabs.ask_shelf import file_of, shelf

    kind, _, number = str(event.citation).partition(".")
    try:
        if overview is None or not (kind in ("0", "1") and number.isdecimal()):
            raise InputError(text.GONE)
        items = (overview.points, overview.exhibits)[int(kind)]
        if not 1 <= int(number) <= len(items):
            raise InputError(text.GONE)
        item = items[int(number) - 1]
        citation = view.cited(item, int(number), overview.paper) if int(kind) == view.EXHIBITS else item.citation
        assistant = shelf().assistant(overview.paper)
        index = assistant.open().search.index
        size = index.page_sizes.get(citation.pdf_page)
        picture = page_picture(file_of(assistant), citation.pdf_page) if size and citation.source == "paper" else None
        return page(citation, assistant.paper, picture, size or (0, 0))
    except InputError as error:
        return markup.problem(str(error))


def try_again(overview: "Overview | None", who: str, visitor: str) -> Iterator[tuple]:
    """Another writer's words for the key points, each held against the paper."""
    from app.tabs.ask_shelf import shelf

    if overview is None:
        yield _beside_offer(markup.problem(text.GONE))
        return
    sentence = _points(overview, visitor)[2]
    try:
        backend = writers.backend(who, "", "")
        if backend is None:
            raise InputError(text.GONE)
        label = text.TRYING.format(backend=ask_text.WRITERS[who])
        name = f"try-{overview.attempt + 1}:{overview.paper}"
        job = shelf().start(name, label, lambda job: _rewritten(overview, backend, job), again=True)
        while not job.done:
            yield _beside_offer(progress(job.label, job.share))
            time.sleep(_POLL_SECONDS)
        if problem := job.problem or job.result.problem:
            raise InputError(problem)
        yield from _shown(job.result, visitor)
    except InputError as error:
        yield _beside_offer(sentence + markup.problem(str(error)))


def _beside_offer(html: str) -> tuple:
    return *[_KEEP] * 4, html, _KEEP, _KEEP


def _rewritten(overview: "Overview", backend, job: "Job") -> "Overview":
    from app.assistant.overview import check_with, overview_of
    from app.assistant.rewriting import rewrite_with
    from app.tabs.ask_shelf import shelf

    assistant = shelf().assistant(overview.paper)
    index = assistant.open(job.progress).search.index
    attempt = overview.attempt + 1
    made = overview_of(
        index,
        assistant.ask,
        backend=backend.name,
        attempt=attempt,
        rewrite=rewrite_with(backend, index, threading.Event()),
        check=check_with(assistant.checker),
    )
    if not made.problem:
        feedback().record_try(overview.paper, attempt, backend.name)
    return made


def put(overview: Any, event: gr.EventData) -> tuple[dict, str, list[str]]:
    """The suggested question that was clicked, for the Questions part and its box, and the paper to ask it of."""
    from app.tabs.ask_questions import TAB_ID as QUESTIONS

    return gr.update(selected=QUESTIONS), str(event.question), [overview.paper] if overview else []
