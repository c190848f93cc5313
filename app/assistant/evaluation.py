"""How good the answers are, measured on questions whose page and key words are known."""

import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from app.assistant.assistant import Assistant
from app.assistant.chunking import Chunk
from app.assistant.grounding import quote_is_on_page
from app.assistant.index import read_sources
from app.assistant.readers.page import Page, bare
from qlora.errors import InputError


@dataclass(frozen=True)
class Report:
    """Figures over one file of gold questions; shares are of the answerable or of the unanswerable ones.

    ``recall_at_5``: a passage on a right page that holds one of the key words (for notes: that names a right page) is
    among the first five retrieved. ``mean_reciprocal_rank``: of the first such passage. ``page_cited``: the answer
    cites a right page. ``valid_quotes``: the share of all citations whose quote is on the page that they name.
    """

    answerable: int
    unanswerable: int
    recall_at_1: float
    recall_at_5: float
    mean_reciprocal_rank: float
    page_cited: float
    citations: int
    valid_quotes: float
    declined_answerable: float
    declined_unanswerable: float
    retrieval_ms: float
    answer_ms: float
    wrong: tuple[str, ...] = ()

    def record(self) -> dict:
        return asdict(self)

    def readable(self) -> str:
        rows = [
            ("answerable questions", f"{self.answerable}"),
            ("  passage is first", f"{self.recall_at_1:.3f}"),
            ("  passage among the first five", f"{self.recall_at_5:.3f}"),
            ("  mean reciprocal rank", f"{self.mean_reciprocal_rank:.3f}"),
            ("  a right page is cited", f"{self.page_cited:.3f}"),
            ("  declined", f"{self.declined_answerable:.3f}"),
            ("unanswerable questions", f"{self.unanswerable}"),
            ("  declined", f"{self.declined_unanswerable:.3f}"),
            ("citations", f"{self.citations}"),
            ("  quote is on the page", f"{self.valid_quotes:.3f}"),
            ("retrieval, median", f"{self.retrieval_ms:.1f} ms"),
            ("answer, median", f"{self.answer_ms:.1f} ms"),
        ]
        return "\n".join([*(f"{name:<32}{value:>10}" for name, value in rows), *(f"! {line}" for line in self.wrong)])


def read_questions(path: Path) -> list[dict]:
    """Questions from a file with one JSON object a line.

    Raises:
        InputError: the file is missing or empty, or a line is not an object with a ``question``; the line is named.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the questions in {path}: {error}.") from error
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path.name}, line {number}: not JSON ({error.msg}). Write one object a line.") from error
        if not isinstance(record, dict) or not isinstance(record.get("question"), str):
            raise InputError(f'{path.name}, line {number}: expected an object with the text field "question".')
        records.append(record)
    if not records:
        raise InputError(f"{path.name} has no questions in it. Write one JSON object a line.")
    return records


def holds_answer(chunk: Chunk, gold: dict) -> bool:
    """Whether this is a passage that the gold question is about."""
    pages = _pages(gold)
    if not any(chunk.pdf_page <= page <= chunk.last_page for page in pages):
        return False
    text = bare(chunk.text).lower()
    return chunk.source == "notes" or any(bare(word).lower() in text for word in gold["keywords"])


def _pages(gold: dict) -> list[int]:
    return gold["pdf_page"] if isinstance(gold["pdf_page"], list) else [gold["pdf_page"]]


def evaluate(assistant: Assistant, questions: list[dict]) -> Report:
    """Ask every question and compare.

    Raises:
        InputError: a question that is answerable names no page or no key words, or see :meth:`Assistant.open`.
    """
    for number, gold in enumerate(questions, start=1):
        if gold.get("answerable", True) and not (gold.get("pdf_page") and gold.get("keywords")):
            raise InputError(f'Question {number}: an answerable question needs "pdf_page" and "keywords".')
    assistant.open()
    paper_pages, notes_pages = read_sources(assistant.paper, assistant.pdf)
    ranks, cited, declined, refused, wrong = [], [], [], [], []
    retrieval_ms, answer_ms, quotes = [], [], []
    for gold in questions:
        start = time.perf_counter()
        hits = assistant.retrieve(gold["question"], k=10)
        retrieval_ms.append(1e3 * (time.perf_counter() - start))
        answer = assistant.ask(gold["question"])
        answer_ms.append(1e3 * answer.seconds)
        for citation in answer.citations:
            quotes.append(_valid(citation, paper_pages, notes_pages))
            if not quotes[-1]:
                wrong.append(f"quote not on page {citation.pdf_page}: {citation.quote[:80]}")
        if not gold.get("answerable", True):
            refused.append(answer.declined)
            if not answer.declined:
                wrong.append(f"answered: {gold['question']}")
            continue
        rank = next((i for i, hit in enumerate(hits, start=1) if holds_answer(hit.chunk, gold)), None)
        ranks.append(rank)
        declined.append(answer.declined)
        cited.append(any(c.pdf_page <= page <= c.last_page for c in answer.citations for page in _pages(gold)))
        if answer.declined:
            wrong.append(f"declined: {gold['question']}")
        elif rank is None or rank > 5:
            wrong.append(f"not among the first five: {gold['question']}")
    return Report(
        answerable=len(ranks),
        unanswerable=len(refused),
        recall_at_1=_mean([rank == 1 for rank in ranks]),
        recall_at_5=_mean([rank is not None and rank <= 5 for rank in ranks]),
        mean_reciprocal_rank=_mean([1 / rank if rank else 0.0 for rank in ranks]),
        page_cited=_mean(cited),
        citations=len(quotes),
        valid_quotes=_mean(quotes),
        declined_answerable=_mean(declined),
        declined_unanswerable=_mean(refused),
        retrieval_ms=statistics.median(retrieval_ms),
        answer_ms=statistics.median(answer_ms),
        wrong=tuple(wrong),
    )


def _valid(citation, paper_pages: list[Page], notes_pages: list[Page]) -> bool:
    pages = paper_pages if citation.source == "paper" else notes_pages
    return any(quote_is_on_page(citation.quote, page) for page in pages if page.pdf_page == citation.pdf_page)


def _mean(values: list) -> float:
    return sum(values) / len(values) if values else float("nan")
