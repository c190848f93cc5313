"""Several papers asked at once: one answer from all of them, or a comparison in which each is heard."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.assistant.answer import AskedPaper, Citation
from app.assistant.answering import MAX_CITATIONS, Answer, beside_disagreements, cite, compose, with_disagreements
from app.assistant.asking import GIVEN, Asking, Found
from app.assistant.disagreements import Disagreement, about
from app.assistant.grounding import Evidence, Grounding, Verdict
from app.assistant.paper import Paper
from app.assistant.question import Question
from app.assistant.several import SeveralPapers

if TYPE_CHECKING:
    from app.assistant.assistant import Assistant
    from app.assistant.checking.several import SeveralCheckers

_SPOKEN = 4
"""Statements of a comparison, shared out among the papers; each has one at least."""


def asking(assistants: "Sequence[Assistant]", comparing: bool = False) -> Asking:
    """Who answers from these papers: the one assistant itself, or a selection."""
    return assistants[0] if len(assistants) == 1 else Selection(assistants, comparing)


@dataclass(frozen=True)
class _Part:
    """What one paper has to say in a comparison: its own answer and the places behind it, or the passage ``nearest`` to
    the question where none answers it and one has a word of it."""

    paper: str
    answer: Answer
    answering: list[Evidence]
    nearest: Citation | None = None


class Selection(Asking):
    """Answers from several papers.

    A question that compares, or any question while ``comparing``, is put to each of the papers by itself; the answer
    cites each, and says of a paper that has nothing about it that it has nothing. Any other question is answered from
    the passages that answer it best, whatever paper they are in.

    Args:
        assistants: one a paper; they share the embedding model.
        comparing: every question is a comparison.
    """

    def __init__(self, assistants: "Sequence[Assistant]", comparing: bool = False):
        self.assistants = {assistant.paper.id: assistant for assistant in assistants}
        self.comparing = comparing
        self._lock = threading.Lock()
        self._several: SeveralPapers | None = None
        self._checker: SeveralCheckers | None = None

    @property
    def papers(self) -> list[Paper]:
        return [assistant.paper for assistant in self.assistants.values()]

    def open(self, progress: Callable[[float], None] = lambda fraction: None) -> SeveralPapers:
        """Everything that a question needs, made ready; ``progress`` is called with the share of papers that are.

        Raises:
            InputError: as :meth:`Assistant.open`.
        """
        with self._lock:
            groundings = []
            for number, assistant in enumerate(self.assistants.values()):
                groundings.append(
                    assistant.open(lambda share, done=number: progress((done + share) / len(self.assistants)))
                )
            if self._several is None or groundings != list(self._several.groundings.values()):
                self._several = SeveralPapers(groundings)
                self._checker = None
            return self._several

    @property
    def checker(self) -> "SeveralCheckers":
        from app.assistant.checking.several import SeveralCheckers

        several = self._ready()
        if self._checker is None:
            checkers = {paper: assistant.checker for paper, assistant in self.assistants.items()}
            self._checker = SeveralCheckers(checkers, several.names())
        return self._checker

    def _ready(self) -> SeveralPapers:
        return self._several or self.open()

    def _groundings(self) -> list[Grounding]:
        return list(self._ready().groundings.values())

    def _find(self, question: Question) -> Found:
        several = self._ready()
        compared = several.compared(question)
        if self.comparing:
            compared = compared or list(self.assistants)
        if compared:
            return self._compare(question, compared)
        evidence = several.rank(question)
        verdict, answering = several.judge(question, evidence)
        answering = beside_disagreements(answering, [item for _, found in self._about(question) for item in found])
        answer = replace(compose(question, verdict, answering, evidence), papers=self._asked())
        given = {item.hit.chunk.id: item for item in (*answering, *evidence)}
        return Found(answer, list(given.values())[:GIVEN])

    def _compare(self, question: Question, compared: list[str]) -> Found:
        parts = [self._part(question, paper, compared) for paper in compared]
        speaking = [part for part in parts if not part.answer.declined]
        if not speaking:
            verdicts = {part.paper: part.answer.verdict or Verdict(False, 0.0) for part in parts}
            verdict = self._ready().refusal(verdicts)
            citations = [citation for part in parts for citation in part.answer.citations[:2]]
            numbered = tuple(replace(c, number=n) for n, c in enumerate(citations[:MAX_CITATIONS], start=1))
            refusal = Answer(question.text, (), numbered, True, verdict.reason, verdict=verdict)
            return Found(replace(refusal, papers=self._asked(), compared=True), [])
        answer = _together(question, speaking)
        citations, asked = list(answer.citations), []
        for paper in self._asked(compared):
            part = next(part for part in parts if part.paper == paper.id)
            if part.answer.declined:
                paper = replace(paper, nothing=part.answer.reason, nearest=len(citations) + 1 if part.nearest else 0)
            if part.nearest:
                citations.append(replace(part.nearest, number=len(citations) + 1))
            asked.append(paper)
        answer = replace(answer, citations=tuple(citations), papers=tuple(asked), compared=True)
        each = max(1, GIVEN // len(speaking))
        return Found(answer, [item for part in speaking for item in part.answering[:each]])

    def _part(self, question: Question, paper: str, compared: list[str]) -> _Part:
        several = self._ready()
        grounding = several.groundings[paper]
        asked = several.asked_of(question, paper, compared)
        if asked is None:
            point = several.main_point(paper)
            places = [point] if point else []
            verdict = Verdict(bool(places), 1.0 if places else 0.0, "" if places else "It has no sentence to quote.")
            return _Part(paper, compose(question, verdict, places, places), places)
        # Read as it stands: a word that only another paper has is no slip of the hand here.
        evidence = grounding.look(asked, grounding.search.read(asked.text, asked.text))
        verdict, answering = grounding.verdict(asked, evidence)
        # Beside another paper that speaks of it, words of like meaning alone would put a stranger's sentence.
        answering = [item for item in answering if item.coverage > 0]
        if verdict.answers and not answering:
            verdict = Verdict(False, verdict.support, "No passage has a word of it.")
        answering = beside_disagreements(answering, about(question.text, self.assistants[paper].paper.notes))
        answer = compose(asked, verdict, answering, evidence)
        about_it = answer.declined and not grounding.refusal_by_name(asked) and max(e.coverage for e in evidence) > 0
        nearest = max(evidence, key=lambda item: (item.coverage, item.merit)) if about_it else None
        return _Part(paper, answer, answering, cite(nearest, asked)[0] if nearest else None)

    def _asked(self, papers: Sequence[str] = ()) -> tuple[AskedPaper, ...]:
        names = self._ready().names()
        return tuple(AskedPaper(paper, names[paper]) for paper in papers or names)

    def _about(self, question: Question) -> list[tuple[str, tuple[Disagreement, ...]]]:
        """The disagreements that the question touches, by paper."""
        return [(key, about(question.text, assistant.paper.notes)) for key, assistant in self.assistants.items()]

    def _completed(self, question: Question, answer: Answer, found: Found) -> Answer:
        """With the disagreements of the papers that are cited."""
        if answer.written:
            answer = _with_papers(question, answer, found)
        cited = {citation.paper for citation in answer.citations}
        several = self._ready()
        for paper, disagreements in self._about(question):
            if disagreements and paper in cited:
                index = several.groundings[paper].search.index
                answer = with_disagreements(answer, disagreements, index.chunks, several.names()[paper])
        return answer


def _with_papers(question: Question, answer: Answer, found: Found) -> Answer:
    """What a language model wrote, with a passage of each compared paper that it left out, and with what is known of
    those that do not answer."""
    citations, papers = list(answer.citations), []

    def add(citation: Citation) -> int:
        number = max((other.number for other in citations), default=0) + 1
        citations.append(replace(citation, number=number))
        return number

    if found.answer.compared:
        best = {item.hit.chunk.paper: item for item in reversed(found.given)}
        cited = {citation.paper for citation in citations}
        for item in (item for paper, item in best.items() if paper not in cited):
            add(cite(item, question)[0])
    for paper in found.answer.papers:
        near = next((c for c in found.answer.citations if paper.nearest and c.number == paper.nearest), None)
        papers.append(replace(paper, nearest=add(near) if near else 0))
    return replace(answer, citations=tuple(citations), papers=tuple(papers), compared=found.answer.compared)


def _together(question: Question, parts: Sequence[_Part]) -> Answer:
    """The papers' own answers one after the other: their best statements with what these cite, then, as far as there is
    room, one more passage of each."""
    statements, citations, sentences, body = [], [], [], ""
    most = max(1, _SPOKEN // len(parts))
    for part in parts:
        pairs = zip(part.answer.statements[:most], part.answer.sentences, strict=False)
        for statement, sentence in pairs:
            number, start = len(citations) + 1, len(body)
            citations.append(replace(part.answer.citations[statement.citation - 1], number=number))
            statements.append(replace(statement, citation=number))
            end = start + len(statement.text)
            sentences.append(replace(sentence, start=start, end=end, citations=(number,), number=number))
            body += f"{statement.text} [{number}] "
    used = {(citation.paper, citation.quote) for citation in citations}
    for part in parts:
        more = [citation for citation in part.answer.citations if (citation.paper, citation.quote) not in used]
        if more and len(citations) < max(MAX_CITATIONS, len(parts)):
            citations.append(replace(more[0], number=len(citations) + 1))
    best = max((part.answer.verdict for part in parts if part.answer.verdict), key=lambda verdict: verdict.support)
    return Answer(question.text, tuple(statements), tuple(citations), False, verdict=best, sentences=tuple(sentences))
