"""Questions in the Ask tab: a question, an answer in the paper's own sentences, and the page where they stand."""

import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from app.charts import markup
from app.tabs import ask_view as view
from app.text import ask as text
from qlora.errors import InputError

TAB_ID = "ask-questions"
TITLE = text.QUESTIONS
_KEPT_ANSWERS = 20
_POLL_SECONDS = 0.3

# A click on a source reaches Python as the event's data; a page that has been drawn is scrolled to its first mark.
_SEND_CITATION = """
element.addEventListener('click', (event) => {
  const source = event.target.closest('[data-citation]');
  if (source) trigger('select', {citation: source.dataset.citation});
});
"""
_SHOW_MARK = """
watch('value', () => requestAnimationFrame(() => {
  const sheet = element.querySelector('.ask-sheet');
  const mark = element.querySelector('.ask-mark');
  if (sheet && mark) {
    sheet.scrollTop = Math.max(0, mark.offsetTop - sheet.clientHeight / 3);
    const middle = (sheet.scrollWidth - sheet.clientWidth) / 2;
    sheet.scrollLeft = Math.min(middle, Math.max(0, mark.offsetLeft - 24));
  }
  if (element.querySelector('.ask-page') && window.innerWidth <= 900)
    element.scrollIntoView({behavior: 'smooth', block: 'start'});
}));
"""


def build(blocks: gr.Blocks) -> None:
    """Question and answers on one side, the chosen page on the other; nothing is read before it is needed."""
    answers = gr.State([])
    with gr.Row(elem_id="ask-status-row"):
        status = gr.HTML(view.status(text.STATUS_CHECKING), elem_id="ask-status", scale=4, min_width=260)
        download = gr.Button(text.DOWNLOAD, visible=False, size="sm", scale=0, min_width=140, elem_id="ask-download")
        upload = gr.UploadButton(
            text.UPLOAD, visible=False, file_types=[".pdf"], size="sm", scale=0, min_width=160, elem_id="ask-upload"
        )
    with gr.Row(elem_id="ask-columns"):
        with gr.Column(scale=6, min_width=320):
            with gr.Row(elem_id="ask-form"):
                question = gr.Textbox(
                    label=text.QUESTION,
                    placeholder=text.PLACEHOLDER,
                    scale=5,
                    min_width=220,
                    max_lines=4,
                    elem_id="ask-question",
                )
                ask_button = gr.Button(text.ASK, variant="primary", scale=1, min_width=88, elem_id="ask-button")
            conversation = gr.HTML(elem_id="ask-answers", js_on_load=_SEND_CITATION, apply_default_css=False)
            gr.HTML(f'<p class="ask-sources-title">{text.EXAMPLES}</p>', elem_id="ask-examples-title")
            with gr.Row(elem_id="ask-examples"):
                examples = [gr.Button(example, size="sm", min_width=120) for example in text.EXAMPLE_QUESTIONS]
        with gr.Column(scale=5, min_width=320):
            page = gr.HTML(
                markup.note(text.EMPTY_PAGE), elem_id="ask-page", js_on_load=_SHOW_MARK, apply_default_css=False
            )

    hidden = {"show_progress": "hidden", "api_visibility": "private"}
    paper_state = [status, download, upload]
    outputs = [question, answers, conversation, page, *paper_state]
    for trigger in (question.submit, ask_button.click):
        trigger(answer, [question, answers], outputs, concurrency_limit=4, **hidden)
    for button in examples:
        button.click(answer, [button, answers], outputs, concurrency_limit=4, **hidden)
    conversation.select(show_source, answers, [conversation, page], queue=False, **hidden)
    download.click(get_from_arxiv, None, paper_state, concurrency_limit=4, **hidden)
    upload.upload(add_copy, upload, paper_state, **hidden)
    question.focus(prepare, None, paper_state, concurrency_limit=8, **hidden)
    blocks.load(show_status, None, paper_state, queue=False, **hidden)


def show_status() -> tuple[str, dict, dict]:
    """Which sources answers come from, and what is under way; reads no model and no index."""
    from app.assistant import library

    paper = library.papers()[0]
    found = library.find_pdf(paper)
    return _paper_state(paper, found, "", None)


def _paper_state(paper, found, detail: str, share: float | None) -> tuple[str, dict, dict]:
    sentence = text.STATUS_PDF if found.path else text.STATUS_NOTES.format(licence=paper.licence)
    html = view.status(sentence, detail, share)
    if found.problem:
        html += markup.problem(found.problem)
    missing = gr.update(visible=found.path is None)
    return html, missing, missing


def prepare() -> Iterator[tuple[str, dict, dict]]:
    """Open the index in the background and say how far it is."""
    from app.tabs.ask_session import session

    work = session().opening()
    while not work.done:
        yield _current_state()
        time.sleep(_POLL_SECONDS)
    yield _current_state()


def _current_state() -> tuple[str, dict, dict]:
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


def answer(question: str, answers: list) -> Iterator[tuple]:
    """Answer a question: at once when the index is open, else after showing how far it is."""
    from app.assistant.question import parse
    from app.tabs.ask_session import session

    keep = gr.skip()
    try:
        parsed = parse(question)
    except InputError as error:
        yield keep, keep, view.conversation(answers, problem=str(error)), keep, keep, keep, keep
        return
    current = session()
    waiting = text.LOOKING if current.assistant.find_pdf().path else text.LOOKING_NOTES
    pending = view.conversation(answers, pending=parsed.text, waiting=waiting)
    yield "", keep, pending, keep, *_current_state()
    work = current.opening()
    while not work.done:
        time.sleep(_POLL_SECONDS)
        yield keep, keep, keep, keep, *_current_state()
    try:
        if work.problem:
            raise InputError(work.problem)
        answers = [*answers, current.assistant.ask(parsed.text)][-_KEPT_ANSWERS:]
    except InputError as error:
        yield question, keep, view.conversation(answers, problem=str(error)), keep, *_current_state()
        return
    chosen = f"{len(answers) - 1}.1" if answers[-1].citations and not answers[-1].declined else ""
    shown = _page_of(answers, chosen) if chosen else markup.note(text.EMPTY_PAGE)
    yield keep, answers, view.conversation(answers, chosen), shown, *_current_state()


def show_source(answers: list, event: gr.EventData) -> tuple[str, str]:
    """Show the source that was clicked, and mark it as the chosen one."""
    chosen = str(event.citation)
    try:
        return view.conversation(answers, chosen), _page_of(answers, chosen)
    except InputError as error:
        return view.conversation(answers), markup.problem(str(error))


def _page_of(answers: list, chosen: str) -> str:
    from app.assistant.pictures import page_picture
    from app.tabs.ask_session import session

    entry, _, number = chosen.partition(".")
    if not (entry.isdigit() and number.isdigit() and int(entry) < len(answers)):
        raise InputError("This source belongs to an earlier visit. Ask the question again.")
    citations = answers[int(entry)].citations
    if not 1 <= int(number) <= len(citations):
        raise InputError("There is no such source. Ask the question again.")
    citation = citations[int(number) - 1]
    assistant = session().assistant
    if citation.source == "notes":
        return view.page(citation, assistant.paper, None, (0, 0))
    pdf = assistant.pdf or assistant.find_pdf().path
    if pdf is None:
        raise InputError("The paper's PDF is no longer there. Get it again to see the page.")
    return view.page(
        citation, assistant.paper, page_picture(pdf, citation.pdf_page), assistant.page_size(citation.pdf_page)
    )


def get_from_arxiv() -> Iterator[tuple[str, dict, dict]]:
    """Download the PDF, because the visitor asked for it, then read it."""
    from app.tabs.ask_session import session

    current = session()
    work = current.download()
    while not work.done:
        sentence = text.STATUS_DOWNLOADING.format(percent=round(100 * work.share))
        yield view.status(sentence, "", work.share), gr.update(interactive=False), gr.update(interactive=False)
        time.sleep(_POLL_SECONDS)
    ready = gr.update(interactive=True)
    if work.problem:
        html, *_ = _current_state()
        yield html + markup.problem(work.problem), ready, ready
        return
    yield from prepare()


def add_copy(path: str) -> Iterator[tuple[str, dict, dict]]:
    """Check and keep the visitor's own copy of the PDF, then read it."""
    from app.tabs.ask_session import session

    try:
        session().add(Path(path))
    except InputError as error:
        html, *buttons = _current_state()
        yield html + markup.problem(str(error)), *buttons
        return
    yield from prepare()
