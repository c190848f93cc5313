"""What a question asks for: the things it names, the numbers in it, and the kind of fact that would answer it."""

import re
from dataclasses import dataclass

from app.assistant.terms import STOP_WORDS, stem, words
from qlora.errors import InputError

MAX_CHARACTERS = 2000

# Words by which people ask, in whatever field: they say nothing about what the answer must contain.
_ASKING = frozenset(
    ["according", "actually", "amount", "answer", "approach", "article", "ask", "author", "authors", "available", "aim", "big", "call", "called", "case", "change", "choose", "chose", "chosen", "compare", "compared", "comparison", "consist", "contain", "contains", "describe", "described", "description", "detail", "difference", "differ", "different", "discuss", "discussed", "document", "does", "effect", "exactly", "example", "examples", "exist", "explain", "explained", "fact", "far", "figure", "find", "found", "general", "given", "goal", "happen", "happens", "happened", "help", "idea", "important", "include", "included", "introduce", "introduced", "kind", "kinds", "know", "large", "list", "long", "lot", "main", "make", "makes", "many", "mean", "meaning", "means", "mention", "mentioned", "method", "name", "named", "names", "need", "needed", "needs", "number", "obtain", "paper", "papers", "part", "people", "perform", "performed", "place", "point", "possible", "present", "presented", "problem", "propose", "proposed", "purpose", "reach", "reason", "reasons", "refer", "reported", "result", "results", "role", "say", "says", "section", "see", "seen", "set", "show", "shown", "shows", "size", "small", "sort", "state", "stated", "study", "table", "take", "takes", "talk", "thing", "things", "type", "types", "understand", "value", "values", "way", "ways", "well", "word", "work", "works", "write", "written", "wrote", "good", "better", "best", "bad", "worse", "worst", "high", "higher", "highest", "low", "lower", "lowest", "fast", "faster", "slow", "slower", "become", "becomes", "come", "comes", "went", "mainly", "first", "second", "whole", "total", "overall", "sure", "exact", "exactly", "per", "instead", "really", "acknowledged", "answers", "assumption", "assumptions", "belong", "belongs", "conclude", "concluded", "conclusion", "conclusions", "matter", "matters", "still", "yet", "factor", "formula", "fraction", "kinds", "mistake", "mistakes", "percentage", "proportion", "range", "share", "support", "supports", "handle", "handles", "deal", "keep", "keeps", "put", "let", "qlora"]
)
_ENTITY = re.compile(r"[A-Za-z0-9][\w.+-]*")

FACTS: dict[str, tuple[re.Pattern, re.Pattern]] = {
    # kind: (how it is asked for, what a sentence that answers it must hold)
    "money": (
        re.compile(r"\b(dollars?|usd|price[ds]?|paid|pay|salary|wages?|euros?|fees?)\b|[$€]"),
        re.compile(r"[$€£]\s?\d|\b\d[\d,.]*\s?(?:dollars|usd|euros?)\b", re.IGNORECASE),
    ),
    "link": (
        re.compile(r"\b(url|link|website|web ?page|repository|repo|github)\b|\bwhere\b[^,]*\b(code|download|source code|weights)\b"),
        re.compile(r"https?://|\bwww\.|\.(?:com|org)/|\bopen[- ]sourc", re.IGNORECASE),
    ),
    "email": (re.compile(r"\be-?mails?\b"), re.compile(r"@[\w.]+\.\w{2,}")),
    "date": (
        re.compile(r"^\s*when\s+(was|were|did|is|will)\b|\b(which|what|in what) (year|date|month|day)\b"),
        re.compile(r"\b(?:19|20)\d\d\b|\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\b"),
    ),
    "duration": (
        re.compile(r"\bhow long\b(?! (is|are) the (sequence|context|text|prompt))|\bhow (many|much) (time|hours|days|minutes)\b"),
        re.compile(r"\b\d+\s?(?:hours?|days?|minutes?|weeks?|seconds?|h)\b|\bovernight\b|\bper night\b", re.IGNORECASE),
    ),
    "memory": (
        re.compile(r"\b(how (many|much)|what)\b.*\b(gigabytes?|megabytes?|gb|mb|gib|mib|memory|vram|ram)\b"),
        re.compile(r"\d\s?(?:GB|MB|GiB|MiB)\b|\bbits?\b|\d{3,}"),
    ),
    "percent": (re.compile(r"\b(what|which) (percent|percentage|share|fraction|proportion)\b"), re.compile(r"\d\s?%|\d\.\d")),
    "count": (
        re.compile(r"\bhow (many|much|large|big|high|often|far|strong|strongly)\b|\b(what|which) (number|score|value|size|rate|rank)\b"),
        re.compile(r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|hundreds?|thousands?|millions?|billions?)\b"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Term:
    """A content word of the question. ``entity`` marks names: capitalised inside the sentence, or holding digits."""

    text: str
    stem: str
    entity: bool


@dataclass(frozen=True)
class Question:
    """``fact`` is the kind of value that is asked for (a key of :data:`FACTS`) or empty. ``asked`` are the words right
    after what, which or how many; ``counted`` is the last of them when things are counted ("how many attention heads").
    ``versions`` are names with a number behind them ("Llama 2"), which stand for something else without it."""

    text: str
    terms: tuple[Term, ...]
    fact: str
    asked: tuple[Term, ...] = ()
    counted: Term | None = None
    versions: tuple[str, ...] = ()

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
    asked, counting = _asked(text, {term.text: term for term in terms})
    return Question(text, terms, _fact(text), asked, asked[-1] if asked and counting else None, _versions(text))


_OPENING = re.compile(r"\b(how many|what|which)\s+(?:(?:is|are|was|were)\s+)?(?:(?:the|a|an)\s+)?(.*)", re.IGNORECASE)
_UNITS = frozenset(["gb", "mb", "gib", "mib", "bit", "byte", "hour", "day", "minut", "percent", "token", "dollar"])
_VERSION = re.compile(r"\b([A-Z][A-Za-z]+)[ -](\d{1,2}(?:\.\d)?)\b(?![\w.-])")
_NUMBERED_PARTS = frozenset(["table", "figure", "fig", "section", "appendix", "equation", "page", "step", "part", "chapter"])


def _asked(text: str, terms: dict[str, Term]) -> tuple[tuple[Term, ...], bool]:
    match = _OPENING.search(text)
    if not match:
        return (), False
    asked = []
    for word in words(match[2]):
        if word in STOP_WORDS:
            break
        if word in terms and terms[word].stem not in _UNITS:
            asked.append(terms[word])
    return tuple(asked), match[1].lower() == "how many"


def _versions(text: str) -> tuple[str, ...]:
    return tuple(
        f"{name.lower()} {number}" for name, number in _VERSION.findall(text) if name.lower() not in _NUMBERED_PARTS
    )


def _fact(text: str) -> str:
    simple = text.lower()
    return next((kind for kind, (asked, _) in FACTS.items() if asked.search(simple)), "")


def _terms(text: str) -> tuple[Term, ...]:
    shouted = text.upper() == text
    entities: set[str] = set()
    raw = _ENTITY.findall(text)
    for position, word in enumerate(raw):
        word = word.strip(".-")
        has_digit = any(character.isdigit() for character in word)
        capital = any(character.isupper() for character in word[1:]) or (word[:1].isupper() and position > 0)
        if (has_digit or capital) and not shouted:
            entities.update(words(word))
    terms: dict[str, Term] = {}
    for word in words(text):
        name = word in entities and word not in STOP_WORDS
        if (
            word in STOP_WORDS
            or (not name and (word in _ASKING or stem(word) in _ASKING))
            or (len(word) < 2
            and not name)
        ):
            continue
        terms.setdefault(stem(word), Term(word, stem(word), name))
    return tuple(terms.values())


def holds_fact(fact: str, text: str) -> bool:
    """Whether the text has something of the kind that is asked for; true when no kind is."""
    return not fact or bool(FACTS[fact][1].search(text))
