"""Does the paper answer this question, and does it really say what is quoted?

A similarity threshold cannot tell: a question about a model that the paper never trained is as similar to its passages
as one about a model that it did. So it is looked at what the question names and asks for, and whether one place of the
paper has it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from app.assistant.chunking import Chunk
from app.assistant.question import Question, Term, holds_fact, parse
from app.assistant.readers.page import Page, bare
from app.assistant.retrieval import Hit, Search
from app.assistant.terms import plain, stem, tokens, words

_SIMILAR = 1.0
LOOKED_AT = 15
"""Passages that are read for a question; five are cited at most."""
_ENTITY_WEIGHT = 1.5
_COVERAGE_SHARE = 0.55
_ENOUGH = 0.45
"""Least support of an answer; set on 120 questions of our own that are not the ones in the tests."""
_ENOUGH_UNNAMED = 0.5
"""The same where the very thing that is asked for is not named there, as a paraphrase may do."""
_STRANGE_SHARE = 0.45
"""A question may use words of its own; when nearly half of its weight is words that stand nowhere, it is about
something else."""

# What a place's merit is made of: its place in the fused ranking, its cosine with the question, the question's words
# there, in the very sentence and in the whole passage, a value of the kind that is asked for, an exact one, and being
# a table. Fitted (softmax over 15 passages) on 70 questions of our own that are not the ones in the tests, then
# rounded.
_RANK, _COSINE, _COVERAGE, _DIRECT, _PASSAGE, _FACT, _EXACT, _TABLE = 20.0, 0.4, 2.0, 1.0, 1.8, 0.7, 0.8, 0.4

_LOOSE_FACTS = ("count", "memory", "percent")
"""Kinds of values that may stand a sentence away from what they are about."""
_FACT_NAMES = {
    "money": "an amount of money",
    "link": "a link",
    "email": "an e-mail address",
    "date": "a date",
    "duration": "a duration",
    "memory": "an amount of memory",
    "percent": "a share",
    "count": "a number",
}


@dataclass(frozen=True)
class Evidence:
    """The best place for a question in one passage: two neighbouring sentences, or a row with its table's title.

    ``coverage`` is the share of the question's content words that stand there, weighted by rarity; ``fact`` whether it
    has a value of the kind that is asked for, ``exact`` whether it counts just the things that are counted in the
    question or is the table's row of the thing that it names, ``rows`` the table's rows that it names alike; ``order``
    is the sentence's place in the passage; places are ordered by ``merit``.
    """

    hit: Hit
    order: int
    coverage: float
    fact: bool
    missing: tuple[str, ...]
    exact: bool = False
    rows: tuple[int, ...] = ()
    merit: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """Whether the passages answer the question; ``reason`` is for the visitor when they do not.

    ``missing`` are the words that were looked for in vain.
    """

    answers: bool
    support: float
    reason: str = ""
    missing: tuple[str, ...] = ()


class Grounding:
    def __init__(self, search: Search):
        self.search = search
        self._long = {short: frozenset(tokens(long)) for short, long in search.index.abbreviations.items()}
        self._stems = lru_cache(maxsize=None)(self._stems_of)

    def _stems_of(self, text: str) -> frozenset[str]:
        stems = set(tokens(text))
        for short, long in self._long.items():
            if short in stems:
                stems |= long
            elif long <= stems:
                stems.add(short)
        return frozenset(stems)

    def rank(self, question: Question, looked_at: int = LOOKED_AT) -> list[Evidence]:
        """The best place in each of the passages nearest to the question, in order of merit."""
        hits = self.search.search(question.text, looked_at)
        return sorted((self.evidence(question, hit) for hit in hits), key=lambda item: -item.merit)

    def find(self, text: str, k: int) -> list[Hit]:
        """The ``k`` best passages for the question."""
        return [item.hit for item in self.rank(parse(text), max(k, LOOKED_AT))[:k]]

    def judge(self, question: Question, ranked: list[Evidence]) -> tuple[Verdict, list[Evidence]]:
        """Whether the question is answered, and the places that answer it, best first.

        It is not when it names something that the paper never names, when what is counted or asked for does not stand
        beside the rest of the question, when no such place has a value of the kind that is asked for, or when too
        little of the question is there at all.
        """
        unknown = [term.shown for term in question.terms if term.entity and not self.knows(term)]
        unknown += [version for version in question.versions if version not in self._text]
        if unknown:
            return Verdict(False, 0.0, f"The paper never mentions {_list(unknown)}.", tuple(unknown)), []
        total = sum(self.weight(term) for term in question.terms)
        strange = [term for term in question.terms if not self.knows(term)]
        share = sum(self.weight(term) for term in strange) / total if total else 0.0
        if share > _STRANGE_SHARE:
            names = [term.shown for term in strange]
            return Verdict(False, 0.0, f"The paper says nothing about {_list(names)}.", tuple(names)), []
        answering = [item for item in ranked if self._answers(question, item)]
        best = self.support(ranked[0]) if ranked else 0.0
        if answering and max(map(self.support, answering)) >= _ENOUGH:
            return Verdict(True, max(map(self.support, answering))), answering
        missing = (answering or ranked)[0].missing if ranked else tuple(term.text for term in question.terms)
        if question.fact and not any(item.fact for item in ranked):
            return Verdict(False, best, f"No passage about this gives {_FACT_NAMES[question.fact]}.", missing), []
        if missing:
            return Verdict(
                False, best, f"No passage brings {_list(list(missing))} together with the rest.", missing
            ), []
        return Verdict(False, best, "No passage is about this.", missing), []

    @staticmethod
    def support(item: Evidence) -> float:
        return _COVERAGE_SHARE * item.coverage + (1 - _COVERAGE_SHARE) * item.hit.score

    def _answers(self, question: Question, item: Evidence) -> bool:
        missing = set(item.missing)
        if question.counted and question.counted.text in missing:
            return False
        if (
            question.asked
            and all(term.text in missing for term in question.asked)
            and self.support(item) < _ENOUGH_UNNAMED
        ):
            return False
        entities = question.entities
        if entities and sum(self.weight(t) for t in entities if t.text in missing) > 0.5 * sum(
            map(self.weight, entities)
        ):
            return False
        return item.fact

    @cached_property
    def _text(self) -> str:
        return plain(" ".join(chunk.text for chunk in self.search.index.chunks)).replace("-", " ")

    def knows(self, term: Term) -> bool:
        return term.stem in self.search.idf or term.stem in self._long

    def windows(self, chunk: Chunk) -> Iterator[tuple[int, frozenset[str], str]]:
        """(sentence, stems, text) of every place in the passage; headings and a table's title belong to each of
        them."""
        heading = self._stems(f"{chunk.label} {chunk.heading}")
        titles = [s.text for s in chunk.sentences if not s.row]
        for order, sentence in enumerate(chunk.sentences):
            if sentence.formula:
                continue
            if sentence.row:
                rows = [s.text for s in chunk.sentences if s.row][: chunk.header]
                around = self._stems(" ".join([*titles, *rows]))
            else:
                around = self._stems(chunk.sentences[order - 1].text) if order else frozenset()
            yield order, heading | around | self._stems(sentence.text), sentence.text

    def weight(self, term: Term) -> float:
        return self.search.rarity(term.stem) * (_ENTITY_WEIGHT if term.entity else 1.0)

    def evidence(self, question: Question, hit: Hit) -> Evidence:
        """The place in the passage that has most of what the question names and a value of the kind that it asks
        for."""
        chunk = hit.chunk
        total = sum(self.weight(term) for term in question.terms) or 1.0
        named = self._named_rows(question, chunk)
        best: tuple[float, Evidence] | None = None
        for order, stems, text in self.windows(chunk):
            row = chunk.sentences[order].row
            missing = [term for term in question.terms if term.stem not in stems]
            coverage = 1.0 - sum(self.weight(term) for term in missing) / total
            own = self._stems(text)
            direct = sum(self.weight(term) for term in question.terms if term.stem in own) / total
            exact = _counts(question.unit, text) or (order in named and coverage > 0.95)
            fact = holds_fact(question.fact, chunk.text if question.fact in _LOOSE_FACTS else text)
            here = bool(question.fact) and holds_fact(question.fact, text)
            similar = hit.sentence_scores.get(order, 0.0)
            value = coverage + 0.5 * direct + _SIMILAR * similar + 0.3 * exact + 0.25 * here
            value += 2.0 * named.get(order, 0.0) - (row and order not in named)
            if best is None or value > best[0]:
                names = tuple(term.text for term in missing)
                top = max(named.values(), default=0.0)
                rows = tuple(other for other, share in named.items() if share >= 0.99 * top)
                best = (value, Evidence(hit, order, coverage, fact, names, exact, rows))
                near = _DIRECT * direct + _FACT * here
        assert best is not None, "a passage without a sentence that can be quoted"
        found = best[1]
        # What the notes say in other words about the same place counts for the words it was asked in.
        for note in self.search.index.rewordings.get(hit.number, ()):
            for _, stems, _ in self.windows(self.search.index.chunks[note]):
                missing = [term for term in question.terms if term.stem not in stems]
                coverage = 1.0 - sum(self.weight(term) for term in missing) / total
                if coverage > found.coverage:
                    found = replace(found, coverage=coverage, missing=tuple(term.text for term in missing))
        whole = self.search.documents[hit.number]
        there = sum(self.weight(term) for term in question.terms if whole[term.stem]) / total
        merit = _RANK * hit.rank_score + _COSINE * hit.score + _COVERAGE * found.coverage + _PASSAGE * there + near
        return replace(found, merit=merit + _EXACT * found.exact + _TABLE * (hit.chunk.kind == "table"))

    def _named_rows(self, question: Question, chunk: Chunk) -> dict[int, float]:
        """The table's rows that the question names, with how much of it they have: of its words that do not stand in
        the header, and so tell one row from another. Words of the caption tell less."""
        rows = [order for order, sentence in enumerate(chunk.sentences) if sentence.row]
        if not rows:
            return {}
        first = rows[0] + chunk.header
        header = self._stems(" ".join(chunk.sentences[order].text for order in range(rows[0], first)))
        title = self._stems(" ".join(sentence.text for sentence in chunk.sentences[: rows[0]]))
        telling = {
            term.stem: self.weight(term) * (0.5 if term.stem in title else 1.0)
            for term in question.terms
            if term.stem not in header
        }
        total = sum(telling.values())
        found = {}
        for order in rows[chunk.header :]:
            own = self._stems(chunk.sentences[order].text)
            if share := sum(weight for token, weight in telling.items() if token in own):
                found[order] = share / total
        return found

    def warm(self) -> None:
        """Do now what the first question would wait for."""
        self.search.search("warm up", 1)
        for chunk in self.search.index.chunks:
            for _ in self.windows(chunk):
                pass


def _counts(unit: str, text: str) -> bool:
    """Whether the text has a number of the things that are counted: "35 different languages" for "how many
    languages"."""
    if not unit:
        return False
    found = words(text)
    for position, word in enumerate(found):
        if stem(word) == unit and any(other[:1].isdigit() for other in found[max(0, position - 3) : position]):
            return True
    return False


def _list(names: list[str]) -> str:
    quoted = [f"“{name}”" for name in dict.fromkeys(names)]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def quote_is_on_page(quote: str, page: Page) -> bool:
    """Whether the page's raw text has the quote, but for spaces and hyphens (:func:`bare`)."""
    return bool(bare(quote)) and bare(quote) in bare(page.raw_text)
