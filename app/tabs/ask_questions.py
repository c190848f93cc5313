"""Questions in the Ask tab: a question, an answer as it is written, and the page where each of its sources stands."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from app.charts import markup
from app.tabs import ask_paper as paper
from app.tabs import ask_scripts as scripts
from app.tabs import ask_view as view
from app.tabs import ask_visitor as visitors
from app.tabs import ask_writers as writers
from app.tabs.ask_turn import TURNS, Turn
from app.text import ask as text
from qlora.errors import InputError

if TYPE_CHECKING:
    from app.assistant.answering import Answer
    from app.assistant.asking import Asking
    from app.assistant.backends import Backend

TAB_ID = "ask-questions"
TITLE = text.QUESTIONS
_KEPT_ANSWERS = 20
_LOOK_SECONDS = 0.1
_KEEP = gr.skip()


class Shown(NamedTuple):
    """What a handler changes on the page; whatever is left out stays."""

    question: Any = _KEEP
    answers: Any = _KEEP
    chosen: Any = _KEEP
    conversation: Any = _KEEP
    pending: Any = _KEEP
    page: Any = _KEEP
    problem: Any = _KEEP
    ask: Any = _KEEP
    stop: Any = _KEEP
    new: Any = _KEEP
    earlier: Any = _KEEP
    status: Any = _KEEP
    download: Any = _KEEP
    upload: Any = _KEEP

    def with_status(self) -> "Shown":
        return self._replace(**dict(zip(("status", "download", "upload"), paper.current_state(), strict=True)))


def build(blocks: gr.Blocks, visitor: gr.Textbox, selected: gr.State) -> gr.Textbox:
    """Question and answers on one side, the chosen page on the other; nothing is read before it is needed. Returns the
    question box.

    Args:
        selected: identifiers of the papers that questions are put to; the first of all where there are none.
    """
    answers, chosen = gr.State([]), gr.State("")
    row = paper.build()
    with gr.Row(elem_id="ask-asked-row"):
        asked_of = gr.HTML(elem_id="ask-asked-of", elem_classes="ask-slot", scale=1, min_width=260)
        comparing = gr.Checkbox(
            label=text.COMPARE, visible=False, container=False, scale=0, min_width=240, elem_id="ask-compare"
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
                ask = gr.Button(text.ASK, variant="primary", scale=1, min_width=88, elem_id="ask-button")
                stop = gr.Button(text.STOP, variant="stop", visible=False, scale=1, min_width=88, elem_id="ask-stop")
            problem = gr.HTML(elem_id="ask-problem", elem_classes="ask-slot")
            _, writer = writers.build()
            new = gr.Button(text.NEW, size="sm", visible=False, elem_id="ask-new")
            pending = gr.HTML(elem_id="ask-pending", elem_classes="ask-slot", apply_default_css=False)
            conversation = gr.HTML(
                elem_id="ask-answers",
                elem_classes="ask-slot",
                js_on_load=scripts.CONVERSATION,
                apply_default_css=False,
            )
            gr.HTML(f'<p class="ask-sources-title">{text.EXAMPLES}</p>', elem_id="ask-examples-title")
            with gr.Row(elem_id="ask-examples"):
                examples = [gr.Button(example, size="sm", min_width=120) for example in text.EXAMPLE_QUESTIONS]
            earlier = gr.HTML(
                elem_id="ask-earlier", elem_classes="ask-slot", js_on_load=scripts.EARLIER, apply_default_css=False
            )
        with gr.Column(scale=5, min_width=320):
            page = gr.HTML(
                markup.note(text.EMPTY_PAGE), elem_id="ask-page", js_on_load=scripts.PAGE, apply_default_css=False
            )

    shown = [question, answers, chosen, conversation, pending, page, problem, ask, stop, new, earlier, *row]
    hidden = {"show_progress": "hidden", "api_visibility": "private"}
    # "multiple": a second question while one is answered gets a sentence instead of silence.
    asking = {"concurrency_limit": 4, "trigger_mode": "multiple", **hidden}
    told = [answers, visitor, selected, comparing, *writer]
    for trigger in (question.submit, ask.click):
        trigger(answer, [question, *told], shown, **asking)
    for button in examples:
        button.click(answer, [button, *told], shown, **asking)
    earlier.select(ask_again, None, question, queue=False, **hidden).then(answer, [question, *told], shown, **asking)
    stop.click(stop_writing, None, stop, queue=False, **hidden)
    new.click(start_anew, None, shown, queue=False, **hidden)
    conversation.select(show_source, answers, [page, chosen], queue=False, **hidden)
    conversation.like(vote, [answers, chosen, visitor], [conversation, problem], queue=False, **hidden)
    paper.wire(blocks, row, question)
    selected.change(tell_papers, selected, [asked_of, comparing], queue=False, **hidden)
    blocks.load(tell_papers, selected, [asked_of, comparing], queue=False, **hidden)
    visitor.change(visitors.earlier, visitor, earlier, queue=False, **hidden)
    return question


def answer(
    question: str,
    answers: list,
    visitor: str,
    selected: list[str],
    comparing: bool,
    who: str,
    adapter: str,
    model: str,
    request: gr.Request,
) -> Iterator[Shown]:
    """Answer a question, shown as it is written; what is wrong with it, or with who should answer, is said in place."""
    from app.assistant.question import parse

    try:
        asked = parse(question).text
        writer = writers.backend(who, adapter, model)
        papers = _asked(selected, comparing)
    except InputError as error:
        yield Shown(problem=markup.problem(str(error)))
        return
    with TURNS.begin(request.session_hash, asked) as turn:
        if turn is None:
            yield Shown(problem=markup.problem(text.BUSY))
            return
        yield from _follow(turn, answers, visitor, writer, papers)


def _follow(turn: Turn, answers: list, visitor: str, writer: "Backend | None", papers: "Asking") -> Iterator[Shown]:
    from app.tabs.ask_session import session

    current = session()
    opening = current.opening()
    yield Shown(
        question="",
        pending=_pending(turn, writer, papers),
        problem="",
        ask=gr.update(visible=False),
        stop=gr.update(visible=True, value=text.STOP, interactive=True),
    ).with_status()
    while not (opening.done or turn.stop.is_set()):
        time.sleep(paper.POLL_SECONDS)
        yield Shown().with_status()
    if opening.done and not opening.problem:
        history = [(earlier.question, earlier.text) for earlier in answers]
        turn.start(papers, history, writer)
        drawn = ""
        while not turn.done:
            time.sleep(_LOOK_SECONDS)
            if (now := _pending(turn, writer, papers)) != drawn:
                drawn = now
                yield Shown(pending=now)
    ready = Shown(pending="", ask=gr.update(visible=True), stop=gr.update(visible=False)).with_status()
    if turn.dropped:
        yield ready
    elif turn.answer is None:
        problem = opening.problem or turn.problem
        yield ready._replace(question=turn.question, problem=markup.problem(problem) if problem else "")
    else:
        yield _with_answer(ready, [*answers, turn.answer][-_KEPT_ANSWERS:], visitor)


def _asked(selected: list[str], comparing: bool = False) -> "Asking":
    """Who answers from the papers that are ticked."""
    from app.tabs.ask_session import session
    from app.tabs.ask_shelf import shelf

    first = session().assistant
    if set(selected) <= {first.paper.id}:
        return first
    return shelf().asking(selected, comparing and len(selected) > 1)


def tell_papers(selected: list[str]) -> tuple[str, dict]:
    """Which papers questions are asked of, where there is a choice, and whether they can be compared."""
    from app.assistant import library

    try:
        titles = {paper.id: paper.title for paper in library.papers()}
    except InputError as error:
        return markup.problem(str(error)), gr.update(visible=False)
    asked = [titles[paper] for paper in selected if paper in titles] or list(titles.values())[:1]
    told = view.asked_of(asked) if len(titles) > 1 else ""
    return told, gr.update(visible=len(asked) > 1)


def _with_answer(ready: Shown, answers: "Sequence[Answer]", visitor: str) -> Shown:
    last = answers[-1]
    problem = visitors.remember(visitor, last)
    chosen = f"{len(answers) - 1}.{last.citations[0].number}" if last.citations and not last.declined else ""
    return ready._replace(
        answers=answers,
        chosen=chosen,
        conversation=view.conversation(answers, chosen, visitors.votes(visitor, answers)),
        page=_page_of(answers, chosen) if chosen else markup.note(text.EMPTY_PAGE),
        problem=problem,
        new=gr.update(visible=True),
        earlier=visitors.earlier(visitor),
    )


def _pending(turn: Turn, writer: "Backend | None", papers: "Asking") -> str:
    """The turn as far as it is."""
    if turn.stop.is_set():
        waiting = text.STOPPING
    elif turn.written:
        waiting = text.WRITING
    elif writer is not None:
        waiting = text.WAITING_FOR_LOCAL if writer.name == writers.LOCAL else text.WAITING_FOR_MODEL
    elif len(papers.papers) > 1:
        waiting = text.LOOKING_SEVERAL.format(count=len(papers.papers))
    else:
        waiting = text.LOOKING if papers.find_pdf().path or papers.paper.is_added else text.LOOKING_NOTES
    return view.pending(turn.question, waiting, turn.written, turn.steps)


def stop_writing(request: gr.Request) -> dict:
    """End the answer that is being written; what is there of it stays."""
    TURNS.stop(request.session_hash)
    return gr.update(value=text.STOPPING, interactive=False)


def start_anew(request: gr.Request) -> Shown:
    """Forget the conversation, so that the next question stands for itself."""
    TURNS.stop(request.session_hash, drop=True)
    return Shown(
        answers=[],
        chosen="",
        conversation="",
        page=markup.note(text.EMPTY_PAGE),
        problem="",
        new=gr.update(visible=False),
    )


def ask_again(event: gr.EventData) -> str:
    """An earlier question into the question box."""
    return str(event.question)


def show_source(answers: list, event: gr.EventData) -> tuple[str, str]:
    """The source that was clicked, on its page."""
    chosen = str(event.citation)
    try:
        return _page_of(answers, chosen), chosen
    except InputError as error:
        return markup.problem(str(error)), ""


def vote(answers: list, chosen: str, visitor: str, event: gr.EventData) -> tuple[str, str]:
    """Count the visitor's vote on an answer; the same vote again takes it back."""
    problem = visitors.vote(visitor, answers, str(event.entry), str(event.value))
    return view.conversation(answers, chosen, visitors.votes(visitor, answers)), problem


def _page_of(answers: "Sequence[Answer]", chosen: str) -> str:
    from app.assistant.pictures import page_picture
    from app.tabs.ask_page_view import page
    from app.tabs.ask_shelf import file_of

    entry, _, number = chosen.partition(".")
    if not (entry.isdecimal() and number.isdecimal() and int(entry) < len(answers)):
        raise InputError(text.SOURCE_GONE)
    answered = answers[int(entry)]
    citation = next((c for c in answered.citations if c.number == int(number)), None)
    if citation is None:
        raise InputError(text.NO_SUCH_SOURCE)
    assistant = _asked([citation.paper])
    index = assistant.open().search.index
    size = index.page_sizes.get(citation.pdf_page)
    shown = size and citation.source == "paper"
    if shown and not (assistant.paper.is_added or assistant.find_pdf().path):
        raise InputError(text.PDF_GONE)
    picture = page_picture(file_of(assistant), citation.pdf_page) if shown else None
    return page(citation, assistant.paper, picture, size or (0, 0), answered.names.get(citation.paper, ""))
