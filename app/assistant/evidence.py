"""Where in a passage a question is answered best: the place, and what speaks for it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from app.assistant.alignment import Reading
from app.assistant.chunking import Chunk
from app.assistant.known_questions import Recalled
from app.assistant.question import Question, Term, holds_fact
from app.assistant.retrieval import Hit, Search
from app.assistant.terms import stem, tokens, words

WEIGHTS: dict[str, dict[str, dict[str, float]]] = json.loads(
    (Path(__file__).parent / "weights.json").read_text(encoding="utf-8")
)  # fmt: skip
"""What a place's merit is made of ("merit") and what speaks for an answer ("answer"), for papers with known questions
("known") and for all others ("plain"); fitted by :mod:`app.assistant.fitting`."""

_ENTITY_WEIGHT = 1.5
_ASKING_WEIGHT = 0.3
_BESIDE, _SAME_WORD, _ABOVE = 0.85, 0.8, 0.7
"""What counts as a match: one in the sentence before, this much of it; the very word in the sentence, at least this
much; the very word before it, in headings or in a table's title, this much."""
_MANY = ("dozens", "hundreds", "thousands", "millions", "billions", "single", "several")
_EXACT = 0.6
"""What a number of just the things that are counted is worth beside the share of matched words, in choosing a place."""
LOOSE_FACTS = ("count", "memory", "percent")
"""Kinds of values that may stand a sentence away from what they are about."""


@dataclass(frozen=True)
class Evidence:
    """The best place for a question in one passage: two neighbouring sentences, or a row with its table's title.

    ``coverage`` is the share of the question's content words that stand there, weighted by rarity; ``fact`` whether it
    has a value of the kind that is asked for, ``exact`` whether it counts just the things that are counted in the
    question or is the table's row of the thing that it names, ``rows`` the table's rows that it names alike; ``order``
    is the sentence's place in the passage. ``matched`` tells for each word of the question how well this place matches
    it (0 to 1), ``reached`` the same for the whole passage; ``meant`` is (words, windows), how well each of the
    passage's windows matches it in meaning: a word that stands there in another sense counts little. ``features`` are
    what ``merit`` is made of, by which places are ordered; ``comparable`` is the merit without what only some papers
    have, the known questions, by which places of several papers are. ``familiar`` is what those say of the question.
    """

    hit: Hit
    order: int
    coverage: float
    fact: bool
    missing: tuple[str, ...]
    exact: bool = False
    rows: tuple[int, ...] = ()
    merit: float = 0.0
    comparable: float = 0.0
    matched: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)
    reached: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False, compare=False)
    meant: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)), repr=False, compare=False)
    features: dict[str, float] = field(default_factory=dict, repr=False, compare=False)
    familiar: dict[str, float] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Window:
    """A sentence or row with what belongs to it: ``own`` stems, ``stems`` also of the sentence before or of the table's
    title, and of the headings. ``sentence`` and ``before`` are numbers in ``Index.pieces`` (-1 for none)."""

    order: int
    own: frozenset[str]
    stems: frozenset[str]
    text: str
    row: bool
    sentence: int
    before: int


class Places:
    """Finds the best place in each passage of one index."""

    def __init__(self, search: Search):
        self.search = search
        self.long = {short: frozenset(tokens(long)) for short, long in search.index.abbreviations.items()}
        self._stems = lru_cache(maxsize=None)(self._stems_of)
        self._windows = lru_cache(maxsize=None)(self._windows_of)

    @cached_property
    def _position(self) -> dict[tuple[int, int], int]:
        return {pair: position for position, pair in enumerate(self.search.index.sentence_of)}

    def _stems_of(self, text: str) -> frozenset[str]:
        stems = set(tokens(text))
        for short, long in self.long.items():
            if short in stems:
                stems |= long
            elif long <= stems:
                stems.add(short)
        return frozenset(stems)

    def windows(self, number: int) -> tuple[Window, ...]:
        """Every place in the passage that can be quoted."""
        return self._windows(number)

    def _windows_of(self, number: int) -> tuple[Window, ...]:
        chunk = self.search.index.chunks[number]
        heading = self._stems(f"{chunk.label} {chunk.heading}")
        titles = [s.text for s in chunk.sentences if not s.row]
        rows = [s.text for s in chunk.sentences if s.row][: chunk.header]
        above = self._stems(" ".join([*titles, *rows]))
        found = []
        for order, sentence in enumerate(chunk.sentences):
            if sentence.formula:
                continue
            follows = bool(order) and not sentence.row and not sentence.drawn
            before = self._stems(chunk.sentences[order - 1].text) if follows else frozenset()
            around = above if sentence.row else before
            own = self._stems(sentence.text)
            found.append(
                Window(
                    order,
                    own,
                    heading | around | own,
                    sentence.text,
                    sentence.row,
                    self._position.get((number, order), -1),
                    self._position.get((number, order - 1), -1) if follows else -1,
                )
            )
        return tuple(found)

    def weight(self, term: Term) -> float:
        """How much a word of the question tells: its rarity, more for a name, less for one that only asks."""
        factor = _ENTITY_WEIGHT if term.entity else _ASKING_WEIGHT if term.asking else 1.0
        return self.search.rarity(term.stem) * factor

    def best(
        self, question: Question, reading: Reading, hits: Sequence[Hit], recalled: Recalled | None = None
    ) -> list[Evidence]:
        """The place in each passage that matches most of the question and has a value of the kind that it asks for.

        What the notes say in other words about the same passage counts for the words that the question uses.
        """
        windows = [self._all_windows(hit) for hit in hits]
        sentences = sorted({n for group in windows for w in group for n in (w.sentence, w.before) if n >= 0})
        stems = [term.stem for term in question.words]
        matches = reading.matches(stems, self.search.index.pieces, sentences)  # (words, sentences)
        column = {sentence: number for number, sentence in enumerate(sentences)}
        column[-1] = len(sentences)  # references have no vectors: nothing matches there but their own words
        matches = np.pad(matches, ((0, 0), (0, 1)))
        return [
            self._best(question, hit, group, recalled, *self._matched(question, group, matches, column))
            for hit, group in zip(hits, windows, strict=True)
        ]

    def _all_windows(self, hit: Hit) -> list[Window]:
        """The passage's own places, then those of the notes that say it in other words."""
        notes = self.search.index.rewordings.get(hit.number, ())
        return [window for number in (hit.number, *notes) for window in self.windows(number)]

    def _best(
        self,
        question: Question,
        hit: Hit,
        every: list[Window],
        recalled: Recalled | None,
        matched: np.ndarray,
        meant: np.ndarray,
    ) -> Evidence:
        chunk, own = hit.chunk, self.windows(hit.number)
        assert own, "a passage without a sentence that can be quoted"
        there = np.array([[term.stem in window.stems for window in every] for term in question.words], bool)
        inside = np.array([[term.stem in window.own for window in own] for term in question.words], bool)
        weights = np.array([self.weight(term) for term in question.words])
        content = np.array([0.0 if term.asking else 1.0 for term in question.words]) * weights
        coverage, aligned = _share(content, there), _share(weights, matched)
        direct = _share(content, inside)
        named = self._named_rows(question, chunk)
        counted = [self._counts(question, chunk, window) for window in own]
        exact = np.array([c or named.get(w.order, 0) > 0.95 for c, w in zip(counted, own, strict=True)], bool)
        # Words drawn in a figure have lost their places: which number belongs to what cannot be told from them.
        drawn = np.array([chunk.sentences[window.order].drawn for window in own], bool)
        here = np.array([bool(question.fact) and holds_fact(question.fact, window.text) for window in own], bool)
        here &= ~drawn
        row = np.array([window.row and window.order not in named for window in own], bool)
        names = np.array([named.get(window.order, 0.0) for window in own])
        count = len(own)
        speaks = coverage[:count] + 0.5 * direct + aligned[:count] + _EXACT * exact + 0.25 * here + 2.0 * names
        value = speaks - row - drawn
        place = int(value.argmax())
        loose = question.fact in LOOSE_FACTS
        reached = matched.max(axis=1) if len(matched) else np.zeros(0)
        wording = int(aligned.argmax()) if aligned.max() > aligned[place] else place
        top = max(named.values(), default=0.0)
        features = {
            "similar": hit.score,
            "by_sentence": hit.by_sentence,
            "by_words": hit.by_words,
            "words": hit.words_share,
            "named": hit.named,
            "aligned": float(aligned.max()),
            "aligned_place": float(aligned[place]),
            "aligned_passage": float(weights @ reached) / (weights.sum() or 1.0),
            "fact": float(here[place]),
            "exact": float(exact[place]),
            "table": float(chunk.kind == "table"),
            "notes": float(chunk.source == "notes"),
        }
        comparable = merit = _merit("plain", features)
        if recalled:
            features |= {
                "known": recalled.alike.get(hit.number, 0.0),
                "known_place": recalled.shares.get(hit.number, 0.0),
            }
            merit = _merit("known", features)
        return Evidence(
            hit,
            own[place].order,
            float(coverage.max()),
            holds_fact(question.fact, chunk.text if loose else own[place].text),
            tuple(
                t.text for t, known in zip(question.words, there.any(axis=1), strict=True) if not (known or t.asking)
            ),
            bool(exact[place]),
            tuple(order for order, share in named.items() if share >= 0.99 * top),
            merit,
            comparable,
            matched[:, wording],
            reached,
            meant,
            features,
            recalled.features if recalled else {},
        )

    @staticmethod
    def _matched(
        question: Question, windows: Sequence[Window], matches: np.ndarray, column: dict[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """How well each word of the question is matched in each window, 0 to 1, and how well in meaning alone: twice
        (words, windows). In a row, which has no sense of its own, the words of the table's title and header count."""
        close = matches[:, [column[window.sentence] for window in windows]]
        before = [number for number, window in enumerate(windows) if window.before >= 0]
        if before:
            columns = [column[windows[number].before] for number in before]
            close[:, before] = np.maximum(close[:, before], _BESIDE * matches[:, columns])
        meant = close.copy()
        rows = np.array([window.row for window in windows], bool)
        for row, term in enumerate(question.words):
            inside = np.array([term.stem in window.own for window in windows], bool)
            around = np.array([term.stem in window.stems for window in windows], bool)
            if term.exact:
                close[row] = meant[row] = np.where(inside, 1.0, np.where(around, _ABOVE, 0.0))
            else:
                floor = np.where(inside, _SAME_WORD, np.where(around, _ABOVE, 0.0))
                close[row] = np.maximum(close[row], floor)
                meant[row] = np.maximum(meant[row], np.where(rows & around, _ABOVE, 0.0))
        return close, meant

    def _counts(self, question: Question, chunk: Chunk, window: Window) -> bool:
        """Whether a number of the very things that are counted stands there: "35 different languages" for "how many
        languages", or a value in a table's column of that name."""
        if not question.unit:
            return False
        units = {question.unit, *(term.stem for term in question.asked)}
        if not window.row:
            return _number_beside(units, window.text, after=0)
        above = [s.text for s in chunk.sentences if s.row][: chunk.header]
        return _number_beside(units, window.text, after=1) or question.unit in self._stems(" ".join(above))

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


def _merit(kind: str, features: dict[str, float]) -> float:
    return sum(weight * features[name] for name, weight in WEIGHTS[kind]["merit"].items())


def _share(weights: np.ndarray, matched: np.ndarray) -> np.ndarray:
    """Weighted mean over the words: (words,), (words, windows) -> (windows,)."""
    if not len(weights):
        return np.zeros(matched.shape[1] if matched.ndim == 2 else 0)
    return weights @ matched / (weights.sum() or 1.0)


def _number_beside(units: set[str], text: str, after: int) -> bool:
    """Whether a number stands up to three words before one of the units, or up to ``after`` words behind it."""
    found = words(text)
    return any(
        stem(word) in units
        and any(other[:1].isdigit() or other in _MANY for other in found[max(0, position - 3) : position + 1 + after])
        for position, word in enumerate(found)
    )
