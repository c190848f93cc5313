"""Regions of one OCR page become blocks: paragraphs that run on, sections, tables and figures with their captions."""

import re
from collections.abc import Iterator

from app.assistant.readers.lines import StyledLine, Vocabulary
from app.assistant.readers.ocr_records import OcrRegion
from app.assistant.readers.page import (
    FRONT_MATTER,
    NUMBERED_HEADING,
    UNNUMBERED_HEADINGS,
    Block,
    Box,
    Word,
    caption_label,
)
from app.assistant.readers.reading_order import reading_order

_SENTENCE_END = re.compile(r"[.!?:;][\])}”\"’']*$")
_LEAD_LINES, _LEAD_WORDS = 3, 24
_REACH_LINES = 6
"""A caption stands at most this many line heights from its table or figure."""


class PageBlocks:
    """Blocks of one page; ``section`` is the section that the next page begins in.

    Args:
        regions: of the page, in any order, in pixels.
        lines: of each region, from top to bottom, in points.
        scale: points a pixel.
        vocabulary: how the document writes its words.
        section: that the page begins in.
        has_title: whether this is the page with the paper's title, which is then no section.
    """

    def __init__(
        self,
        regions: list[OcrRegion],
        lines: list[list[StyledLine]],
        scale: float,
        vocabulary: Vocabulary,
        section: str,
        has_title: bool,
    ):
        self.scale, self.vocabulary, self.section, self.title = scale, vocabulary, section, ""
        self._has_title = has_title
        self._lines = {id(region): found for region, found in zip(regions, lines, strict=True)}
        body = reading_order([region for region in regions if region.kind != "footer"], lambda region: region.box)
        footers = [region for region in regions if region.kind == "footer"]
        self.raw_text = "\n".join(text for region in body + footers for text in self._raw(region))
        self.blocks = [*self._running_text(body), *self._floats(body)]
        self.blocks += [Block("footer", self._words(region), self.section) for region in footers if self._words(region)]

    def _raw(self, region: OcrRegion) -> Iterator[str]:
        for line in self._lines[id(region)]:
            yield line.text
        for row in region.rows:
            yield " ".join(row)

    def _words(self, region: OcrRegion) -> tuple[Word, ...]:
        return self.vocabulary.joined(self._lines[id(region)])

    def _running_text(self, body: list[OcrRegion]) -> Iterator[Block]:
        paragraph: list[StyledLine] = []
        kind = ""
        for region in body:
            lines = self._lines[id(region)]
            if not lines or self._is_float(region):
                continue
            goes_on = paragraph and region.kind == kind == "text" and self._goes_on(paragraph[-1], lines[0])
            if paragraph and not goes_on:
                yield self._paragraph(kind, paragraph)
                paragraph = []
            if region.kind == "heading":
                yield self._heading(self._words(region))
                continue
            paragraph, kind = paragraph + lines, region.kind
        if paragraph:
            yield self._paragraph(kind, paragraph)

    @staticmethod
    def _goes_on(last: StyledLine, first: StyledLine) -> bool:
        """Whether a paragraph that ends a column goes on in the next: its sentence is not done."""
        return last.hyphenated or (not _SENTENCE_END.search(last.text) and first.text[:1].islower())

    def _heading(self, words: tuple[Word, ...]) -> Block:
        text = " ".join(word.text for word in words)
        named = NUMBERED_HEADING.match(text) or text.lower() in UNNUMBERED_HEADINGS
        if self._has_title and not self.title and self.section == FRONT_MATTER and not named:
            self.title = text
        else:
            self.section = text
        return Block("heading", words, self.section)

    def _paragraph(self, kind: str, lines: list[StyledLine]) -> Block:
        if self.section.lower().endswith(("references", "bibliography")):
            kind = "reference"
        words = list(self.vocabulary.joined(lines))
        # A piece of a torn line often begins with the full stop that ended the piece before.
        doubled = [i for i in range(1, len(words)) if words[i].text == "." == words[i - 1].text[-1:]]
        for index in reversed(doubled):
            del words[index]
        lead = self._lead(lines) if kind == "text" else ""
        return Block(kind, tuple(words), self.section, lead=lead)

    def _lead(self, lines: list[StyledLine]) -> str:
        """The run-in title at the start: it ends where one of the first lines is torn and a sentence begins."""
        for number, line in enumerate(lines[:_LEAD_LINES]):
            if not line.bold[0]:
                continue
            torn = line.bold.index(False)
            rest = " ".join(word.text for word in line.words[torn:]).lstrip(". ")
            head = StyledLine(line.words[:torn], line.bold[:torn], line.box, line.size, 0.0, True, False)
            words = self.vocabulary.joined([*lines[:number], head])
            text = " ".join(word.text for word in words).rstrip(".:")
            whole = not re.search(r"[.!?,;]$|[.!?]\s", text)
            return text if whole and rest[:1].isupper() and len(text) > 2 and len(words) <= _LEAD_WORDS else ""
        return ""

    def _is_float(self, region: OcrRegion) -> bool:
        return region.kind in ("table", "figure", "caption") or bool(self._label(region))

    def _label(self, region: OcrRegion) -> str:
        """What the region's caption names. A caption is often taken for text; a list or a reference never for one."""
        lines = self._lines[id(region)]
        return caption_label(lines[0].text) if lines and region.kind in ("caption", "text") else ""

    def _floats(self, body: list[OcrRegion]) -> Iterator[Block]:
        """Tables under their captions, figures' labels under the figure's name, then the captions of figures."""
        captions = [region for region in body if region.kind == "caption" or self._label(region)]
        for region in body:
            if region.kind not in ("table", "figure"):
                continue
            prefix = "Table" if region.kind == "table" else "Figure"
            caption = _nearest(region, [item for item in captions if self._label(item).startswith(prefix)])
            label = self._label(caption) if caption else ""
            if region.kind == "figure":
                words = self._words(region)
                # Without its name a figure's labels are numbers about nothing.
                if words:
                    yield Block("caption" if label else "figure", words, self.section, label=label)
                continue
            rows = self._rows(region)
            if rows:
                words = self._words(caption) if caption else ()
                yield Block("table", words, self.section, label=label, rows=rows, cells=region.rows)
                captions = [item for item in captions if item is not caption]
        for caption in captions:
            if words := self._words(caption):
                yield Block("caption", words, self.section, label=self._label(caption))

    def _rows(self, region: OcrRegion) -> tuple[tuple[Word, ...], ...]:
        """A table's rows from its HTML, or from its lines where it has none. Words take their cell's box; where the
        cells' are not known, an even share of the table's height."""
        if not region.rows:
            return tuple(tuple(line.words) for line in self._lines[id(region)])
        left, top, right, bottom = region.box
        height = (bottom - top) / len(region.rows)
        boxes = iter(region.cell_boxes)
        rows = []
        for number, row in enumerate(region.rows):
            share = (left, top + number * height, right, top + (number + 1) * height)
            cells = [(cell, self._points(next(boxes, share))) for cell in row]
            rows.append(tuple(Word(word, (box,)) for cell, box in cells for word in cell.split()))
        return tuple(rows)

    def _points(self, box: Box) -> Box:
        return tuple(side * self.scale for side in box)


def _nearest(region: OcrRegion, captions: list[OcrRegion]) -> OcrRegion | None:
    """The caption right above or below the region, if there is one."""

    def distance(caption: OcrRegion) -> float:
        return max(region.box[1] - caption.box[3], caption.box[1] - region.box[3], 0.0)

    beside = [
        caption
        for caption in captions
        if caption.box[0] < region.box[2]
        and caption.box[2] > region.box[0]
        and distance(caption) < _REACH_LINES * max(line.box[3] - line.box[1] for line in caption.lines)
    ]
    return min(beside, key=distance, default=None)
