"""Answers without a language model: the sentences that answer, word for word, in the paper's order, with citations."""

from dataclasses import asdict, dataclass, field, replace

from app.assistant.chunking import Box, Chunk
from app.assistant.grounding import Evidence, Verdict
from app.assistant.question import Question, holds_fact

MAX_STATEMENTS = 3
MAX_CITATIONS = 5
_NEAR = 0.8
"""A further passage speaks in the answer when its merit comes this near to the best one's."""
_LONG_WORDS = 60


@dataclass(frozen=True)
class Citation:
    """Where a quote stands: ``number`` as in the answer, ``source`` ``"paper"`` or ``"notes"``; ``boxes`` cover the quote
    on the page (points from the upper left corner; none for notes). ``passage`` is the text around it."""

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
    """A sentence of the answer and the number of the citation that it is quoted from. For a table's row, ``title`` is the
    table's caption, ``cells`` the row and ``columns`` what stands above its cells, if the reader could tell."""

    text: str
    citation: int
    title: str = ""
    cells: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


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
    rest = [item for item in [*answering, *evidence] if item not in speaking]
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
    chosen = chosen_sentences(item, question)
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
    sentence = chunk.sentences[chosen[0]]
    title = chunk.sentences[0].text if sentence.row else ""
    columns = _columns(chunk, chosen[0]) if sentence.row else ()
    return citation, Statement(quote, 0, title, sentence.cells, columns)


def _columns(chunk: Chunk, order: int) -> tuple[str, ...]:
    """The cells of the lowest header row that has as many as the row, which may lie above the first row of values."""
    row = chunk.sentences[order]
    rows = [sentence for sentence in chunk.sentences[:order] if sentence.row][: chunk.header + 3]
    named = [r.cells for r in rows if len(r.cells) == len(row.cells) and not any(c[:1].isdigit() for c in r.cells[2:])]
    return named[-1] if named and len(row.cells) > 1 else ()


def chosen_sentences(item: Evidence, question: Question) -> list[int]:
    """The sentence at the heart of the evidence and, where that helps, its neighbour: the value that is asked for, the
    sentence that "this" or "it" points back to, or what a colon announces. Always side by side, so that the quote is one
    run of the page's text."""
    chunk = item.hit.chunk
    order = item.order
    sentence = chunk.sentences[order]
    if sentence.row:
        return [order]
    chosen = [order]
    if question.fact and not holds_fact(question.fact, sentence.text):
        for neighbour in (order + 1, order - 1):
            if _usable(chunk, neighbour) and holds_fact(question.fact, chunk.sentences[neighbour].text):
                chosen.append(neighbour)
                break
    if len(chosen) == 1 and _points_back(sentence.text) and _usable(chunk, order - 1):
        chosen.append(order - 1)
    if sentence.text.endswith(":") and _usable(chunk, order + 1):
        chosen.append(order + 1)
    if len(chosen) == 1 and len(sentence.text.split()) < 12 and _usable(chunk, order + 1):
        chosen.append(order + 1)
    return sorted(set(chosen))


def _usable(chunk: Chunk, order: int) -> bool:
    if not 0 <= order < len(chunk.sentences):
        return False
    sentence = chunk.sentences[order]
    return not sentence.row and not sentence.formula and len(sentence.text.split()) <= _LONG_WORDS


def _points_back(text: str) -> bool:
    first = text.split()[0].lower().rstrip(",") if text else ""
    return (
        first in {"this", "these", "it", "they", "such", "that", "those", "however", "furthermore", "overall"}
        or text[:1].islower()
    )
