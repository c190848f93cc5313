"""Answers put together: the sentences that answer, word for word, best first, with citations; or what a language model
wrote from the passages, with every sentence's verdict."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from app.assistant.answer import Answer, Citation, ShownDisagreement, Statement
from app.assistant.chunking import Box, Chunk
from app.assistant.disagreements import Disagreement
from app.assistant.grounding import Evidence, Verdict
from app.assistant.question import Question
from app.assistant.quoting import STATEMENT_WORDS, quoted_sentences
from app.assistant.terms import stem, words

if TYPE_CHECKING:
    from app.assistant.checking import CheckedSentence, CheckReport

__all__ = ["Answer", "Citation", "ShownDisagreement", "Statement", "cite", "compose", "compose_written"]

MAX_STATEMENTS = 3
MAX_CITATIONS = 5
_WHAT_IS = re.compile(
    r"^what\s+(?:is|are)\s+(?:(?:the|a|an)\s+)?(.+?)(?:\s+(?:in|for|of)\s+\w+)?\s*\?*$", re.IGNORECASE
)
_NEAR = 0.8
"""A further passage speaks in the answer when its merit comes this near to the best one's."""


def compose(question: Question, verdict: Verdict, answering: list[Evidence], evidence: list[Evidence]) -> Answer:
    """The answer from the places that answer (best first), or a refusal with the nearest passages."""
    if not verdict.answers:
        nearest = [cite(item, question) for item in sorted(evidence, key=lambda e: -e.hit.score)[:3]]
        citations = tuple(_numbered(citation, n) for n, (citation, _) in enumerate(nearest, start=1))
        return Answer(question.text, (), citations, True, verdict.reason, verdict=verdict)
    speaking = sorted(_speaking(question, answering), key=lambda item: not _defines(question, item))
    rest = [item for item in evidence if item not in speaking]
    ordered = [*speaking, *rest][:MAX_CITATIONS]
    citations, statements, sentences, seen, length = [], [], [], set(), 0
    for item in ordered:
        citation, statement = cite(item, question)
        if citation.quote in seen:
            continue
        seen.add(citation.quote)
        citations.append(_numbered(citation, len(citations) + 1))
        told = " ".join(other.text for other in statements)
        if item in speaking and not (statement.core and statement.core in told):
            statements.append(replace(statement, citation=len(citations)))
            sentences.append(_own_words(statements[-1], citations[-1], item.hit.chunk, length))
            length += len(statement.text) + len(f" [{len(citations)}] ")
    return Answer(
        question.text, tuple(statements), tuple(citations), False, verdict=verdict, sentences=tuple(sentences)
    )


def _own_words(statement: Statement, citation: Citation, chunk: Chunk, start: int) -> "CheckedSentence":
    """The verdict on the passage's own words: they are in it."""
    from app.assistant.checking import SUPPORTED, CheckedSentence

    end = start + len(statement.text)
    number = citation.number
    return CheckedSentence(
        statement.text, start, end, SUPPORTED, (), (number,), chunk.id, chunk.pdf_page, citation.quote, number
    )


def compose_written(
    question: Question, text: str, passages: Sequence[Evidence], report: "CheckReport", verdict: Verdict
) -> Answer:
    """The answer that a language model wrote. ``passages[n - 1]`` is what it may cite as ``[n]``; those that it cites,
    and those that its sentences were held against, are its citations."""
    numbers = {item.hit.chunk.id: number for number, item in enumerate(passages, start=1)}
    sentences = tuple(replace(sentence, number=numbers.get(sentence.passage, 0)) for sentence in report.sentences)
    used = {sentence.number for sentence in sentences if sentence.verdict} | {
        number for sentence in sentences for number in sentence.citations
    }
    used = sorted(number for number in used if 0 < number <= len(passages))
    citations = tuple(_numbered(cite(passages[n - 1], question)[0], n) for n in used)
    return Answer(
        question.text,
        (),
        citations,
        False,
        verdict=verdict,
        written=text,
        sentences=sentences,
        unsupported_share=report.unsupported_share,
    )


def with_disagreements(
    answer: Answer, found: Sequence[Disagreement], chunks: Sequence[Chunk], paper: str = ""
) -> Answer:
    """The answer with the paper's contradicting statements about it, each cited; ``paper`` names it among several."""
    citations, shown = list(answer.citations), []
    for disagreement in found:
        numbers = []
        for place in _places(disagreement, chunks):
            if place is None:
                numbers.append(0)
                continue
            chunk, order = place
            sentence, page = chunk.sentences[order], (chunk.paper, chunk.pdf_page)
            same = next((c for c in citations if (c.paper, c.pdf_page) == page and sentence.text in c.quote), None)
            if same is None:
                same = _citation(chunk, sentence.text, sentence.boxes, 0.0)
                same = _numbered(same, max((c.number for c in citations), default=0) + 1)
                citations.append(same)
            numbers.append(same.number)
        shown.append(ShownDisagreement(disagreement, tuple(numbers), paper))
    return replace(answer, citations=tuple(citations), disagreements=(*answer.disagreements, *shown))


def beside_disagreements(answering: list[Evidence], found: Sequence[Disagreement]) -> list[Evidence]:
    """The places that answer, without the notes' sections on these disagreements, which are shown by themselves; all of
    them where nothing else answers."""
    told = [
        item
        for item in answering
        if item.hit.chunk.source != "notes" or not item.hit.chunk.section.endswith(tuple(d.heading for d in found))
    ]
    return told or answering


def _places(disagreement: Disagreement, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, int] | None]:
    """The sentence or row that makes each statement; where the paper cannot be read, the notes' about it."""
    for statement in disagreement.statements:
        found = next(
            (
                (chunk, order)
                for chunk in chunks
                if chunk.source == "paper" and chunk.pdf_page == statement.page
                for order, sentence in enumerate(chunk.sentences)
                if not sentence.formula and statement.stands_in(chunk.label, sentence.text, sentence.row)
            ),
            None,
        )
        yield found or next(
            (
                (chunk, 0)
                for chunk in chunks
                if chunk.source == "notes" and chunk.section.endswith(disagreement.heading)
            ),
            None,
        )


def _speaking(question: Question, answering: list[Evidence]) -> list[Evidence]:
    """The places whose sentences make the answer: where a value is asked for, those that have one. A note speaks beside
    the paper only where it says more."""
    best = answering[0].merit
    near = [item for item in answering if item.merit >= _NEAR * best]
    if question.fact:
        near = [item for item in near if item.features["fact"]] or near
    paper = [item for item in near if item.hit.chunk.source == "paper"]
    covered = max((item.coverage + item.exact for item in paper), default=-1.0)
    notes = [item for item in near if item.hit.chunk.source == "notes" and item.coverage + item.exact > covered + 0.05]
    chosen = [item for item in near if item in paper or item in notes]
    return (chosen or near)[:MAX_STATEMENTS]


def _defines(question: Question, item: Evidence) -> bool:
    """Whether what the question asks the meaning of is the subject of one of the sentences that are quoted."""
    match = _WHAT_IS.match(question.text)
    if not match:
        return False
    subject = [stem(word) for word in words(match[1])]
    chosen = quoted_sentences(item, question, STATEMENT_WORDS)
    starts = [words(item.hit.chunk.sentences[order].text)[: len(subject)] for order in chosen]
    return any([stem(word) for word in start] == subject for start in starts)


def _numbered(citation: Citation, number: int) -> Citation:
    return replace(citation, number=number)


def _citation(chunk: Chunk, quote: str, boxes: tuple[Box, ...], score: float) -> Citation:
    return Citation(
        0,
        chunk.paper,
        chunk.source,
        chunk.pdf_page,
        chunk.last_page,
        chunk.section,
        quote,
        score,
        boxes,
        chunk.text,
        chunk.label,
    )


def cite(item: Evidence, question: Question) -> tuple[Citation, Statement]:
    """The quote around the heart of the evidence, and what the answer says of it; neither has its number yet."""
    chunk = item.hit.chunk
    chosen = quoted_sentences(item, question)
    quote = " ".join(chunk.sentences[order].text for order in chosen)
    boxes = tuple(box for order in chosen for box in chunk.sentences[order].boxes)
    citation = _citation(chunk, quote, boxes, item.hit.score)
    if not chunk.sentences[chosen[0]].row:
        text = " ".join(chunk.sentences[n].text for n in quoted_sentences(item, question, STATEMENT_WORDS))
        return citation, Statement(text, 0, core=chunk.sentences[item.order].text)
    rows = tuple(chunk.sentences[order].cells or (chunk.sentences[order].text,) for order in chosen)
    columns = () if chosen[0] == 1 else _columns(chunk, chosen[0])
    return citation, Statement(quote, 0, chunk.sentences[0].text, rows, columns)


def _columns(chunk: Chunk, order: int) -> tuple[str, ...]:
    """The cells of the lowest header row that has as many as the row, which may lie above the first row of values."""
    row = chunk.sentences[order]
    rows = [sentence for sentence in chunk.sentences[:order] if sentence.row][: chunk.header + 3]
    named = [r.cells for r in rows if len(r.cells) == len(row.cells) and not any(c[:1].isdigit() for c in r.cells[1:])]
    return named[-1] if named and len(row.cells) > 1 else ()
