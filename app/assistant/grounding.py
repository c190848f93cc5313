"""Does the paper answer this question, and does it really say what is quoted?

A similarity threshold cannot tell: a question about a model that the paper never trained is as similar to its passages
as one about a model that it did. So it is looked at what the question names and asks for, word by word, and whether one
place of the paper has it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from app.assistant.alignment import Reading
from app.assistant.evidence import WEIGHTS, Evidence, Places
from app.assistant.known_questions import KnownQuestions, Recalled
from app.assistant.question import MEASURES, Question, Term, names_with_sizes, parse
from app.assistant.readers.page import Page, bare
from app.assistant.retrieval import Hit, Search
from app.assistant.statements import unstated
from app.assistant.terms import listed, plain, stem
from app.assistant.together import around, by_length, kinds_missing, together

LOOKED_AT = 20
"""Passages that are read for a question; five are cited at most."""
_UNMATCHED = 0.45
"""Cosine of two words' vectors under which they have nothing to do with each other."""
_LITERAL = 0.7
"""Match of a word that stands there itself."""
_NEAR_BEST = 0.7
"""A passage answers too when it matches this much of what the best one matches of the question."""
_NOTHING = "No passage is about this."
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
class Verdict:
    """Whether the passages answer the question; ``support`` (0 to 1) is how likely they do, ``reason`` is for the
    visitor when they do not. ``missing`` are the words that were looked for in vain."""

    answers: bool
    support: float
    reason: str = ""
    missing: tuple[str, ...] = ()


class Grounding:
    """Finds and judges the places of one paper that answer; ``known`` are the questions that readers ask about it."""

    def __init__(self, search: Search, known: KnownQuestions | None = None):
        self.search, self.known = search, known
        self.places = Places(search)

    def rank(self, question: Question, looked_at: int = LOOKED_AT) -> list[Evidence]:
        """The best place in each of the passages nearest to the question, in order of merit."""
        reading = self.search.read(question.text)
        return self.look(self._read(question, reading.text), reading, looked_at)

    def look(self, question: Question, reading: Reading, looked_at: int = LOOKED_AT) -> list[Evidence]:
        """The same for a question that is read already."""
        recalled = self.recall(reading)
        hits = self.search.find(reading, looked_at, recalled.alike if recalled else None)
        found = self.places.best(question, reading, hits, recalled)
        return sorted(found, key=lambda item: -item.merit)

    def recall(self, reading: Reading) -> Recalled | None:
        """What the known questions say of this one; None for a paper without any."""
        return self.known.recall(reading, parse(reading.text), self.places.weight) if self.known else None

    def evidence(self, question: Question, hit: Hit) -> Evidence:
        """The best place for the question in this passage."""
        reading = self.search.read(question.text)
        return self.places.best(self._read(question, reading.text), reading, [hit], self.recall(reading))[0]

    def find(self, text: str, k: int) -> list[Hit]:
        """The ``k`` best passages for the question."""
        return [item.hit for item in self.rank(parse(text), max(k, LOOKED_AT))[:k]]

    @staticmethod
    def _read(question: Question, text: str) -> Question:
        return question if text == question.text else parse(text)

    def judge(self, question: Question, ranked: list[Evidence]) -> tuple[Verdict, list[Evidence]]:
        """Whether the question is answered, and the places that answer it, best first.

        It is not when it names something that the paper never names, or when too little speaks for it: words that no
        place matches, names that do not stand beside the rest, no value of the kind that is asked for.
        """
        return self.verdict(self._read(question, self.search.spelling.correct(question.text)), ranked)

    def verdict(self, question: Question, ranked: list[Evidence]) -> tuple[Verdict, list[Evidence]]:
        """The same for a question whose spelling is corrected already."""
        if refusal := self.refusal_by_name(question):
            return refusal, []
        if not ranked:
            return Verdict(False, 0.0, _NOTHING), []
        features = self.features(question, ranked)
        weights = WEIGHTS["known" if self.known else "plain"]["answer"]
        logit = sum(weight * features.get(name, 1.0) for name, weight in weights.items())
        support = float(1 / (1 + np.exp(-logit)))
        if logit >= 0:
            return Verdict(True, support), _answering(ranked)
        return self._refusal(question, ranked, support), []

    def refusal_by_name(self, question: Question) -> Verdict | None:
        """A refusal for what the question names, whatever search finds; None when the paper has a word for it."""
        if unknown := self.unknown_names(question):
            return not_mentioned(unknown)
        if not any(self.knows(term) for term in question.terms or question.words):
            return Verdict(False, 0.0, _NOTHING)
        return None

    def unknown_names(self, question: Question) -> list[str]:
        """What the question names and the paper never does, as the visitor typed it."""
        unknown = [term.shown for term in question.terms if term.entity and not self.knows(term)]
        unknown += [version for version in question.versions if version not in self._text]
        for name, size in question.sized:
            known = self._sizes.get(stem(name.lower()))
            if known is not None and size not in known and size not in unknown:
                unknown.append(f"{name} {size}")
        return unknown

    def features(self, question: Question, ranked: list[Evidence]) -> dict[str, float]:
        """What speaks for an answer, as numbers; "answer" of :data:`WEIGHTS` weighs them."""
        weights = np.array([self.places.weight(term) for term in question.words])
        total = weights.sum() or 1.0
        best = ranked[0]
        anywhere = np.max([item.reached for item in ranked], axis=0)
        content = sorted(
            match for match, term in zip(best.matched, question.words, strict=True) if not term.asking
        ) or [0.0]
        asked = {term.stem for term in question.asked}
        unknown = np.array([not self.knows(term) for term in question.words])

        def of(matched: np.ndarray, chosen: Iterable[bool]) -> list[float]:
            return [float(match) for match, take in zip(matched, chosen, strict=True) if take]

        names = [term.entity for term in question.words]
        asked_for = of(best.matched, [t.stem in asked for t in question.words]) or [0.6]
        spoken = [term for term in question.words if not term.asking and not term.exact]
        matches = of(best.reached, [term in spoken for term in question.words])
        strange = [(1.0 - match) * self.uncommon(term) for match, term in zip(matches, spoken, strict=True)] or [0.0]
        found = {
            "aligned": float(weights @ best.matched) / total,
            "aligned_passage": float(weights @ best.reached) / total,
            "weak": float(weights @ (best.matched < _UNMATCHED)) / total,
            "weak_passage": float(weights @ (best.reached < _UNMATCHED)) / total,
            "weak_anywhere": float(weights @ (anywhere < _UNMATCHED)) / total,
            "least": float(content[0]),
            "second": float(content[min(1, len(content) - 1)]),
            "asked": float(np.mean(asked_for)),
            "asked_least": min(asked_for),
            "strangest": max(strange),
            "foreign": max([s for s, t in zip(strange, spoken, strict=False) if not self.knows(t)] or [0.0]),
            "absent": float(np.mean(of(1.0 - best.reached, [t.exact for t in question.words]) or [0.0])),
            "measure": float(
                any(t.stem in MEASURES and m < _LITERAL for t, m in zip(question.words, best.reached, strict=True))
            ),
            "strange": sum(strange),
            "named": min(of(best.matched, names) or [0.75]),
            "named_passage": min(of(best.reached, names) or [0.75]),
            "names": float(any(names)),
            "similar": best.hit.score,
            "most_similar": max(item.hit.score for item in ranked),
            "fact": best.features["fact"],
            "asks_fact": float(bool(question.fact)),
            "exact": float(best.exact),
            "counting": float(question.counted is not None),
            "unknown": float(weights @ unknown) / total,
            **together(question, ranked, weights),
            **kinds_missing(question, best),
            **{name: best.features[name] for name in ("known", "known_place") if self.known},
            **best.familiar,
        }
        return found | by_length(question, found)

    def _refusal(self, question: Question, ranked: list[Evidence], support: float) -> Verdict:
        if question.fact and not any(item.fact for item in ranked):
            missing = ranked[0].missing
            return Verdict(False, support, f"No passage about this gives {_FACT_NAMES[question.fact]}.", missing)
        if unsaid := unstated(question.text, around(ranked[0])):
            return Verdict(False, support, f"No passage about this says {unsaid[0]}.", ranked[0].missing)
        anywhere = np.max([item.reached for item in ranked], axis=0)
        strange = [
            term.shown
            for term, match in zip(question.words, anywhere, strict=True)
            if match < _UNMATCHED and not term.asking
        ]
        if strange:
            return Verdict(False, support, f"The paper says nothing about {listed(strange)}.", tuple(strange))
        missing = ranked[0].missing
        if missing:
            together = f"No passage brings {listed(list(missing))} together with the rest."
            return Verdict(False, support, together, missing)
        return Verdict(False, support, _NOTHING, missing)

    @cached_property
    def _text(self) -> str:
        return plain(" ".join(chunk.text for chunk in self.search.index.chunks)).replace("-", " ")

    @cached_property
    def _sizes(self) -> dict[str, set[str]]:
        """For the stem of every capitalised name that has a size somewhere in the paper, its sizes."""
        found: dict[str, set[str]] = {}
        for chunk in self.search.index.chunks:
            for sentence in chunk.sentences:
                for name, size in names_with_sizes(sentence.text):
                    if name != name.lower():
                        found.setdefault(stem(name.lower()), set()).add(size)
        return found

    def knows(self, term: Term) -> bool:
        return term.stem in self.search.idf or term.stem in self.places.long

    def uncommon(self, term: Term) -> float:
        """How uncommon the word is in English, 0 to 1: an everyday word may stand for another one, a technical one says
        what the question is about."""
        forms = [term.text, term.text.removesuffix("s"), term.text.removesuffix("ed"), term.stem]
        return min(self.search.embedder.dictionary.get(form, 1.1) for form in forms)

    def warm(self) -> None:
        """Do now what the first question would wait for."""
        self.search.search("warm up", 1)
        for number in range(len(self.search.index.chunks)):
            self.places.windows(number)
        self.unknown_names(parse("warm up"))
        if self.known:
            self.known.warm()


def _answering(ranked: list[Evidence]) -> list[Evidence]:
    """The best place and those that match nearly as much of the question. Where the best one is in the notes, which add
    what the paper's text lacks, a place of the paper has to match as much."""
    best = ranked[0].features["aligned_place"]
    least = {"paper": best if ranked[0].hit.chunk.source == "notes" else _NEAR_BEST * best, "notes": _NEAR_BEST * best}
    return [
        item for item in ranked if item is ranked[0] or item.features["aligned_place"] >= least[item.hit.chunk.source]
    ]


def not_mentioned(names: list[str]) -> Verdict:
    return Verdict(False, 0.0, f"The paper never mentions {listed(names)}.", tuple(names))


def quote_is_on_page(quote: str, page: Page) -> bool:
    """Whether the page's raw text has the quote, but for spaces and hyphens (:func:`bare`)."""
    return bool(bare(quote)) and bare(quote) in bare(page.raw_text)
