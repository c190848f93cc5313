"""What counting words cannot see: the same words in another relation.

Each check compares a claim with one sentence of a passage that shares its words, and returns where they disagree, if
they do. They are heuristics over word order; what they are worth is measured on the labelled statements of the tests.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.assistant.checking.claims import Word
from app.assistant.checking.wording import REASONS, SOFT_NEGATIONS, UNITS, comparison, opposites, same

_BESIDE = 5
_SOFT_REACH = 4
_CONTRARY = (("from", "to"), ("through", "to"), ("before", "after"), ("with", "without"))

Words = Sequence[Word]


def gives_reason(words: Words) -> bool:
    """Whether it says why something is so."""
    return any(word.text in REASONS for word in words)


@dataclass(frozen=True)
class Disagreement:
    """The claim's word that a passage disagrees about, and how."""

    word: Word
    reason: str


def makes_comparison(words: Words) -> bool:
    """Whether it says that one thing has more of something than another, in words."""
    return any(True for _ in _comparisons(words))


def find(word: Word, words: Words) -> list[Word]:
    """Where a sentence has the word or one that means the same."""
    return [other for other in words if same(word.stem, other.stem)]


def content(words: Words) -> list[Word]:
    return [word for word in words if not word.is_filler]


def negated(claim: Words, sentence: Words, names: frozenset[str] = frozenset()) -> Disagreement | None:
    """One of the two says "not" about a word and the other does not."""
    for one, other in ((claim, sentence), (sentence, claim)):
        light = any(word.head == 1 and word.is_light for word in one)
        for word in one:
            if word.is_number or not (word.head == 1 or (light and word.head)):
                continue
            found = find(word, content(other))
            if not found or any(match.head or _softly_denied(match, other) for match in found):
                continue
            how = "the passage does not deny it" if one is claim else "the passage denies it"
            return Disagreement(word if one is claim else found[0], f"“{word.text}”: {how}")
    return None


def _softly_denied(word: Word, words: Words) -> bool:
    before = [o for o in words if 0 < word.position - o.position <= _SOFT_REACH and o.clause == word.clause]
    return any(other.text in SOFT_NEGATIONS for other in before)


def compared_otherwise(claim: Words, sentence: Words, names: frozenset[str] = frozenset()) -> Disagreement | None:
    """The comparison runs the other way: "A is better than B" where the passage has B before A."""
    return _turned(
        list(_comparisons(claim)), list(_comparisons(sentence)), "the passage compares them the other way round"
    )


def turned_around(claim: Words, sentence: Words, names: frozenset[str] = frozenset()) -> Disagreement | None:
    """What is brought "to" what: "the weights to the adapters" where the passage has the adapters to the weights."""
    here = list(_directions(claim))
    there = [
        item
        for item in _directions(sentence)
        if any(_shared(one, item[3]) and _shared(two, item[2]) for _, _, one, two in here)
    ]
    return _turned(here, there, "the passage has it the other way round")


def _turned(here: list[tuple], there: list[tuple], reason: str) -> Disagreement | None:
    for word, sign, one, other in here:
        both = {shared.stem for shared in one} & {shared.stem for shared in other}
        left, right = ([item for item in side if item.stem not in both] for side in (one, other))
        agreeing = set()
        for _, contrary, first, second in there:
            along, across = (
                (_shared(left, first), _shared(right, second)),
                (_shared(left, second), _shared(right, first)),
            )
            straight, crossed = sum(along), sum(across)
            if max(straight, crossed) > 2 * min(straight, crossed) or (all(across) and crossed > straight):
                agreeing.add(sign * contrary * (straight - crossed) > 0)
        if agreeing == {False}:
            return Disagreement(word, reason)
    return None


def _directions(words: Words) -> Iterator[tuple[Word, int, list[Word], list[Word]]]:
    """Of every "to" or "into" that leads somewhere, what stands on its left and behind it, like a comparison."""
    for word, following in pairwise(words):
        if word.text in ("to", "into") and following.role == "to":
            left = [
                w for w in content(words) if w.clause == word.clause and 0 < word.position - w.position <= _BESIDE * 2
            ]
            right = [w for w in content(words) if w.role == "to" and 0 < w.position - word.position <= _BESIDE]
            if left and right:
                yield right[0], 1, left, right


def _comparisons(words: Words) -> Iterator[tuple[Word, int, list[Word], list[Word]]]:
    """Of every comparison its word with its sign, and what stands on its left and behind its "than"."""
    for word in words:
        sign = comparison(word.text)
        after = [other for other in words if other.position > word.position]
        pivots = [w for w in after if w.text == "than" or (w.text in ("to", "with") and _follows_compared(w, words))]
        pivots = pivots or [w for w in after[:2] if w.text in ("to", "behind") or word.text == "behind"]
        pivots = pivots or [w for w in after[:_BESIDE] if w.text == "over"]
        verb = word.text.startswith(("outperform", "beat", "surpass", "exceed", "underperform"))
        if not sign or not (pivots or verb):
            continue
        if verb and any(w.text == "by" and w.position == word.position + 1 for w in after):
            sign = -sign
        pivot = word if verb else pivots[0]
        left = [w for w in content(words) if -_BESIDE * 2 <= w.position - word.position < 0]
        right = [w for w in content(after) if 0 < w.position - pivot.position <= _BESIDE * 2]
        role = right[0].role if right else ""
        right = [w for n, w in enumerate(right) if w.role == role and n < _BESIDE]
        if any(not w.is_number and w.text not in UNITS for w in right):
            yield word, sign, left, right


def _follows_compared(word: Word, words: Words) -> bool:
    return any(w.text in ("compared", "relative") and w.position == word.position - 1 for w in words)


def _shared(one: list[Word], other: list[Word]) -> int:
    return sum(bool(find(word, other)) for word in {word.stem: word for word in one}.values())


def directed_otherwise(claim: Words, sentence: Words, names: frozenset[str] = frozenset()) -> Disagreement | None:
    """What comes "from" a place in the claim goes "to" it in the passage, or the like."""
    for role, contrary in (*_CONTRARY, *((other, one) for one, other in _CONTRARY)):
        behind = [word for word in content(claim) if word.role == role and not word.is_light]
        if not behind or not any(word.role == contrary for word in sentence):
            continue
        straight = sum(any(match.role == role for match in find(word, sentence)) for word in behind)
        crossed = sum(any(match.role == contrary for match in find(word, sentence)) for word in behind)
        both = any(word.role == contrary for word in claim)
        if crossed >= 2 and crossed > 2 * straight and (both or crossed == len(behind)):
            reason = f"“{role} … {behind[0].text}”: the passage has it behind “{contrary}”"
            return Disagreement(behind[0], reason)
    return None


def opposed(claim: Words, sentence: Words, names: frozenset[str] = frozenset()) -> Disagreement | None:
    """The passage has the opposite of a word and not the word itself."""
    here, there = ({word.text for word in words} for words in (claim, sentence))
    for word in claim:
        found = (opposites(word.text) & there) - here
        if found and not find(word, sentence):
            return Disagreement(word, f"“{word.text}”: the passage says “{min(found)}”")
    return None
