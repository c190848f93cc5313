"""Answers without a language model: the sentences that answer, word for word, in the paper's order, with citations."""

from dataclasses import asdict, dataclass, field, replace

from app.assistant.chunking import Box, Chunk
from app.assistant.grounding import Evidence, Verdict
from app.assistant.question import Question
from app.assistant.quoting import STATEMENT_WORDS, quoted_sentences

MAX_STATEMENTS = 3
MAX_CITATIONS = 5
_NEAR = 0.8
"""A further passage speaks in the answer when its merit comes this near to the best one's."""


@dataclass(frozen=True)
class Citation:
    """Where a quote stands: ``number`` as in the answer, ``source`` ``"paper"`` or ``"notes"``; ``boxes`` cover the
    quote on the page (points from the upper left corner; none for notes). ``passage`` is the text around it."""

    number: int
    paper: str
    source: str
    pdf_page: int
    last_page: int
    section: str
    quote: str
    score: float
    boxes: tuple[Box, ...] = ()
    passage: str = ""
    label: str = ""

    def record(self) -> dict:
        """The fields of the command line's JSON."""
        keys = ("paper", "pdf_page", "section", "quote", "score", "source")
        return {key: getattr(self, key) for key in keys}


@dataclass(frozen=True)
class Statement:
    """A part of the answer and the number of the citation that it is quoted from. ``core`` is the sentence that
    answers, the others are around it. For a table's rows, ``title`` is the table's caption, ``rows`` their cells and
    ``columns`` what stands above the cells, if the reader could tell."""

    text: str
    citation: int
    title: str = ""
    rows: tuple[tuple[str, ...], ...] = ()
    columns: tuple[str, ...] = ()
    core: str = ""


@dataclass(frozen=True)
class Answer:
    """What comes of a question. ``citations`` first hold what the statements quote, then other passages about it; of a
    declined question, the nearest passages. ``reason`` says why it was declined."""

    question: str
    statements: tuple[Statement, ...]
    citations: tuple[Citation, ...]
    declined: bool
    reason: str = ""
    seconds: float = 0.0
    verdict: Verdict | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        if self.declined:
            return f"The paper does not say. {self.reason}".strip()
        return " ".join(f"{statement.text} [{statement.citation}]" for statement in self.statements)

    def record(self) -> dict:
        return {
            "question": self.question,
            "answer": self.text,
            "declined": self.declined,
            "citations": [citation.record() for citation in self.citations],
            "seconds": round(self.seconds, 4),
        }

    def full_record(self) -> dict:
        return asdict(self)


def compose(question: Question, verdict: Verdict, answering: list[Evidence], evidence: list[Evidence]) -> Answer:
    """The answer from the places that answer (best first), or a refusal with the nearest passages."""
    if not verdict.answers:
        nearest = [_cite(item, question) for item in sorted(evidence, key=lambda e: -e.hit.score)[:3]]
        citations = tuple(_numbered(citation, n) for n, (citation, _) in enumerate(nearest, start=1))
        return Answer(question.text, (), citations, True, verdict.reason, verdict=verdict)
    speaking = _speaking(answering)
    rest = [item for item in evidence if item not in speaking]
    ordered = [*speaking, *rest][:MAX_CITATIONS]
    citations, statements, seen = [], [], set()
    for item in ordered:
        citation, statement = _cite(item, question)
        if citation.quote in seen:
            continue
        seen.add(citation.quote)
        citations.append(_numbered(citation, len(citations) + 1))
        if item in speaking:
            statements.append(replace(statement, citation=len(citations)))
    return Answer(question.text, tuple(statements), tuple(citations), False, verdict=verdict)


def _speaking(answering: list[Evidence]) -> list[Evidence]:
    """The places whose sentences make the answer. A note speaks beside the paper only where it says more."""
    best = answering[0].merit
    near = [item for item in answering if item.merit >= _NEAR * best]
    paper = [item for item in near if item.hit.chunk.source == "paper"]
    covered = max((item.coverage + item.exact for item in paper), default=-1.0)
    notes = [item for item in near if item.hit.chunk.source == "notes" and item.coverage + item.exact > covered + 0.05]
    chosen = [item for item in near if item in paper or item in notes]
    return (chosen or near)[:MAX_STATEMENTS]


def _numbered(citation: Citation, number: int) -> Citation:
    return replace(citation, number=number)


def _cite(item: Evidence, question: Question) -> tuple[Citation, Statement]:
    chunk = item.hit.chunk
    chosen = quoted_sentences(item, question)
    quote = " ".join(chunk.sentences[order].text for order in chosen)
    boxes = tuple(box for order in chosen for box in chunk.sentences[order].boxes)
    citation = Citation(
        0,
        chunk.paper,
        chunk.source,
        chunk.pdf_page,
        chunk.last_page,
        chunk.section,
        quote,
        item.hit.score,
        boxes,
        chunk.text,
        chunk.label,
    )
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
