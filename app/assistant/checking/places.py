"""The places of a passage that can support a sentence, and how well one does."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from app.assistant.checking.claims import Word, words_of
from app.assistant.checking.relations import find, gives_reason, makes_comparison
from app.assistant.checking.wording import alike
from app.assistant.chunking import Chunk
from app.assistant.terms import words

_NUMBER_WEIGHT, _NAME_WEIGHT, _LIGHT_WEIGHT = 1.5, 1.5, 0.35
_OWN, _PAIRED, _HARD = 0.5, 0.4, 0.15
"""What a place's merit is made of beside the share of the words that it has: those in the very sentence, those that
stand together as in the claim, and numbers and names that it lacks."""
_ROW = 0.7
"""A table's row has few of a sentence's words itself; the others stand in the caption."""
_REACH = 7

Expand = Callable[[Iterable[str]], frozenset[str]]


@dataclass(frozen=True)
class Place:
    """A sentence of a passage with its neighbours, or a table's row with the caption and the header.

    ``own`` are its words, ``before`` those of the sentence before (of a row: the caption and header) and of the
    headings, ``after`` those of the sentence after. ``rivals`` are the names of a table's other rows, ``names`` all
    words that the papers write as names.
    """

    chunk: Chunk
    order: int
    own: tuple[Word, ...]
    before: tuple[tuple[Word, ...], ...]
    after: tuple[tuple[Word, ...], ...]
    own_stems: frozenset[str]
    before_stems: frozenset[str]
    stems: frozenset[str]
    names: frozenset[str]
    rivals: frozenset[str] = frozenset()

    @property
    def is_row(self) -> bool:
        return self.chunk.sentences[self.order].row

    @property
    def text(self) -> str:
        return self.chunk.sentences[self.order].text

    @property
    def sentences(self) -> tuple[tuple[Word, ...], ...]:
        """What a claim is compared with, word order included."""
        return (self.own,) if self.is_row else (self.own, *self.before[:1], *self.after)

    @cached_property
    def groups(self) -> frozenset[int]:
        return frozenset().union(*map(alike, self.stems))

    @cached_property
    def own_groups(self) -> frozenset[int]:
        return frozenset().union(*map(alike, self.own_stems))

    @cached_property
    def own_names(self) -> frozenset[str]:
        return frozenset(word.text for word in self.own if word.text in self.names)

    @cached_property
    def makes_comparison(self) -> bool:
        return any(map(makes_comparison, self.sentences))

    @cached_property
    def gives_reason(self) -> bool:
        return any(map(gives_reason, self.sentences))

    def has(self, word: Word, names: frozenset[str], claimed: frozenset[str]) -> bool:
        """Whether a word of a claim stands here. ``names`` are the claim's names, ``claimed`` all of its words.

        A row must have a number itself or in its caption, not in the row that happens to be its header. A name may
        stand in the sentence before, unless this one speaks of another, and never only in the sentence after.
        """
        if self.has_itself(word):
            return True
        if self.is_row:
            if word.text in names and word.text in self.rivals:
                return False
            return not word.is_number and self._near(word)
        if word.text in names:
            return word.stem in self.before_stems and not self.own_names - claimed
        return self._near(word)

    def has_itself(self, word: Word) -> bool:
        return word.stem in self.own_stems or bool(alike(word.stem) & self.own_groups)

    def _near(self, word: Word) -> bool:
        return word.stem in self.stems or bool(alike(word.stem) & self.groups)


def places_of(chunk: Chunk, expand: Expand, names: frozenset[str]) -> Iterator[Place]:
    """Every sentence and row of a passage. ``expand`` adds to stems the long and short forms of abbreviations."""
    heading = words_of(f"{chunk.label} {chunk.heading}")
    rows = [sentence.text for sentence in chunk.sentences if sentence.row]
    titles = [sentence.text for sentence in chunk.sentences if not sentence.row]
    firsts = {word for row in rows for word in words(row.partition(":")[0])}
    for order, sentence in enumerate(chunk.sentences):
        own, rivals = words_of(sentence.text), frozenset()
        if sentence.row:
            before, after = [words_of(text) for text in (*titles, *rows[: chunk.header])], []
            rivals = frozenset(firsts - {word.text for word in own})
        else:
            before = [words_of(chunk.sentences[order - 1].text)] if order else [()]
            following = chunk.sentences[order + 1 : order + 2]
            after = [words_of(other.text) for other in following if not other.row]
        groups = (own, *before, heading)
        before_stems = expand(word.stem for group in groups for word in group)
        stems = before_stems | expand(word.stem for group in after for word in group)
        own_stems = expand(word.stem for word in own)
        yield Place(chunk, order, own, (*before, heading), tuple(after), own_stems, before_stems, stems, names, rivals)


@dataclass
class Match:
    """How well a place supports a sentence: the words that it lacks and their ``share`` by weight, the share of
    neighbouring words that are ``paired`` there too, what it ``contradicts``, and the passage's cosine with it."""

    place: Place
    missing: list[Word]
    share: float
    paired: float
    merit: float
    contradicts: str = ""
    similar: float = 1.0


def match(claim: Sequence[Word], subject: frozenset[str], names: frozenset[str], place: Place) -> Match:
    """Hold a sentence against a place. ``subject`` are words that need not stand there: what the paper is about."""

    def weight(word: Word) -> float:
        if word.is_number:
            return _NUMBER_WEIGHT
        return _NAME_WEIGHT if word.text in names else _LIGHT_WEIGHT if word.is_light else 1.0

    content = list({w.stem: w for w in claim if not w.is_filler and w.text not in subject}.values())
    claimed = frozenset(word.text for word in claim) | subject
    total = sum(map(weight, content)) or 1.0
    missing = [word for word in content if not place.has(word, names, claimed)]
    share = sum(map(weight, missing)) / total
    there = 1 - sum(weight(word) for word in content if not place.has_itself(word)) / total
    there = max(there, _ROW) if place.is_row else there
    merit = 1 - share + _OWN * there - _HARD * sum(word.is_number or word.text in names for word in missing)
    if merit < _OWN:
        return Match(place, missing, share, 0.0, merit)
    spoken = [word for word in claim if not word.is_filler]
    pairs = [(one, two) for one, two in pairwise(spoken) if one.clause == two.clause]
    groups = (place.own, *place.before, *place.after)
    paired = sum(any(_beside(one, two, group) for group in groups) for one, two in pairs) / (len(pairs) or 1)
    paired = paired if pairs else 1.0
    return Match(place, missing, share, paired, merit + _PAIRED * paired)


def _beside(one: Word, two: Word, group: Sequence[Word]) -> bool:
    return any(abs(a.position - b.position) <= _REACH for a in find(one, group) for b in find(two, group))
