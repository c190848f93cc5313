"""Blocks become passages: a few sentences of one section on one page, or a whole table with its caption."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from app.assistant.readers.page import FRONT_MATTER, UNREADABLE, Block, Box, Page, Word, bare, merge_line_boxes

CHUNKER_VERSION = 6
"""Raised whenever the passages cut from the same pages change, so that indexes built before are rebuilt."""

MAX_WORDS = 130
"""About 200 word pieces: the embedding model reads 256 and the section title goes in front."""
_SMALL_WORDS = 45
_LONGEST_SENTENCE = 120
"""Words after which a sentence is cut: a text without full stops must not become one quote of a hundred pages."""
_HEADER_ROWS = 5

_SKIPPED = {"heading", "footer", "figure"}
_FLOATING = {"table", "caption", "footnote", "margin", "footer", "figure", "reference"}
ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|et al|etc|vs|cf|fig|eq|sec|tab|approx|no|resp|dr|mr|ms|st)|\b[A-Z])\.$", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?][\])}”\"’']*\d{0,2}$")


@dataclass(frozen=True)
class Sentence:
    """A sentence, or a table's row: its words as the page has them, and the boxes that cover them.

    ``cells`` are a row's columns, told apart by the gaps between its words; empty when the reader gives no boxes.
    ``follows`` says that the page's raw text has it right after the sentence before, so that both can be one quote.
    ``formula`` marks one with characters that cannot be read: it helps to find the passage but is not quoted.
    ``drawn`` marks words that stand in a figure's drawing.
    """

    text: str
    boxes: tuple[Box, ...] = ()
    row: bool = False
    formula: bool = False
    cells: tuple[str, ...] = ()
    follows: bool = False
    drawn: bool = False


@dataclass(frozen=True)
class Chunk:
    """A passage that can be found and quoted.

    ``kind`` is the block's kind. ``lead`` is the run-in title above it, ``label`` the name of its table or figure.
    ``pdf_page`` is the page it stands on; for notes, ``pdf_page`` to ``last_page`` are the pages they are about.
    ``header`` counts the rows at the top of a table that name its columns.
    """

    id: str
    paper: str
    source: str
    pdf_page: int
    last_page: int
    kind: str
    section: str
    lead: str
    label: str
    sentences: tuple[Sentence, ...]
    header: int = 0

    @property
    def text(self) -> str:
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def heading(self) -> str:
        """Where it stands, in words: section, then run-in title."""
        return " · ".join(dict.fromkeys(part for part in (self.section, self.lead) if part))

    @property
    def context(self) -> str:
        """What is embedded and indexed: the text under its headings."""
        title = re.sub(r"^(?:\d+|[A-Z])(?:\.\d+)*\s+", "", self.section)
        lead = "" if self.text.startswith(self.lead) or self.lead in title else self.lead
        return ". ".join(part for part in (title, lead, self.text) if part)

    def record(self) -> dict:
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict) -> "Chunk":
        sentences = tuple(
            Sentence(**{**item, "boxes": tuple(map(tuple, item["boxes"])), "cells": tuple(item["cells"])})
            for item in record["sentences"]
        )
        return cls(**{**record, "sentences": sentences})


def chunk_pages(pages: Iterable[Page], paper: str) -> list[Chunk]:
    """Passages of all pages, in reading order, with stable identifiers."""
    chunks: list[Chunk] = []
    lead = section = ""
    for page in pages:
        for group in _groups(page):
            first = group[0]
            if first.section != section:
                section, lead = first.section, ""
            if first.kind not in _FLOATING:
                lead = next((block.lead for block in group if block.lead), lead)
            chunks += _chunks(group, page, paper, first.lead or ("" if first.kind in _FLOATING else lead), len(chunks))
    return chunks


def _groups(page: Page) -> Iterator[list[Block]]:
    """Blocks that belong in one passage: small neighbours of one section are joined, formulas to their text, and a
    figure's labels to its caption."""
    group: list[Block] = []
    labels = _labels_of_figures(page)
    for block in page.blocks:
        if block.kind in _SKIPPED:
            continue
        alone = block.kind in _FLOATING or page.source == "notes"
        if group and not alone and _joins(group, block):
            group.append(block)
            continue
        if group:
            yield group
        group = [block]
        if alone:
            yield [*group, *labels.get(block, ())]
            group = []
    if group:
        yield group


def _labels_of_figures(page: Page) -> dict[Block, list[Block]]:
    """The words drawn in figures, by the caption nearest to them. A single word or number is left out: it is a tick of
    an axis or an entry of a legend, and says nothing alone."""
    captions = [block for block in page.blocks if block.kind == "caption" and _box(block)]
    found: dict[Block, list[Block]] = {}
    for block in page.blocks:
        if block.kind == "figure" and len(block.words) > 1 and captions and (box := _box(block)):
            found.setdefault(min(captions, key=lambda caption: _gap(_box(caption), box)), []).append(block)
    return found


def _box(block: Block) -> Box | None:
    boxes = [box for word in block.words for box in word.boxes]
    return (
        (min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes))
        if boxes
        else None
    )


def _gap(one: Box, other: Box) -> float:
    """Distance between two boxes, across and down."""
    across = max(one[0] - other[2], other[0] - one[2], 0.0)
    return across + max(one[1] - other[3], other[1] - one[3], 0.0)


def _joins(group: list[Block], block: Block) -> bool:
    if block.section != group[0].section:
        return False
    length = sum(len(item.words) for item in group)
    formula = block.kind == "equation" or group[-1].kind == "equation" or group[-1].text.endswith(":")
    small = (not block.lead or _is_front_matter(block)) and min(length, len(block.words)) < _SMALL_WORDS
    return (formula or small) and length + len(block.words) <= MAX_WORDS + 30


def _linked(sentences: list[Sentence], raw: str) -> list[Sentence]:
    linked = sentences[:1]
    for before, sentence in pairwise(sentences):
        linked.append(replace(sentence, follows=bare(before.text + sentence.text) in raw))
    return linked


def _is_front_matter(block: Block) -> bool:
    return block.section == FRONT_MATTER


def _chunks(group: list[Block], page: Page, paper: str, lead: str, number: int) -> Iterator[Chunk]:
    first = group[0]
    sentences = [
        sentence
        for block in group
        for sentence in (_drawn(block) if block.kind == "figure" else split_sentences(block.words))
    ]
    header = 0
    if first.kind == "table":
        named = first.cells or [_cells(row) for row in first.rows]
        sentences += [
            Sentence(_text(row), merge_line_boxes(row), row=True, cells=cells)
            for row, cells in zip(first.rows, named, strict=True)
        ]
        # A row of the notes' numbers reads as a sentence, with its columns' names in it.
        header = 0 if page.source == "notes" else _header_rows([_text(row) for row in first.rows])
        parts = [sentences]
    else:
        parts = _parts(sentences)
    raw = bare(page.raw_text)
    parts = [_linked(part, raw) for part in parts]
    quotable = [part for part in parts if any(not sentence.formula for sentence in part)]
    for offset, part in enumerate(quotable):
        yield Chunk(
            id=f"{paper}-{page.source}-{number + offset:04d}",
            paper=paper,
            source=page.source,
            pdf_page=page.pdf_page,
            last_page=page.last_page or page.pdf_page,
            kind=first.kind,
            section=first.section,
            lead=lead,
            label=first.label,
            sentences=tuple(part),
            header=header,
        )


def _parts(sentences: list[Sentence]) -> list[list[Sentence]]:
    """Runs of at most :data:`MAX_WORDS` words; the last sentence of one opens the next, so no pair is torn apart."""
    lengths = [len(sentence.text.split()) for sentence in sentences]
    if sum(lengths) <= MAX_WORDS + 20:
        return [sentences]
    parts, part, size = [], [], 0
    for sentence, length in zip(sentences, lengths, strict=True):
        if part and size + length > MAX_WORDS:
            parts.append(part)
            part = [part[-1]] if len(part[-1].text.split()) < MAX_WORDS // 3 else []
            size = sum(len(item.text.split()) for item in part)
        part.append(sentence)
        size += length
    return [*parts, part]


def _cells(row: tuple[Word, ...]) -> tuple[str, ...]:
    cells: list[list[Word]] = []
    for word in row:
        if not word.boxes:
            return ()
        last = cells[-1][-1].boxes[-1] if cells else None
        box = word.boxes[0]
        if last and box[0] - last[2] < 0.55 * (box[3] - box[1]):
            cells[-1].append(word)
        else:
            cells.append([word])
    return tuple(_text(cell) for cell in cells)


def _header_rows(rows: list[str]) -> int:
    """Rows above the values: up to the last row near the top that is not mostly values."""
    top = max(1, min(_HEADER_ROWS, len(rows) // 3))
    return max((index + 1 for index in range(top) if not _is_values(rows[index])), default=0) if len(rows) > 1 else 0


def _is_values(row: str) -> bool:
    cells = row.split()[1:]
    values = sum(bool(re.fullmatch(r"[-−±]|[-−+]?[\d.,]+(?:%|e-\d+|-bit)?|N/A", cell)) for cell in cells)
    return bool(cells) and values >= 0.3 * len(cells)


def split_sentences(words: tuple[Word, ...]) -> list[Sentence]:
    """Sentences of a paragraph, each with the boxes of its words."""
    sentences, run = [], []
    for index, word in enumerate(words):
        run.append(word)
        following = words[index + 1].text if index + 1 < len(words) else ""
        ends = _SENTENCE_END.search(word.text) and not ABBREVIATION.search(word.text) and _opens(following)
        if ends or len(run) >= _LONGEST_SENTENCE:
            sentences.append(run)
            run = []
    if run:
        sentences.append(run)
    return [
        Sentence(_text(run), merge_line_boxes(run), formula=any(UNREADABLE in word.text for word in run))
        for run in sentences
    ]


def _drawn(block: Block) -> list[Sentence]:
    unreadable = any(UNREADABLE in word.text for word in block.words)
    return [Sentence(_text(block.words), merge_line_boxes(block.words), formula=unreadable, drawn=True)]


def _opens(word: str) -> bool:
    return bool(word) and (word[0].isupper() or word[0] in '([“"‘•' or word[0].isdigit())


def _text(words: Iterable[Word]) -> str:
    return " ".join(" ".join(word.text for word in words).replace(UNREADABLE, " ").split())
