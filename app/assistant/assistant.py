"""The assistant itself: one paper, its index, and a question at a time."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.assistant import library
from app.assistant.answering import Answer, beside_disagreements, compose, compose_written, with_disagreements
from app.assistant.conversation import understood
from app.assistant.disagreements import about
from app.assistant.embedding import MiniLM
from app.assistant.grounding import Evidence, Grounding
from app.assistant.index import open_index
from app.assistant.library import FoundPdf, Paper
from app.assistant.question import Question, parse
from app.assistant.readers.pdf import page_size
from app.assistant.retrieval import Hit, PaperRetriever, Search
from qlora.errors import InputError

if TYPE_CHECKING:
    from app.assistant.backends import Backend, Limits, Token, ToolStep
    from app.assistant.checking import Checker, CheckReport

_GIVEN = 5
"""Passages that a language model is given."""
_MOSTLY_UNSUPPORTED = 0.5

History = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Finished:
    """The last event of an answer."""

    answer: Answer


class Assistant:
    """Answers from one paper, or from the notes about it while its PDF is not there.

    Opening is lazy: the first question, or :meth:`open`, reads the PDF and opens the index (or builds it). A PDF that
    appears later is taken up by the next call of :meth:`open`.

    Args:
        paper: the manifest's first paper if left out.
        folder: where the manifest, the notes and perhaps a PDF are.
        embedder: shared between assistants to load the model once.
        with_pdf: False to answer from the notes even if there is a PDF.
    """

    def __init__(
        self,
        paper: Paper | None = None,
        folder: Path = library.PAPERS_FOLDER,
        embedder: MiniLM | None = None,
        with_pdf: bool = True,
    ):
        self.folder = folder
        self.paper = paper or library.papers(folder)[0]
        self.embedder = embedder or MiniLM()
        self.with_pdf = with_pdf
        self._lock = threading.Lock()
        self._opened: tuple[Path | None, Grounding] | None = None
        self._checker: Checker | None = None

    def find_pdf(self) -> FoundPdf:
        return library.find_pdf(self.paper, self.folder) if self.with_pdf else FoundPdf(None)

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    def open(self, progress: Callable[[float], None] = lambda fraction: None) -> Grounding:
        """Everything that a question needs, made ready; at once when it is and the PDF is still the same one.

        Raises:
            InputError: the embedding model, the notes or the PDF cannot be used, or there is no room for the index.
        """
        with self._lock:
            pdf = self.find_pdf().path
            if self._opened is None or self._opened[0] != pdf:
                index = open_index(self.paper, pdf, self.embedder, progress)
                grounding = Grounding(Search(index, self.embedder))
                grounding.warm()
                self._opened = (pdf, grounding)
            return self._opened[1]

    @property
    def pdf(self) -> Path | None:
        """The PDF that answers come from; None before :meth:`open` and when there is none."""
        return self._opened[0] if self._opened else None

    def page_size(self, pdf_page: int) -> tuple[float, float]:
        """Width and height in points of a page of the PDF."""
        pdf = self.pdf or self.find_pdf().path
        if pdf is None:
            raise InputError("There is no PDF of the paper here.")
        return page_size(pdf, pdf_page)

    def retriever(self, k: int = 5) -> PaperRetriever:
        """The passages as a LangChain retriever."""
        return PaperRetriever(find=self._ready().find, k=k)

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        """The ``k`` passages nearest to the question, whether they answer it or not.

        Raises:
            InputError: the question is empty or too long, or see :meth:`open`.
        """
        return self._ready().find(question, k)

    def ask(self, question: str, history: History = (), backend: "Backend | None" = None) -> Answer:
        """An answer with citations, or a refusal with the nearest passages. See :meth:`stream`."""
        *_, last = self.stream(question, history, backend)
        assert isinstance(last, Finished)
        return last.answer

    def stream(
        self,
        question: str,
        history: History = (),
        backend: "Backend | None" = None,
        stop: threading.Event | None = None,
        limits: "Limits | None" = None,
    ) -> "Iterator[Token | ToolStep | Finished]":
        """The answer as it is written; the last event is always :class:`Finished`.

        What the paper does not say is declined before a back-end is asked. When the back-end fails, takes too long or
        answers garbage, the extractive answer comes instead, with the reason in its ``notice``.

        Args:
            question: as typed; a follow-up is understood from ``history``.
            history: earlier questions and answers, oldest first.
            backend: who writes the answer (:func:`app.assistant.backends.make`); None quotes the passages.
            stop: ends the answer where it is, once it is set.
            limits: time-outs of the back-end.

        Raises:
            InputError: the question is empty or too long, or see :meth:`open`.
        """
        parse(question)  # what is wrong with it is said of the question as it was typed
        parsed = parse(understood(question, history))
        grounding = self._ready()
        start = time.perf_counter()
        evidence = grounding.rank(parsed)
        verdict, answering = grounding.judge(parsed, evidence)
        found = about(parsed.text, self.paper.notes)
        answering = beside_disagreements(answering, found)
        answer = compose(parsed, verdict, answering, evidence)
        if backend is not None and not answer.declined:
            given = list({item.hit.number: item for item in (*answering, *evidence)}.values())[:_GIVEN]
            answer = yield from self._written(
                parsed, answer, given, grounding, history, backend, stop or threading.Event(), limits
            )
        elif not answer.declined:
            from app.assistant.backends import Token

            for statement in answer.statements:
                yield Token(f"{statement.text} [{statement.citation}] ")
        if not answer.declined:
            answer = with_disagreements(answer, found, grounding.search.index.chunks) if found else answer
        typed = " ".join(question.split())
        yield Finished(
            replace(
                answer,
                question=typed,
                understood=parsed.text if parsed.text != typed else "",
                seconds=time.perf_counter() - start,
            )
        )

    def _written(
        self,
        question: Question,
        extractive: Answer,
        given: list[Evidence],
        grounding: Grounding,
        history: History,
        backend: "Backend",
        stop: threading.Event,
        limits: "Limits | None",
    ) -> "Iterator[Token | ToolStep]":
        """The back-end's events; returns its answer, or the extractive one with the reason."""
        from app.assistant.backends import BackendError, Limits, Passages, Request, Token, watched
        from app.assistant.backends.watching import without_repetition

        passages = Passages([item.hit for item in given])
        request = Request(question.text, passages, lambda query: grounding.find(query, _GIVEN), tuple(history))
        text, steps = "", []
        try:
            for event in watched(backend, request, stop, limits or Limits()):
                if isinstance(event, Token):
                    text += event.text
                else:
                    text = ""
                    steps.append(event)
                yield event
        except BackendError as error:
            return replace(extractive, notice=f"{error} The answer is quoted from the passages instead.")
        text = without_repetition(text)
        if not text:
            return replace(extractive, notice="Stopped before the model answered; these are the passages' own words.")
        report = self.checker.check(text, passages.hits)
        if not any(sentence.verdict for sentence in report.sentences):
            notice = f"{backend.model} found no answer in the passages; these are the passages' own words."
            return replace(extractive, notice=notice)
        passages.add(self._found_elsewhere(report, passages.hits))
        items = [grounding.evidence(question, hit) for hit in passages.hits]
        answer = compose_written(question, text, items, report, extractive.verdict)
        notice = "Stopped; this is how far the answer came." if stop.is_set() else ""
        if report.unsupported_share > _MOSTLY_UNSUPPORTED:
            notice = f"{notice} Most of what the model wrote is not in the passages.".strip()
        done = tuple(step for step in steps if step.done)
        return replace(answer, backend=backend.name, model=backend.model, steps=done, notice=notice)

    def _found_elsewhere(self, report: "CheckReport", given: list[Hit]) -> list[Hit]:
        """The passages that sentences were held against beside those that the model was given."""
        known = {hit.chunk.id for hit in given}
        wanted = {s.passage for s in report.sentences if s.passage and s.passage not in known}
        chunks = self._ready().search.index.chunks
        return [Hit(chunk, number, 0.0, 0.0) for number, chunk in enumerate(chunks) if chunk.id in wanted]

    @property
    def checker(self) -> "Checker":
        """Holds texts against this paper's passages."""
        from app.assistant.checking import Checker

        search = self._ready().search
        if self._checker is None or self._checker.search is not search:
            self._checker = Checker(search)
        return self._checker

    def check(self, text: str) -> "CheckReport":
        """The verdict on every sentence of any text about the paper.

        Raises:
            InputError: see :meth:`open`.
        """
        return self.checker.check(text)

    def _ready(self) -> Grounding:
        return self._opened[1] if self._opened else self.open()
