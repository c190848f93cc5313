"""What a visitor reads in a panel's HTML, and whether each number in it is one that was computed again."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser

from tests.app.numbers import reading

#: A number; words that are compared as they are; the numbers of a phrase, in order; None for an empty cell.
Value = float | str | Sequence[float] | None
Fields = Mapping[str, Value]
_BY_ITSELF = ("title", "desc")
_FIELD = re.compile(r"\{(\w*)[^{}]*\}")
_SAID_IN_ATTRIBUTES = ("aria-label",)
_ONE_NUMBER = r"[−+]?\d+(?:[.,]\d+)*(?:e[−-]?\d+)?"


@dataclass(frozen=True)
class Panel:
    """A panel, and where its numbers come from.

    Attributes:
        name: of the panel.
        html: draws it as a visitor who changed nothing gets it.
        filled: key of a template -> the values that it is filled with, or several sets of them.
        tables: words with which a table's caption begins -> its rows.
        described: the numbers of a description that no template makes, in order.
        alone: numbers that stand without words, in a card or a button.
    """

    name: str
    html: Callable[[], str]
    filled: Mapping[str, Fields | Sequence[Fields]]
    tables: Mapping[str, Sequence[Sequence[Value]]] = field(default_factory=dict)
    described: Sequence[float] = ()
    alone: Sequence[Value] = ()


@dataclass
class Read:
    """What stands in a panel: its pieces of text, and tables as (caption, rows with their heading cells)."""

    pieces: list[str] = field(default_factory=list)
    tables: list[tuple[str, list[list[str]]]] = field(default_factory=list)


class _Reader(HTMLParser):
    """Text node by text node; of a chart's drawing its title and description alone."""

    def __init__(self) -> None:
        super().__init__()
        self.read = Read()
        self._open: list[str] = []
        self._drawing = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        if tag == "table":
            self.read.tables.append((known["aria-label"], []))
        elif tag == "tr":
            self.read.tables[-1][1].append([])
        elif tag in ("td", "th"):
            self.read.tables[-1][1][-1].append("")
        elif tag == "svg":
            self._drawing += "story" not in (known.get("class") or "")
        self._open.append(tag)
        if tag != "table":
            self.read.pieces += [known[name] for name in _SAID_IN_ATTRIBUTES if known.get(name)]

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass
        if tag == "svg":
            self._drawing = max(0, self._drawing - 1)

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside in ("td", "th"):
            self.read.tables[-1][1][-1][-1] += data
        elif data.strip() and (not self._drawing or inside in _BY_ITSELF):
            self.read.pieces.append(data.strip())


def only(template: str, values: Fields) -> Fields:
    """Of the values those that the template has a field for."""
    return {name: values[name] for name in _FIELD.findall(template)}


def read(html: str) -> Read:
    """The panel's text."""
    reader = _Reader()
    reader.feed(html)
    return reader.read


def untraced(panel: Panel, html: str, templates: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Numbers of the panel that nothing yields, as sentences; and keys of templates and tables that it does not show.

    Args:
        panel: says where its numbers come from.
        html: the panel as it was drawn.
        templates: key -> every sentence of the pages, as `reading.sentences` has them.
    """
    shown = read(html)
    assert shown.pieces, f"{panel.name} shows nothing"
    wrong = [
        f"{key} has no field {name}"
        for key, ways in panel.filled.items()
        for way in ([ways] if isinstance(ways, Mapping) else ways)
        for name in way
        if name not in _FIELD.findall(templates[key])
    ]
    unused = {*panel.filled, *panel.tables}
    for piece in dict.fromkeys(shown.pieces):
        rest, used = _without_filled(piece, panel, templates, wrong)
        unused -= used
        rest = _without_static(rest, templates)
        if (panel.described and _agree(piece, panel.described)) or any(_agree(piece, value) for value in panel.alone):
            continue
        if left := reading.numbers(rest):
            wrong.append(f"{', '.join(left)} in “{piece}”")
    for caption, rows in shown.tables:
        key = next((key for key in panel.tables if caption.startswith(key)), None)
        if key is None:
            if numbers := [n for row in rows[1:] for cell in row for n in reading.numbers(cell)]:
                wrong.append(f"{', '.join(numbers[:5])} in the table “{caption}”")
            continue
        unused.discard(key)
        wrong += _wrong_cells(caption, rows[1:], panel.tables[key])
    return wrong, sorted(unused)


def _without_filled(piece: str, panel: Panel, templates: Mapping[str, str], wrong: list[str]) -> tuple[str, set[str]]:
    """The piece without what templates of the panel say in it, each with values that it may be filled with."""
    used = set()
    for key in sorted(panel.filled, key=lambda key: -len(templates[key])):
        ways = panel.filled[key]
        ways = [ways] if isinstance(ways, Mapping) else ways
        said = False
        while match := next(filter(None, (_match(templates[key], way, piece) for way in ways)), None):
            said = True
            piece = piece[: match.start()] + "\N{LOZENGE}" + piece[match.end() :]
        if said:
            used.add(key)
        elif re.fullmatch(_FIELD.sub(".*?", re.escape(templates[key]).replace(r"\{", "{").replace(r"\}", "}")), piece):
            wrong.append(f"“{piece}” is {key}, which should be filled with {ways[0] if len(ways) == 1 else 'others'}")
            return "", used | {key}
    return piece, used


def _match(template: str, way: Fields, piece: str) -> re.Match[str] | None:
    """Where the piece says this template with these values."""
    parts, end = [], 0
    values = []
    for match in _FIELD.finditer(template):
        value = way[match[1]]
        parts.append(re.escape(template[end : match.start()]))
        if isinstance(value, str):
            parts.append(re.escape(value))
        else:
            parts.append(f"({_ONE_NUMBER if isinstance(value, int | float) else '.*?'})")
            values.append(value)
        end = match.end()
    pattern = re.compile("".join(parts) + re.escape(template[end:]), re.DOTALL)
    match = pattern.fullmatch(piece) or pattern.search(piece)
    return match if match and match.group() and all(map(_agree, match.groups(), values)) else None


def _without_static(piece: str, templates: Mapping[str, str]) -> str:
    """The piece without sentences that have no fields: `sentence_sources` answers for their numbers."""
    for text in _static(tuple(templates.values())):
        piece = piece.replace(text, "\N{LOZENGE}") if text.count(" ") > 2 else "" if piece == text else piece
    return piece


@cache
def _static(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted((t for t in set(texts) if "{" not in t and reading.numbers(t)), key=len, reverse=True))


def _agree(shown: str, value: Value) -> bool:
    """Whether a field or cell shows this value."""
    if value is None or isinstance(value, str):
        return shown == (value or "")
    if isinstance(value, int | float) and math.isinf(value):
        return shown == f"{value}".replace("-", "−")
    numbers = reading.numbers(shown)
    values = [value] if isinstance(value, int | float) else list(value)
    return len(numbers) == len(values) and all(map(reading.agrees, numbers, values))


def _wrong_cells(caption: str, rows: list[list[str]], expected: Sequence[Sequence[Value]]) -> Iterator[str]:
    if len(rows) != len(expected):
        yield f"{len(rows)} rows in the table “{caption}”, where {len(expected)} should be"
        return
    for row, values in zip(rows, expected, strict=True):
        for cell, value in zip(row, values, strict=True):
            if not _agree(cell, value):
                yield f"{cell} in the row {row[0]} of the table “{caption}”, which should be {value}"
