"""What a question asks for: the things it names, the numbers in it, and the kind of fact that would answer it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.assistant.terms import NUMBERED, STOP_WORDS, as_one, plain, stem, words
from qlora.errors import InputError

MAX_CHARACTERS = 2000

# Words by which people ask, in whatever field: they say nothing about what the answer must contain.
_ASKING_TEXT = """
according acknowledged actually aim amount answer answers approach article ask assumption assumptions author
authors available bad become becomes belong belongs best better big call called case change choose chose chosen
come comes compare compared comparison conclude concluded conclusion conclusions consist contain contains deal
describe described description detail differ difference different discuss discussed document does effect exact
exactly example examples exist explain explained fact factor far fast faster figure find first formula found
fraction general given goal good handle handles happen happened happens help high higher highest idea important
include included instead introduce introduced keep keeps kind kinds know large let list long lot low lower
lowest main mainly make makes many matter matters mean meaning means mention mentioned method mistake mistakes
name named names need needed needs number obtain overall paper papers part people per percentage perform
performed place point possible present presented problem proportion propose proposed purpose put qlora range
reach really reason reasons refer reported result results role say says second section see seen set share show
shown shows size slow slower small sort state stated still study support supports sure table take takes talk
thing things total type types understand value values way ways well went whole word work works worse worst write
written wrote yet
"""
_ASKING = frozenset(_ASKING_TEXT.split())
_ENTITY = re.compile(r"[A-Za-z0-9][\w.+-]*")

FACTS: dict[str, tuple[re.Pattern, re.Pattern]] = {
    # kind: (how it is asked for, what a sentence that answers it must hold)
    "money": (
        re.compile(r"\b(dollars?|usd|price[ds]?|paid|pay|salary|wages?|euros?|fees?)\b|[$€]"),
        re.compile(r"[$€£]\s?\d|\b\d[\d,.]*\s?(?:dollars|usd|euros?)\b", re.IGNORECASE),
    ),
    "link": (
        re.compile(
            r"\b(url|link|website|web ?page|repository|repo|github)\b|\bwhere\b[^,]*\b(code|download|weights)\b"
        ),
        re.compile(r"https?://|\bwww\.|\.(?:com|org)/|\bopen[- ]sourc", re.IGNORECASE),
    ),
    "email": (re.compile(r"\be-?mails?\b"), re.compile(r"@[\w.]+\.\w{2,}")),
    "date": (
        re.compile(r"^\s*when\s+(was|were|did|is|will)\b|\b(which|what|in what) (year|date|month|day)\b"),
        re.compile(r"\b(?:19|20)\d\d\b|\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\b"),
    ),
    "duration": (
        re.compile(
            r"\bhow long\b(?! (is|are) the (sequence|context|text|prompt))"
            r"|\bhow (many|much) (time|hours|days|minutes)\b"
        ),
        re.compile(r"\b\d+\s?(?:hours?|days?|minutes?|weeks?|seconds?|h)\b|\bovernight\b|\bper night\b", re.IGNORECASE),
    ),
    "memory": (
        re.compile(r"\b(how (many|much)|what)\b.*\b(gigabytes?|megabytes?|gb|mb|gib|mib|memory|vram|ram)\b"),
        re.compile(r"\d\s?(?:GB|MB|GiB|MiB)\b|\bbits?\b|\d{3,}"),
    ),
    "percent": (
        re.compile(r"\b(what|which) (percent|percentage|share|fraction|proportion)\b"),
        re.compile(r"\d\s?%|\d\.\d"),
    ),
    "count": (
        re.compile(
            r"\bhow (many|much|large|big|high|often|far|strong|strongly)\b"
            r"|\b(what|which) (is the |was the )?(\w+ ){0,3}(number|score|value|size|rate|rank|ratio|loss|accuracy"
            r"|perplexity|length|dimension|width|height|rating|elo|rougel|rouge)\b|\bhow old\b"
        ),
        re.compile(r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|hundreds?|thousands?|millions?|billions?)\b"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Term:
    """A word of the question. ``entity`` marks names: capitalised inside the sentence, or holding digits; ``exact``
    that no other word will do (65B, GPT-4, 48 GB); ``asking`` that it only serves to ask; ``shown`` is the word as
    typed."""

    text: str
    stem: str
    entity: bool
    shown: str = ""
    exact: bool = False
    asking: bool = False


@dataclass(frozen=True)
class Question:
    """``fact`` is the kind of value that is asked for (a key of :data:`FACTS`) or empty. ``asked`` are the words right
    after what, which or how many; ``counted`` is the last of them when things are counted ("how many attention heads").
    ``unit`` is the stem of what a number is asked of, be it things or a unit ("bits"). ``versions`` are names with a
    number behind them ("Llama 2"), which stand for something else without it; ``sized`` are names with a size ("Guanaco
    65B") as (name, size). ``words`` are all of its words but stop words, ``terms`` those that do not merely ask."""

    text: str
    words: tuple[Term, ...]
    fact: str
    asked: tuple[Term, ...] = ()
    counted: Term | None = None
    unit: str = ""
    versions: tuple[str, ...] = ()
    sized: tuple[tuple[str, str], ...] = ()

    @property
    def terms(self) -> tuple[Term, ...]:
        return tuple(term for term in self.words if not term.asking)

    @property
    def entities(self) -> list[Term]:
        return [term for term in self.terms if term.entity]


def parse(text: str) -> Question:
    """Read a question.

    Raises:
        InputError: it is empty, has no letter in it, or is longer than :data:`MAX_CHARACTERS`.
    """
    text = " ".join(text.split())
    if not text:
        raise InputError("Type a question first.")
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"The question has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read. Shorten it.")
    if not any(character.isalpha() for character in text):
        raise InputError("There is no word in this question. Ask in words.")
    terms = _terms(text)
    asked, counting, unit = _asked(text, {term.text: term for term in terms if not term.asking})
    counted = asked[-1] if asked and counting else None
    sized = tuple(dict.fromkeys(names_with_sizes(text)))
    return Question(text, terms, _fact(text), asked, counted, unit, _versions(text), sized)


_OPENING = re.compile(r"\b(how many|what|which)\s+(?:(?:is|are|was|were)\s+)?(?:(?:the|a|an)\s+)?(.*)", re.IGNORECASE)
_MEASURES_TEXT = """
second minute hour day week month year microsecond millisecond dollar euro cent watt kilowatt joule kwh degree celsius
fahrenheit kelvin hertz megahertz gigahertz ghz mhz metre meter kilometre kilometer mile inch foot pixel gram kilogram
ton calory token percent flop teraflop bandwidth
"""
MEASURES = frozenset(map(stem, _MEASURES_TEXT.split()))
"""Units and what is measured in them, as stems: no other word stands for one of them."""
_UNITS = {"gb", "mb", "gib", "mib", "bit", "byte", "hour", "day", "minut", "percent", "token", "dollar"}
_VERSION = re.compile(r"\b([A-Z][A-Za-z]+)[ -](\d{1,2}(?:\.\d)?)\b(?![\w.-])")
_SIZE = r"\d+(?:\.\d+)?[ -]?(?:[bm]|billion|million)\b"
_SIZES = rf"{_SIZE}(?:(?:\s?[,/]\s?(?:and |or )?| and | or | to |-){_SIZE})*"
_NAME = r"[a-z][\w.]*(?: v\d)?"
_SIZED = re.compile(rf"(?<![\w.-])(?P<name>{_NAME})[ -](?P<sizes>{_SIZES})", re.IGNORECASE)
_SIZE_FIRST = re.compile(rf"(?<![\w-])(?P<sizes>{_SIZES})[ -](?P<name>{_NAME})", re.IGNORECASE)
_NUMBERED_PARTS = {"table", "figure", "fig", "section", "appendix", "equation", "page", "step", "part", "chapter"}


def _asked(text: str, terms: dict[str, Term]) -> tuple[tuple[Term, ...], bool, str]:
    match = _OPENING.search(text)
    if not match:
        return (), False, ""
    asked, unit = [], ""
    for word in words(match[2]):
        if word in STOP_WORDS:
            break
        unit = stem(word)
        if word in terms and terms[word].stem not in _UNITS:
            asked.append(terms[word])
    counting = match[1].lower() == "how many"
    return tuple(asked), counting, unit if counting else ""


def _versions(text: str) -> tuple[str, ...]:
    return tuple(
        f"{name.lower()} {number}" for name, number in _VERSION.findall(text) if name.lower() not in _NUMBERED_PARTS
    )


def _fact(text: str) -> str:
    simple = text.lower()
    return next((kind for kind, (asked, _) in FACTS.items() if asked.search(simple)), "")


def names_with_sizes(text: str) -> Iterator[tuple[str, str]]:
    """("Guanaco", "65b") for every name with a size beside it: "Guanaco 65B", "T5-3B", "the 33B LLaMA", "Guanaco
    33B and 65B"."""
    for pattern in (_SIZED, _SIZE_FIRST):
        for match in pattern.finditer(text):
            name = match["name"].split(" v")[0]
            if name.lower() not in STOP_WORDS:
                for size in re.findall(_SIZE, match["sizes"], re.IGNORECASE):
                    yield name, plain(size).replace(" ", "")


def _terms(text: str) -> tuple[Term, ...]:
    shouted = text.upper() == text
    entities: set[str] = set()
    typed: dict[str, str] = {}
    for position, match in enumerate(_ENTITY.finditer(text)):
        word = match.group().strip(".-")
        parts = words(word)
        typed.update(dict.fromkeys(parts, word))
        has_digit = any(character.isdigit() for character in word)
        capital = any(character.isupper() for character in word[1:]) or (word[:1].isupper() and position > 0)
        if (has_digit or capital) and not shouted:
            entities.update(parts)
    terms: dict[str, Term] = {}
    simple = plain(text)
    for match in NUMBERED.finditer(simple):
        numbered = match.group()
        terms[as_one(numbered)] = Term(numbered, as_one(numbered), True, numbered, exact=True)
    rest = NUMBERED.sub(" ", simple)
    for word in words(rest):
        name = word in entities and word not in STOP_WORDS
        if word in STOP_WORDS or (len(word) < 2 and not name):
            continue
        asking = not name and (word in _ASKING or stem(word) in _ASKING)
        exact = name and any(character.isdigit() for character in word)
        terms.setdefault(stem(word), Term(word, stem(word), name, typed.get(word, word), exact, asking))
    return tuple(terms.values())


def holds_fact(fact: str, text: str) -> bool:
    """Whether the text has something of the kind that is asked for; true when no kind is."""
    return not fact or bool(FACTS[fact][1].search(text))
