"""How good the answers are, measured on questions whose page and key words are known."""

import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from app.assistant.answer import Answer, Citation
from app.assistant.assistant import Assistant
from app.assistant.grounding import quote_is_on_page
from app.assistant.index import read_sources
from app.assistant.known_questions import holds_answer, is_right, pages_of, with_answers
from app.assistant.readers.page import Page, bare

GOLD_QUESTIONS = Path(__file__).with_name("gold_questions.jsonl")
"""The repository's questions about the first paper, with their pages and key words."""


@dataclass(frozen=True)
class Figures:
    """What came of answerable questions, as shares of them.

    ``recall_at_1``, ``recall_at_5``: a passage that holds the answer (:func:`holds_answer`) is the first, or among the
    first five, that are retrieved; ``mean_reciprocal_rank``: of the first such passage. ``quoted``: a citation's quote
    holds the answer. ``page_cited``: a right page is cited. ``declined``: no answer was given.
    """

    questions: int
    recall_at_1: float
    recall_at_5: float
    mean_reciprocal_rank: float
    quoted: float
    page_cited: float
    declined: float


@dataclass(frozen=True)
class Report:
    """Figures over one file of gold questions; shares are of the answerable or of the unanswerable ones.

    See :class:`Figures`; ``kinds`` has them for the questions' kinds one by one. ``valid_quotes``: the share of all
    citations whose quote is on the page that they name. Times are medians, and the 95th percentile.
    """

    answerable: int
    unanswerable: int
    recall_at_1: float
    recall_at_5: float
    mean_reciprocal_rank: float
    quoted: float
    page_cited: float
    citations: int
    valid_quotes: float
    declined_answerable: float
    declined_unanswerable: float
    retrieval_ms: float
    retrieval_p95_ms: float
    answer_ms: float
    answer_p95_ms: float
    kinds: dict[str, Figures] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()

    def record(self) -> dict:
        return asdict(self)

    def readable(self) -> str:
        rows = [
            ("answerable questions", f"{self.answerable}"),
            ("  passage is first", f"{self.recall_at_1:.3f}"),
            ("  passage among the first five", f"{self.recall_at_5:.3f}"),
            ("  mean reciprocal rank", f"{self.mean_reciprocal_rank:.3f}"),
            ("  a quote holds the answer", f"{self.quoted:.3f}"),
            ("  a right page is cited", f"{self.page_cited:.3f}"),
            ("  declined", f"{self.declined_answerable:.3f}"),
            ("unanswerable questions", f"{self.unanswerable}"),
            ("  declined", f"{self.declined_unanswerable:.3f}"),
            ("citations", f"{self.citations}"),
            ("  quote is on the page", f"{self.valid_quotes:.3f}"),
            ("retrieval, median and 95 %", f"{self.retrieval_ms:.0f}, {self.retrieval_p95_ms:.0f} ms"),
            ("answer, median and 95 %", f"{self.answer_ms:.0f}, {self.answer_p95_ms:.0f} ms"),
        ]
        kinds = [
            f"  {name:<10}{f.questions:>5}{f.recall_at_1:>8.3f}{f.recall_at_5:>8.3f}{f.mean_reciprocal_rank:>8.3f}"
            f"{f.quoted:>8.3f}{f.page_cited:>8.3f}{f.declined:>10.3f}"
            for name, f in self.kinds.items()
        ]
        header = f"  {'kind':<10}{'n':>5}{'first':>8}{'five':>8}{'MRR':>8}{'quoted':>8}{'page':>8}{'declined':>10}"
        return "\n".join(
            [*(f"{name:<32}{value:>12}" for name, value in rows), header, *kinds, *(f"! {line}" for line in self.wrong)]
        )


@dataclass(frozen=True)
class _Outcome:
    """What came of one question; ``rank`` is 0 when no passage was right."""

    gold: dict
    answer: Answer
    rank: int
    quoted: bool
    page_cited: bool
    retrieval_ms: float


def evaluate(assistant: Assistant, questions: list[dict]) -> Report:
    """Ask every question and compare.

    Raises:
        InputError: a question that is answerable names no page or no key words, or see :meth:`Assistant.open`.
    """
    with_answers(questions)
    by_page = not assistant.open().search.index.has_paper
    outcomes = [_asked(assistant, gold, by_page) for gold in questions]
    pages = [page for source in read_sources(assistant.paper, assistant.pdf) for page in source]
    citations = [citation for outcome in outcomes for citation in outcome.answer.citations]
    valid = [_is_valid(citation, pages) for citation in citations]
    answerable = [outcome for outcome in outcomes if outcome.gold.get("answerable", True)]
    unanswerable = [outcome for outcome in outcomes if not outcome.gold.get("answerable", True)]
    kinds = dict.fromkeys(outcome.gold.get("kind", "") for outcome in answerable)
    every = _figures(answerable)
    retrieval = [outcome.retrieval_ms for outcome in outcomes]
    answering = [1e3 * outcome.answer.seconds for outcome in outcomes]
    return Report(
        answerable=len(answerable),
        unanswerable=len(unanswerable),
        recall_at_1=every.recall_at_1,
        recall_at_5=every.recall_at_5,
        mean_reciprocal_rank=every.mean_reciprocal_rank,
        quoted=every.quoted,
        page_cited=every.page_cited,
        citations=len(citations),
        valid_quotes=_mean(valid),
        declined_answerable=every.declined,
        declined_unanswerable=_mean([outcome.answer.declined for outcome in unanswerable]),
        retrieval_ms=statistics.median(retrieval),
        retrieval_p95_ms=_p95(retrieval),
        answer_ms=statistics.median(answering),
        answer_p95_ms=_p95(answering),
        kinds={kind: _figures([o for o in answerable if o.gold.get("kind", "") == kind]) for kind in kinds if kind},
        wrong=(
            *(line for outcome in outcomes if (line := _wrong(outcome))),
            *(
                f"quote not on page {citation.pdf_page}: {citation.quote[:80]}"
                for citation, is_valid in zip(citations, valid, strict=True)
                if not is_valid
            ),
        ),
    )


def _asked(assistant: Assistant, gold: dict, by_page: bool) -> _Outcome:
    start = time.perf_counter()
    hits = assistant.retrieve(gold["question"], k=10)
    retrieval_ms = 1e3 * (time.perf_counter() - start)
    answer = assistant.ask(gold["question"])
    if not gold.get("answerable", True):
        return _Outcome(gold, answer, 0, False, False, retrieval_ms)
    right = [holds_answer(hit.chunk, gold, by_page) for hit in hits]
    quoted = [
        is_right(c.pdf_page, c.last_page, bare(c.quote).lower(), gold, by_page and c.source == "notes")
        for c in answer.citations
    ]
    cited = any(c.pdf_page <= page <= c.last_page for c in answer.citations for page in pages_of(gold))
    return _Outcome(gold, answer, right.index(True) + 1 if any(right) else 0, any(quoted), cited, retrieval_ms)


def _wrong(outcome: _Outcome) -> str:
    question = outcome.gold["question"]
    if not outcome.gold.get("answerable", True):
        return "" if outcome.answer.declined else f"answered: {question}"
    if outcome.answer.declined:
        return f"declined: {question}"
    return "" if 0 < outcome.rank <= 5 else f"not among the first five: {question}"


def _figures(outcomes: list[_Outcome]) -> Figures:
    return Figures(
        len(outcomes),
        _mean([outcome.rank == 1 for outcome in outcomes]),
        _mean([0 < outcome.rank <= 5 for outcome in outcomes]),
        _mean([1 / outcome.rank if outcome.rank else 0.0 for outcome in outcomes]),
        _mean([outcome.quoted for outcome in outcomes]),
        _mean([outcome.page_cited for outcome in outcomes]),
        _mean([outcome.answer.declined for outcome in outcomes]),
    )


def _is_valid(citation: Citation, pages: list[Page]) -> bool:
    return any(
        quote_is_on_page(citation.quote, page)
        for page in pages
        if page.pdf_page == citation.pdf_page and page.source == citation.source
    )


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def _mean(values: list) -> float:
    return sum(values) / len(values) if values else float("nan")
