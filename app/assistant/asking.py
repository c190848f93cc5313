"""What asking one paper and asking several have in common: an answer as it is written, by whoever writes it."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.assistant.answering import Answer, compose_written
from app.assistant.conversation import understood
from app.assistant.grounding import Evidence, Grounding
from app.assistant.paper import Paper
from app.assistant.question import Question, parse
from app.assistant.retrieval import Hit, PaperRetriever

if TYPE_CHECKING:
    from app.assistant.backends import Backend, Limits, Token, ToolStep
    from app.assistant.checking import Checker, CheckReport
    from app.assistant.checking.several import SeveralCheckers
    from app.assistant.several import SeveralPapers

GIVEN = 5
"""Passages that a language model is given."""
_MOSTLY_UNSUPPORTED = 0.5

History = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Finished:
    """The last event of an answer."""

    answer: Answer


@dataclass(frozen=True)
class Found:
    """What search makes of a question: the ``answer`` in the papers' own words, or a refusal, and the places that a
    language model is ``given``, best first."""

    answer: Answer
    given: list[Evidence]


class Asking(ABC):
    """Questions to one paper (:class:`app.assistant.assistant.Assistant`) or to several
    (:class:`app.assistant.selection.Selection`)."""

    @property
    @abstractmethod
    def papers(self) -> list[Paper]:
        """What is asked."""

    @property
    @abstractmethod
    def checker(self) -> "Checker | SeveralCheckers":
        """Holds texts against the passages."""

    @abstractmethod
    def _ready(self) -> "Grounding | SeveralPapers":
        """What ranks and judges, opened first where it is not open."""

    @abstractmethod
    def _groundings(self) -> Sequence[Grounding]:
        """One a paper."""

    @abstractmethod
    def _find(self, question: Question) -> Found: ...

    @abstractmethod
    def _completed(self, question: Question, answer: Answer, found: Found) -> Answer:
        """The answer with what belongs to it whoever wrote it."""

    def retriever(self, k: int = 5) -> PaperRetriever:
        """The passages as a LangChain retriever."""
        return PaperRetriever(find=self._ready().find, k=k)

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        """The ``k`` passages nearest to the question, whether they answer it or not.

        Raises:
            InputError: the question is empty or too long, or a paper cannot be opened.
        """
        return self._ready().find(question, k)

    def check(self, text: str) -> "CheckReport":
        """The verdict on every sentence of any text.

        Raises:
            InputError: a paper cannot be opened.
        """
        return self.checker.check(text)

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

        What the papers do not say is declined before a back-end is asked. When the back-end fails, takes too long or
        answers garbage, the extractive answer comes instead, with the reason in its ``notice``.

        Args:
            question: as typed; a follow-up is understood from ``history``.
            history: earlier questions and answers, oldest first.
            backend: who writes the answer (:func:`app.assistant.backends.make`); None quotes the passages.
            stop: ends the answer where it is, once it is set.
            limits: time-outs of the back-end.

        Raises:
            InputError: the question is empty or too long, or a paper cannot be opened.
        """
        parse(question)  # what is wrong with it is said of the question as it was typed
        parsed = parse(understood(question, history))
        self._ready()
        start = time.perf_counter()
        found = self._find(parsed)
        answer = found.answer
        if backend is not None and not answer.declined:
            answer = yield from self._written(parsed, found, history, backend, stop or threading.Event(), limits)
        elif not answer.declined:
            from app.assistant.backends import Token

            for statement in answer.statements:
                yield Token(f"{statement.text} [{statement.citation}] ")
        if not answer.declined:
            answer = self._completed(parsed, answer, found)
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
        found: Found,
        history: History,
        backend: "Backend",
        stop: threading.Event,
        limits: "Limits | None",
    ) -> "Iterator[Token | ToolStep]":
        """The back-end's events; returns its answer, or the extractive one with the reason."""
        from app.assistant.backends import BackendError, Limits, Passages, Request, Token, watched
        from app.assistant.backends.watching import without_repetition

        extractive, ready = found.answer, self._ready()
        passages = Passages([item.hit for item in found.given])
        request = Request(question.text, passages, lambda query: ready.find(query, GIVEN), tuple(history))
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
            ended = "was stopped before it said something" if stop.is_set() else "found no answer in the passages"
            notice = f"{backend.model} {ended}; these are the passages' own words."
            return replace(extractive, notice=notice)
        passages.add(self._found_elsewhere(report, passages.hits))
        items = [ready.evidence(question, hit) for hit in passages.hits]
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
        return [
            Hit(chunk, number, 0.0)
            for grounding in self._groundings()
            for number, chunk in enumerate(grounding.search.index.chunks)
            if chunk.id in wanted
        ]
