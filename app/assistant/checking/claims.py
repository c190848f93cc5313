"""A text taken apart into sentences, and a sentence into words that know their clause, negation and preposition."""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import lru_cache

from app.assistant.checking.wording import LIGHT, NEGATIONS, UNITS, alike, is_filler
from app.assistant.chunking import ABBREVIATION
from app.assistant.terms import stem, words

_FENCE = re.compile(r"^\s*(```|~~~)")
_HEADING = re.compile(r"^\s*#{1,6}\s")
_MARKER = re.compile(r"^\s*(?:[-*•+]|\d{1,2}[.)])\s+")
_LEAD = re.compile(r"^\s*(\*\*|__)[^*_]{1,60}?:?\1\s*:?\s+(?=\S)")
_CITED = re.compile(r"\[([1-9]\d?(?:\s*[,–-]\s*[1-9]\d?)*)\]")
_END = re.compile(
    rf"[.!?…]+[\"”’')*_]*(?:\s*{_CITED.pattern})*(?=\s+[\"“‘(*_\[]*[A-Z0-9À-Ý]|\s*$)"
)  # a sentence's end with the citations that belong to it
_MARKS = re.compile(r"\*\*|__|`|(?<!\w)[*_]|[*_](?!\w)")
_LABEL = re.compile(
    r"\(?\b(?:see |in )?(Table|Figure|Fig\.?|Section|Sec\.?|Appendix|Equation|Eq\.?)s?\s+(\d+|[A-Z])(?:\.\d+)*\b\)?"
    r"|\(?§\s?\d[\d.]*\)?",
    re.IGNORECASE,
)
_LETTERED = re.compile(r"\b([A-Z]{2,})-([A-Z])\b")  # GPT-J is one name
_TIMES = re.compile(r"(?<=\d)\s?x\b")
_SAYS_NOTHING = re.compile(
    r"\b(?:passages?|papers?|texts?|sources?|context|excerpts?|quotations?) (?:(?:do(?:es)?|did) not|don't|doesn't) "
    r"(?:\w+ )?(?:say|mention|state|specify|contain|give|provide|answer|include|discuss)"
    r"|\bI (?:do not|don't|cannot|can't) (?:know|find|say|answer)\b|^(?:I hope|let me know|sure|of course)\b"
    r"|\bcannot be answered\b|^the (?:passages?|text|context) (?:is|are) about\b",
    re.IGNORECASE,
)
_REACH = 6
"""Content words that a preposition reaches over."""
_CLAUSE_TEXT = "and but while whereas because since so which although though however then thus"
_OPENS_CLAUSE = frozenset(_CLAUSE_TEXT.split())
_PREPOSITION_TEXT = "to into from through onto before after than with without by of in on for at under"
_PREPOSITIONS = frozenset(_PREPOSITION_TEXT.split())


@dataclass(frozen=True)
class Piece:
    """A sentence of a text: where it stands there (``start`` to ``end``), its words without Markdown and citations,
    the numbers that it cites, and whether it claims anything (a heading, a question or "Here is how:" does not)."""

    text: str
    start: int
    end: int
    claims: bool
    citations: tuple[int, ...] = ()


def pieces(text: str) -> list[Piece]:
    """The sentences of an answer in plain text or Markdown, in order; blocks of code are left out."""
    found: list[Piece] = []
    position, fenced = 0, False
    for line in text.splitlines(keepends=True):
        start, position = position, position + len(line)
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced and line.strip():
            heading, body = bool(_HEADING.match(line)), line
            for pattern in (_HEADING, _MARKER, _LEAD):
                if match := pattern.match(body):
                    start, body = start + match.end(), body[match.end() :]
            found += _sentences(body, start, heading)
    return found


def _sentences(line: str, start: int, heading: bool) -> Iterator[Piece]:
    begin = 0
    ends = [match.end() for match in _END.finditer(line) if not ABBREVIATION.search(line[: match.start() + 1])]
    for end in [*ends, len(line)]:
        raw = line[begin:end]
        if raw.strip():
            piece = _piece(raw.strip(), start + begin + len(raw) - len(raw.lstrip()), heading)
            if piece.text:
                yield piece
        begin = end


def _piece(raw: str, start: int, heading: bool) -> Piece:
    cited: list[int] = []
    for group in _CITED.findall(raw):
        for part in group.split(","):
            first, *last = (int(number) for number in re.split(r"\s*[–-]\s*", part.strip()))
            cited += range(first, min(last[0] if last else first, first + 20) + 1)
    text = " ".join(_MARKS.sub("", _CITED.sub("", raw)).split())
    text = re.sub(r"\s+([.,;:!?])", r"\1", text)
    claims = not heading and _claims(text, bold=re.fullmatch(r"(\*\*|__).*\1:?", raw) is not None)
    return Piece(text, start, start + len(raw), claims, tuple(dict.fromkeys(cited)))


def _claims(text: str, bold: bool) -> bool:
    count = len(text.split())
    if text.endswith("?") or _SAYS_NOTHING.search(text) or (text.endswith(":") and count <= 12):
        return False
    return count > 2 and not (bold and count <= 8) and any(not is_filler(word) for word in words(text))


@dataclass(frozen=True)
class Word:
    """A word of a sentence. ``clause`` counts the sentence's parts; ``head`` is 1 for the first word after a "not" or
    "without", 2 and 3 for the next two and 0 for others; ``role`` is the preposition that the word stands behind, if
    any; ``is_light`` marks words that hardly claim anything, and second choices ("difficult or impossible")."""

    text: str
    stem: str
    position: int
    clause: int
    head: int
    role: str
    is_light: bool

    @property
    def is_number(self) -> bool:
        """Whether it is a number, other than a lone 1, which may be a "single" or an "a"."""
        return self.text[0].isdigit() and self.text != "1" and not self.text.endswith("b")

    @property
    def is_filler(self) -> bool:
        return is_filler(self.text) or (len(self.text) == 1 and self.text.isascii() and not self.text.isdigit())


@lru_cache(maxsize=20_000)
def words_of(text: str) -> tuple[Word, ...]:
    """The sentence's words in order, fillers included; names of tables and sections ("Table 5") are left out."""
    found: list[Word] = []
    clause, position, head, role, reach = 0, 0, 0, "", 0
    opened: tuple[str, int] = ("", 0)
    text = _TIMES.sub(" times", _LETTERED.sub(r"\1\2", _LABEL.sub(" ", text)))
    for part in re.split(r"((?<!\d),|,(?!\d{3}\b)|[;:()–—]|\.\s)", text):
        if re.fullmatch(r"[,;:()–—]|\.\s", part):
            clause, head, position = clause + 1, 0, position + 1
            continue
        for word in words(part):
            position += 1
            if word in _OPENS_CLAUSE:
                clause, role = clause + 1, ""
            if word in NEGATIONS:
                head = 1
            if word in _PREPOSITIONS:
                opened = (word, position)
                cause = word == "to" and found and found[-1].text in ("due", "owing", "thanks")
                role, reach = "cause" if cause else "to" if word in ("into", "onto") else word, _REACH
            content = not is_filler(word)
            if role == "to" and opened == ("to", position - 1) and (word in LIGHT or alike(stem(word))):
                role = ""  # "to avoid": not a direction
            negated = head if content and word not in NEGATIONS else 0
            light = word in LIGHT or bool(found and found[-1].text == "or")
            found.append(Word(word, stem(word), position, clause, negated, role if reach > 0 else "", light))
            reach -= content
            if content and head:
                head = head + 1 if head < 3 else 0
    return tuple(found)


def labels_in(text: str) -> list[str]:
    """The tables and figures that a sentence names, as "Table 5"."""
    return [f"{m[1].title()} {m[2]}" for m in _LABEL.finditer(text) if m[1] and m[1].lower() in ("table", "figure")]


def names_in(text: str, known: Container[str]) -> set[str]:
    """Words of a sentence that are names: known ones, or written with a capital inside the sentence or the word."""
    found: set[str] = set()
    for position, word in enumerate(re.findall(r"[A-Za-z0-9][\w.+'-]*", text)):
        capital = any(c.isupper() for c in word[1:]) or (word[0].isupper() and position > 0)
        for token in words(word):
            if (capital or token in known or any(c.isdigit() for c in word)) and not is_filler(token):
                found.add(token)
    return {name for name in found - UNITS if not name[0].isdigit() or name.endswith("b")}
