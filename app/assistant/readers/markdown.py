"""Papers that arrive as Markdown or plain text: headings become sections, tables stay whole, HTML is shown as text.

There are no boxes. A page ends at a form feed or at a rule ``---`` between blank lines; a file without either is one
page. The companion notes have a format of their own, see :mod:`notes`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.assistant.readers.lines import StyledLine, Vocabulary
from app.assistant.readers.page import (
    FRONT_MATTER,
    LONGEST_TITLE,
    MID_PAPER,
    NUMBERED_HEADING,
    UNNUMBERED_HEADINGS,
    Block,
    Document,
    Page,
    Word,
    caption_label,
    shortened,
)
from qlora.errors import InputError

_MARKS = re.compile(r"\*\*|__|`|(?<![\w*])\*(?=\S)|(?<=\S)\*(?![\w*])")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:[^()\s]|\([^()\s]*\))*(?:\s+\"[^\"()]*\")?\)")
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_UNDERLINE = re.compile(r"^(=+|-+)\s*$")
_FENCE = re.compile(r"^(```|~~~)")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d{1,3}[.)]|\[\d+\])\s+\S")
_BULLET = re.compile(r"^\s*[-*+]\s+")
_DIVIDER = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)+\|?\s*$")
_FIELD = re.compile(r"^(\w[\w -]*):\s*(.*)$")
_LONGEST_HEADING_WORDS = 12


def markdown_document(path: Path, pdf_page: int | None = None) -> Document:
    """A paper in Markdown or plain text; its first page has the number ``pdf_page``, 1 if left out.

    Raises:
        InputError: the file is not UTF-8 text, or there are no words in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from error
    if not re.search(r"\w", text):
        raise InputError(f"{path.name} holds no words. Choose another file.")
    title, lines = _front_matter(text.split("\n"))
    paper = _Paper(lines, title, first=pdf_page or 1)
    pages = paper.pages()  # finds the title, where the head has none
    return Document("markdown", paper.title[:LONGEST_TITLE], pages)


def _front_matter(lines: list[str]) -> tuple[str, list[str]]:
    """The title named in a YAML head between two ``---``, and the lines below the head."""
    if lines[0].strip() != "---" or "---" not in (line.strip() for line in lines[1:50]):
        return "", lines
    end = next(number for number, line in enumerate(lines[1:], start=1) if line.strip() == "---")
    fields = [_FIELD.match(line) for line in lines[1:end] if line.strip() and not line.startswith((" ", "-"))]
    if not fields or not all(fields):
        return "", lines
    named = {match[1].lower(): match[2].strip("\"' ") for match in fields}
    return named.get("title", ""), lines[end + 1 :]


@dataclass
class _Item:
    """A piece of the text: ``heading``, ``paragraph``, ``code``, ``equation`` or ``table`` (whose lines are rows)."""

    kind: str
    lines: list[str] = field(default_factory=list)
    level: int = 0

    @property
    def shown(self) -> list[str]:
        """The lines as a reader sees them; code is left as it is."""
        lines = self.lines if self.kind == "code" else map(_plain, self.lines)
        return [line for line in lines if line.strip()]


class _Paper:
    def __init__(self, lines: list[str], title: str, first: int):
        self.title, self.first = title, first
        self._pages = [[item for item in _items(page) if item.shown] for page in _split_pages(lines)]
        items = [item for page in self._pages for item in page]
        self._marked = any(item.kind == "heading" for item in items)
        self._tops = sum(item.kind == "heading" and item.level == 1 for item in items)
        self._vocabulary = Vocabulary([[_line(text) for item in items if item.kind != "table" for text in item.shown]])
        self._section = FRONT_MATTER if first == 1 else MID_PAPER

    def pages(self) -> list[Page]:
        pages = []
        for number, items in enumerate(self._pages, start=self.first):
            blocks = self._with_captions([block for item in items for block in self._blocks(item)])
            raw = "\n".join(" ".join(text.split()) for item in items for text in item.shown)
            pages.append(Page(number, 0.0, 0.0, tuple(blocks), raw))
        return pages

    def _blocks(self, item: _Item) -> Iterator[Block]:
        if item.kind == "table":
            cells = [_cells(line) for line in item.lines]
            rows = tuple(tuple(_words(" ".join(row))) for row in cells)
            yield Block("table", (), self._section, rows=rows, cells=tuple(cells))
            return
        words = self._vocabulary.joined([_line(text) for text in item.shown])
        text = " ".join(word.text for word in words)
        if item.kind == "heading" or self._reads_as_heading(item, text):
            if self._is_title(item, text):
                self.title = self.title or text
            else:
                self._section = text
            yield Block("heading", words, self._section)
        elif label := caption_label(text):
            yield Block("caption", words, self._section, label=label)
        elif item.kind == "equation":
            yield Block("equation", words, self._section)
        else:
            listed = self._section.lower().endswith(("references", "bibliography"))
            yield Block("reference" if listed else "text", words, self._section)

    def _is_title(self, item: _Item, text: str) -> bool:
        if self._section != FRONT_MATTER or NUMBERED_HEADING.match(text) or text.lower() in UNNUMBERED_HEADINGS:
            return False
        return item.level == 1 and self._tops == 1 if self._marked else not self.title

    def _reads_as_heading(self, item: _Item, text: str) -> bool:
        """In a text without marked headings: a short line of its own that is numbered, in capitals, or the title."""
        short = len(item.lines) == 1 and len(text.split()) <= _LONGEST_HEADING_WORDS and text[-1] not in ".!?,;:"
        if self._marked or item.kind != "paragraph" or not short or caption_label(text):
            return False
        named = NUMBERED_HEADING.match(text) or text.lower() in UNNUMBERED_HEADINGS
        opens = self._section == FRONT_MATTER and not self.title
        return bool(named) or opens or (text.isupper() and sum(map(str.isalpha, text)) > 3)

    @staticmethod
    def _with_captions(blocks: list[Block]) -> list[Block]:
        """Tables under the caption before or after them."""
        taken: set[int] = set()
        for place, block in enumerate(blocks):
            if block.kind != "table":
                continue
            for beside in (place - 1, place + 1):
                free = 0 <= beside < len(blocks) and beside not in taken and blocks[beside].kind == "caption"
                if free and blocks[beside].label.startswith("Table"):
                    taken.add(beside)
                    blocks[place] = replace(block, words=blocks[beside].words, label=blocks[beside].label)
                    break
        return [block for place, block in enumerate(blocks) if place not in taken]


def _split_pages(lines: list[str]) -> list[list[str]]:
    pages: list[list[str]] = [[]]
    fenced = False
    for number, line in enumerate(lines):
        if _FENCE.match(line):
            fenced = not fenced
        blank = (number == 0 or not lines[number - 1].strip()) and not "".join(lines[number + 1 : number + 2]).strip()
        if re.fullmatch(r"-{3,}\s*", line) and blank and not fenced:
            pages.append([])
            continue
        head, *others = line.split("\f")
        pages[-1].append(head)
        pages += [[other] for other in others]
    return [page for page in pages if any(line.strip() for line in page)]


def _items(lines: list[str]) -> Iterator[_Item]:
    item = _Item("paragraph")
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        following = lines[number] if number < len(lines) else ""
        if fence := _FENCE.match(line) or re.match(r"^(\$\$)\s*$", line):
            yield item
            item = _Item("equation" if fence[1] == "$$" else "code")
            while number < len(lines) and not lines[number].startswith(fence[1]):
                item.lines.append(lines[number])
                number += 1
            number += 1
        elif heading := _HEADING.match(line):
            yield item
            item = _Item("heading", [heading[2]], len(heading[1]))
        elif line.strip() and not item.lines and _UNDERLINE.match(following) and not _ITEM.match(line):
            item = _Item("heading", [line.strip()], 1 if following[0] == "=" else 2)
            number += 1
        elif "|" in line and _DIVIDER.match(following):
            yield item
            item = _Item("table", [line])
            number += 1
            while number < len(lines) and "|" in lines[number]:
                item.lines.append(lines[number])
                number += 1
        else:
            written = bool(line.strip()) and not _UNDERLINE.match(line)
            if written and not _ITEM.match(line):
                item.lines.append(line)
                continue
            yield item
            item = _Item("paragraph", [line] if written else [])
            continue
        yield item
        item = _Item("paragraph")
    yield item


def _cells(line: str) -> tuple[str, ...]:
    parts = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
    return tuple(" ".join(_plain(part.replace("\\|", " ")).split()) for part in parts)


def _plain(line: str) -> str:
    """The line as it is shown: without emphasis, quotation and bullet marks, links by their text; HTML is left."""
    shown = _LINK.sub(r"\1", _BULLET.sub("", re.sub(r"^\s*(?:>\s?)+", "", line)))
    shown = shortened(_MARKS.sub("", shown))
    return shown.replace("|", " ") if line.count("|") > 1 else shown


def _words(text: str) -> tuple[Word, ...]:
    return tuple(Word(word) for word in text.split())


def _line(text: str) -> StyledLine:
    words = list(_words(text))
    torn = words[-1].text.endswith("-") and len(words[-1].text) > 1
    return StyledLine(words, [False] * len(words), (0.0, 0.0, 0.0, 0.0), 0.0, 0.0, True, torn)
