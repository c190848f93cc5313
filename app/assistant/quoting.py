"""Which sentences of a passage are quoted: always neighbours, so that the quote is one run of the page's text."""

from app.assistant.chunking import Chunk
from app.assistant.grounding import Evidence
from app.assistant.question import Question, holds_fact

QUOTE_WORDS = 160
"""How far a citation's quote is widened around its core; a longer sentence is quoted whole."""
STATEMENT_WORDS = 45
"""The same for what stands in the answer itself."""
_ROWS = 8
_WHOLE_TABLE_ROWS = 24


def quoted_sentences(item: Evidence, question: Question, limit: int = QUOTE_WORDS) -> list[int]:
    """Numbers of the sentences around the heart of the evidence, or of the table's rows that it names.

    ``limit`` is in words.
    """
    chunk = item.hit.chunk
    return _rows(item) if chunk.kind == "table" else _sentences(chunk, item, question, limit)


def _rows(item: Evidence) -> list[int]:
    """The rows that the question names when they stand together, else the best one; the whole table when it names
    none."""
    chunk = item.hit.chunk
    if item.rows:
        first, last = min(item.rows), max(item.rows)
        together = last - first < _ROWS and all(chunk.sentences[n].follows for n in range(first + 1, last + 1))
        return list(range(first, last + 1)) if together else [item.order]
    rows = [order for order, sentence in enumerate(chunk.sentences) if sentence.row]
    whole = 0 < len(rows) <= _WHOLE_TABLE_ROWS and all(chunk.sentences[n].follows for n in rows[1:])
    if whole and not chunk.sentences[item.order].row:
        return rows
    return [item.order]


def _sentences(chunk: Chunk, item: Evidence, question: Question, limit: int) -> list[int]:
    """The core and its neighbours: first what the core cannot do without, then whichever is nearer to the question, as
    long as the quote stays short."""
    chosen = [item.order]
    core = chunk.sentences[item.order].text
    needed = []
    if question.fact and not holds_fact(question.fact, core):
        needed += [order for order in (item.order + 1, item.order - 1) if _has_fact(chunk, order, question)][:1]
    if _points_back(core):
        needed.append(item.order - 1)
    if core.endswith(":"):
        needed.append(item.order + 1)
    for order in needed:
        if _quotable(chunk, order) and order not in chosen and _joined(chunk, order, item.order):
            chosen.append(order)
    while True:
        ends = [
            order
            for order, beside in ((min(chosen) - 1, min(chosen)), (max(chosen) + 1, max(chosen)))
            if _quotable(chunk, order) and _joined(chunk, order, beside)
        ]
        fitting = [order for order in ends if _length(chunk, [*chosen, order]) <= limit]
        if not fitting:
            return sorted(chosen)
        chosen.append(max(fitting, key=lambda order: (item.hit.sentence_scores.get(order, 0.0), order)))


def _joined(chunk: Chunk, order: int, beside: int) -> bool:
    """Whether two neighbouring sentences stand one after the other on the page, with no table or figure between."""
    return chunk.sentences[max(order, beside)].follows


def _length(chunk: Chunk, orders: list[int]) -> int:
    return sum(len(chunk.sentences[order].text.split()) for order in orders)


def _has_fact(chunk: Chunk, order: int, question: Question) -> bool:
    return _quotable(chunk, order) and holds_fact(question.fact, chunk.sentences[order].text)


def _quotable(chunk: Chunk, order: int) -> bool:
    return 0 <= order < len(chunk.sentences) and not chunk.sentences[order].row and not chunk.sentences[order].formula


def _points_back(text: str) -> bool:
    first = text.split()[0].lower().rstrip(",") if text else ""
    return first in {"this", "these", "it", "they", "such", "that", "those", "however"} or text[:1].islower()
