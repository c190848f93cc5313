"""Numbers, and words with an opposite, that stand in the passage with another thing or unit than in the claim."""

from collections import Counter
from collections.abc import Callable, Sequence

from app.assistant.checking.claims import Word
from app.assistant.checking.relations import (
    Disagreement,
    Words,
    compared_otherwise,
    content,
    directed_otherwise,
    find,
    negated,
    opposed,
    turned_around,
)
from app.assistant.checking.wording import UNITS, opposites, same

_BREAK = 6
"""A clause's end counts like this many words when it is measured how near two words stand."""
_ELSEWHERE = 1.2
"""A value belongs to another thing when the other value stands this many times nearer to it."""
_LISTED = 3
"""Values this near to each other in the claim are a list, and each may stand with what the list is of."""


def disagreement(claim: Words, sentence: Words, names: frozenset[str]) -> Disagreement | None:
    """The first one that any of the checks finds. ``names`` are those of the claim's words that are names."""
    checks: tuple[Callable[[Words, Words, frozenset[str]], Disagreement | None], ...] = (
        negated,
        compared_otherwise,
        turned_around,
        directed_otherwise,
        opposed,
        measured_otherwise,
        bound_elsewhere,
    )
    return next((found for check in checks if (found := check(claim, sentence, names))), None)


def contradiction(claim: Words, sentences: Sequence[Words], names: frozenset[str]) -> str:
    """Why a place of a passage disagrees with a claim, or "": a sentence that is about the claim does, and no other
    one there that has the word in question agrees."""
    about = [sum(bool(find(word, sentence)) for word in content(claim)) for sentence in sentences]
    found = [disagreement(claim, sentence, names) for sentence in sentences]
    for number, one in enumerate(found):
        if one is None or about[number] < 0.5 * max(about):
            continue
        agreeing = [
            about[other]
            for other, sentence in enumerate(sentences)
            if found[other] is None and find(one.word, sentence)
        ]
        if about[number] >= max(agreeing, default=0):
            return one.reason
    return misplaced_value(claim, sentences, names)


def misplaced_value(claim: Words, sentences: Sequence[Words], names: frozenset[str]) -> str:
    """A number of the claim stands in the place, but in a sentence about something else."""
    for word in claim:
        if not word.is_number:
            continue
        holding = [sentence for sentence in sentences if any(other.text == word.text for other in sentence)]
        reasons = [_astray(word, claim, sentence, names) for sentence in holding]
        if reasons and all(reasons):
            return reasons[0]
        if holding and (rival := _rival_beside_names(word, claim, sentences, names)):
            return f"“{word.text}”: beside the name the passage has “{rival}”"
    return ""


def _astray(word: Word, claim: Words, sentence: Words, names: frozenset[str]) -> str:
    subject = [w for w in content(claim) if w.clause == word.clause and not w.is_number and not w.is_light]
    shared = sum(bool(find(other, sentence)) for other in subject)
    named = any(other.text in names and find(other, sentence) for other in subject)
    if len(subject) > 1 and shared < 0.5 * len(subject) and not named:
        return f"“{word.text}”: the passage gives it for something else"
    found = measured_otherwise(claim, sentence) or bound_elsewhere(claim, sentence, names)
    return found.reason if found and found.word == word else ""


def _rival_beside_names(word: Word, claim: Words, sentences: Sequence[Words], names: frozenset[str]) -> str:
    """The number of the same things that stands in the sentence with the claim's names, where the claim's does not."""
    named = {other.text for other in claim if other.clause == word.clause and other.text in names}
    things = _counted(word, claim)
    if not named or things is None or any(_holds(sentence, {*named, word.text}) for sentence in sentences):
        return ""
    for sentence in sentences:
        if _holds(sentence, named):
            for other in sentence:
                counted = _counted(other, sentence) if other.is_number else None
                if counted is not None and same(counted.stem, things.stem):
                    return other.text
    return ""


def _holds(sentence: Words, texts: set[str]) -> bool:
    return texts <= {word.text for word in sentence}


def _counted(number: Word, words: Words) -> Word | None:
    """The word behind a number: what it counts, or its unit."""
    behind = [word for word in content(words) if 0 < word.position - number.position <= 2]
    return behind[0] if behind and not behind[0].is_number else None


def unit_of(number: Word, words: Words) -> str:
    """The unit behind a number, "gb" of "24/48 GB" for both; "" when there is none."""
    for word in words:
        if word.position > number.position:
            if word.text in UNITS:
                return word.text.removesuffix("s")
            if not word.is_number or word.position > number.position + 3:
                return ""
    return ""


def measured_otherwise(claim: Words, sentence: Words, names: frozenset[str] = frozenset()) -> Disagreement | None:
    """A number of the claim has another unit in the passage."""
    for word in claim:
        if not word.is_number or not (unit := unit_of(word, claim)):
            continue
        units = {unit_of(other, sentence) for other in sentence if other.text == word.text}
        if units and unit not in units and "" not in units:
            return Disagreement(word, f"“{word.text} {unit}”: in the passage it is {word.text} {min(units)}")
    return None


def bound_elsewhere(claim: Words, sentence: Words, names: frozenset[str]) -> Disagreement | None:
    """A number, or one of two opposite words, stands in the passage with another thing than in the claim."""
    for word in claim:
        places = [other for other in find(word, sentence) if word.is_number == other.is_number]
        for rival in _rivals(word, places[0], sentence) if places else ():
            crossed, straight = _nearness_of(word, rival.text, claim, sentence, names)
            if swapped := next((other for other in claim if other.text == rival.text), None):
                if abs(swapped.position - word.position) <= _LISTED:
                    continue
                across, along = _nearness_of(swapped, word.text, claim, sentence, names)
                crossed, straight = crossed + across, straight + along
            if crossed > _ELSEWHERE * straight:
                return Disagreement(word, f"“{word.text}”: beside the rest the passage has “{rival.text}”")
    return None


def _rivals(word: Word, place: Word, sentence: Words) -> list[Word]:
    if not word.is_number:
        return [other for other in sentence if other.text in opposites(word.text)]
    unit = unit_of(place, sentence)
    rivals = [o for o in sentence if o.is_number and o.text != word.text and unit_of(o, sentence) == unit]
    return [other for other in rivals if other.text[-1].isdigit() == word.text[-1].isdigit()]


def _nearness_of(word: Word, rival: str, claim: Words, sentence: Words, names: frozenset[str]) -> tuple[float, float]:
    """How near what the claim says ``word`` of stands in the passage to ``rival``, and to the word itself."""
    context = []
    count = Counter(other.stem for other in claim)
    for other in content(claim):
        if other.is_number or other.is_light or count[other.stem] > 1 or other.text in (word.text, rival):
            continue
        if found := [match for match in content(sentence) if match.stem == other.stem]:
            context.append(((2.0 if other.text in names else 1.0) / (2 + _distance(other, word)), found))
    own = [other for other in sentence if same(other.stem, word.stem)]
    others = [other for other in sentence if other.text == rival]
    near, far = (max((_nearness(place, context) for place in places), default=0.0) for places in (others, own))
    return near, far


def _nearness(place: Word, context: list[tuple[float, list[Word]]]) -> float:
    return sum(weight / (2 + min(_distance(place, other) for other in found)) for weight, found in context)


def _distance(one: Word, other: Word) -> int:
    return abs(one.position - other.position) + _BREAK * abs(one.clause - other.clause)
