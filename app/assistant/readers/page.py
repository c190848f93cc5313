"""What every reader returns: pages, the blocks on them, and the words with their boxes."""

import re
from dataclasses import dataclass, field

READER_VERSION = 1
"""Raised whenever a reader makes other pages of the same file, so that indexes built before are rebuilt."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in points (1/72 inch) from the page's upper left corner."""

KINDS = ("text", "heading", "table", "figure", "caption", "equation", "footnote", "reference", "margin", "footer")

LONGEST_TITLE = 300
"""Characters; what is longer is no title."""

FRONT_MATTER = "Title and authors"
"""The section of what stands above the first heading."""

MID_PAPER = "Before the first heading"
"""The section of what stands above the first heading where the file begins in the middle of a paper."""

CAPTION = re.compile(r"^(Table|Figure|Fig\.|Algorithm|Listing)\s+([A-Z]?\d+)\s*[:.]")
NUMBERED_HEADING = re.compile(r"^(?:\d+(?:\.\d+)*|[A-Z](?:\.\d+)*)\.?\s+\S")
UNNUMBERED_HEADINGS = {"abstract", "references", "acknowledgements", "acknowledgments", "bibliography", "appendix"}

UNREADABLE = "\ufffd"
"""Stands for a character that has no reading, such as a piece of a large bracket in a formula."""

_NOT_COMPARED = re.compile(r"[\s\-\u00ad\u2010\u2011\ufffd\ufffe\x00-\x1f\ue000-\uf8ff]+")
_TOO_LONG = re.compile(r"(\S{100})\S{400,}")


@dataclass(frozen=True)
class Word:
    """A word and where it stands: one box, or two when it was hyphenated over a line end."""

    text: str
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Block:
    """A paragraph, heading, caption or table.

    ``kind`` is one of :data:`KINDS`. ``rows`` (tables only) are the table's lines from top to bottom, each a run of
    words; for every other kind ``words`` hold the text. ``lead`` is the bold run-in title a paragraph starts with,
    ``label`` what a caption or table is called ("Table 2"). ``section`` is the section it stands in. ``cells`` are the
    columns of each row where the file names them; otherwise the gaps between a row's words tell.
    """

    kind: str
    words: tuple[Word, ...]
    section: str = ""
    lead: str = ""
    label: str = ""
    rows: tuple[tuple[Word, ...], ...] = ()
    cells: tuple[tuple[str, ...], ...] = ()

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True)
class Page:
    """One page: its number (1-based), its size in points, its blocks in reading order and its raw text.

    ``raw_text`` is what the file itself yields for the page, before any of our layout work; quotes are checked against
    it. ``source`` is ``"paper"`` or ``"notes"``; a page of notes stands for one section of them, about the pages
    ``pdf_page`` to ``last_page`` of the paper.
    """

    pdf_page: int
    width: float
    height: float
    blocks: tuple[Block, ...]
    raw_text: str = field(repr=False)
    source: str = "paper"
    last_page: int = 0


@dataclass(frozen=True)
class Document:
    """A file that has been read: what it is (``"pdf"``, ``"ocr"`` or ``"markdown"``), its pages, and its title, which
    is empty where the file has none."""

    kind: str
    title: str
    pages: list[Page]


def document_record(document: Document) -> dict:
    """The document as plain JSON values, for another process; a word is its text and its boxes."""

    def words(run: tuple[Word, ...]) -> list:
        return [[word.text, word.boxes] for word in run]

    def block(item: Block) -> dict:
        return {**vars(item), "words": words(item.words), "rows": [words(row) for row in item.rows]}

    pages = [{**vars(page), "blocks": [block(item) for item in page.blocks]} for page in document.pages]
    return {"kind": document.kind, "title": document.title, "pages": pages}


def document_from(record: dict) -> Document:
    """The document that :func:`document_record` wrote."""

    def words(run: list) -> tuple[Word, ...]:
        return tuple(Word(text, tuple(map(tuple, boxes))) for text, boxes in run)

    def block(item: dict) -> Block:
        rows, cells = tuple(map(words, item["rows"])), tuple(map(tuple, item["cells"]))
        return Block(**{**item, "words": words(item["words"]), "rows": rows, "cells": cells})

    pages = [Page(**{**page, "blocks": tuple(map(block, page["blocks"]))}) for page in record["pages"]]
    return Document(record["kind"], record["title"], pages)


def caption_label(text: str) -> str:
    """What a caption names: "Figure 3" for "Fig. 3: Mean accuracy …"; empty when the text is not one."""
    match = CAPTION.match(text)
    return f"{'Figure' if match[1].startswith('Fig') else match[1]} {match[2]}" if match else ""


def shortened(text: str) -> str:
    """Text without the rest of what is too long for a word: pictures written as letters, mostly."""
    return _TOO_LONG.sub(r"\1…", text)


def bare(text: str) -> str:
    """Text without spaces, hyphens and unreadable characters, the form in which quotes and pages are compared: line
    ends hyphenate words and extractors disagree about spaces, so neither can be evidence."""
    return _NOT_COMPARED.sub("", text)


def merge_line_boxes(words: tuple[Word, ...] | list[Word]) -> tuple[Box, ...]:
    """Boxes of the words, joined where they stand side by side on one line."""
    merged: list[list[float]] = []
    for word in words:
        for left, top, right, bottom in word.boxes:
            if merged:
                last = merged[-1]
                overlap = min(bottom, last[3]) - max(top, last[1])
                if overlap > 0.4 * min(bottom - top, last[3] - last[1]) and left >= last[0] - 1:
                    last[:] = [last[0], min(top, last[1]), max(right, last[2]), max(bottom, last[3])]
                    continue
            merged.append([left, top, right, bottom])
    return tuple((round(a, 1), round(b, 1), round(c, 1), round(d, 1)) for a, b, c, d in merged)
