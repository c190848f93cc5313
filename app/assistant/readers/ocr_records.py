"""OCR layout records: one JSON object a line, as PaddleOCR's layout recognition writes them, checked field by field.

Each object is a region of a page: ``type``, ``bbox`` (left, top, right, bottom in pixels) and ``res``, which is a list
of lines (``text``, ``confidence``, ``text_region`` with the four corners) or, for a table, ``{"html", "cell_bbox"}``.
``img_idx`` tells the pages of one run apart. ``page`` (the paper's page) and ``width`` and ``height`` (the picture's
size in pixels) are taken where they are given.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from app.assistant.readers.html_table import table_rows, unmerged
from app.assistant.readers.page import Box, shortened
from qlora.errors import InputError

# What recognizers call the kinds of regions; a name that is not here is read as running text.
KIND_OF_TYPE = {
    "title": "heading", "doc_title": "heading", "paragraph_title": "heading", "section_title": "heading",
    "figure": "figure", "image": "figure", "chart": "figure",
    "figure_caption": "caption", "table_caption": "caption", "figure_title": "caption", "table_title": "caption",
    "chart_title": "caption", "figure_table_chart_title": "caption", "caption": "caption",
    "table": "table", "equation": "equation", "formula": "equation", "isolate_formula": "equation",
    "reference": "reference", "reference_content": "reference", "footnote": "footnote", "vision_footnote": "footnote",
    "footer": "footer", "header": "footer", "number": "footer", "page_number": "footer", "aside_text": "footer",
}  # fmt: skip


@dataclass(frozen=True)
class OcrLine:
    """A recognized line: its text, how sure the recognizer is (0 to 1), and its box in pixels."""

    text: str
    confidence: float
    box: Box


@dataclass(frozen=True)
class OcrRegion:
    """A region of a page in pixels.

    ``rows`` and ``cell_boxes`` (one a cell, or none at all) are a table's; ``page`` and ``size`` are None where the
    record does not give them.
    """

    kind: str
    box: Box
    lines: tuple[OcrLine, ...]
    rows: tuple[tuple[str, ...], ...] = ()
    cell_boxes: tuple[Box, ...] = ()
    image: int = 0
    page: int | None = None
    size: tuple[float, float] | None = None


def read_records(path: Path) -> list[OcrRegion]:
    """All regions of the file, in its order.

    Raises:
        InputError: a line is not such a record; the message names the file, the line and the field.
    """
    regions = []
    with path.open(encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    regions.append(_Record(path.name, number, line.lstrip("\ufeff")).region())
        except UnicodeDecodeError as error:
            raise InputError(f"{path.name} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from error
    return regions


class _Record:
    def __init__(self, file: str, number: int, line: str):
        self.place = f"{file}, line {number}"
        try:
            self.fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "it is nested too deeply")
            raise InputError(f"{self.place} is not JSON ({reason}). Write one object a line.") from error
        if not isinstance(self.fields, dict):
            raise InputError(f"{self.place} is not a JSON object with the fields “type”, “bbox” and “res”.")

    def region(self) -> OcrRegion:
        kind = self.fields.get("type")
        if not isinstance(kind, str):
            raise self._wrong("type", "a text such as “text” or “table”", kind)
        box = self._box("bbox", self.fields.get("bbox"))
        found = self.fields.get("res", [])
        rows, cells, lines = (), (), ()
        if isinstance(found, dict):
            rows, cells = self._table(found, box)
        elif isinstance(found, list):
            lines = tuple(self._line(f"res[{index}]", item) for index, item in enumerate(found))
        elif isinstance(found, str):
            lines = (OcrLine(shortened(found), 1.0, box),)
        else:
            raise self._wrong("res", "a list of lines, or an object with “html”", found)
        return OcrRegion(
            KIND_OF_TYPE.get(kind.lower(), "text"),
            box,
            tuple(line for line in lines if line.text.strip()),
            rows,
            cells,
            self._whole("img_idx", 0) or 0,
            self._whole("page", 1),
            self._size(),
        )

    def _line(self, field: str, item: object) -> OcrLine:
        if not isinstance(item, dict):
            raise self._wrong(field, "an object with “text”, “confidence” and “text_region”", item)
        text = item.get("text")
        if not isinstance(text, str):
            raise self._wrong(f"{field}.text", "a text", text)
        confidence = item.get("confidence", 1.0)
        if not _is_number(confidence) or not 0 <= confidence <= 1:
            raise self._wrong(f"{field}.confidence", "a number from 0 to 1", confidence)
        return OcrLine(shortened(text), float(confidence), self._box(f"{field}.text_region", item.get("text_region")))

    def _table(self, found: dict, box: Box) -> tuple[tuple[tuple[str, ...], ...], tuple[Box, ...]]:
        html = found.get("html")
        if not isinstance(html, str):
            raise self._wrong("res.html", "the table as HTML", html)
        rows = tuple(tuple(map(shortened, row)) for row in unmerged(table_rows(html)))
        cells = found.get("cell_bbox") or []
        if not isinstance(cells, list):
            raise self._wrong("res.cell_bbox", "a list with a box for each cell", cells)
        boxes = [self._box(f"res.cell_bbox[{index}]", cell) for index, cell in enumerate(cells)]
        # Cells are counted from the table's corner. Where their number differs from the HTML's they are of no use.
        matched = len(boxes) == sum(len(row) for row in rows)
        moved = [(a + box[0], b + box[1], c + box[0], d + box[1]) for a, b, c, d in boxes]
        return rows, tuple(moved) if matched else ()

    def _box(self, field: str, value: object) -> Box:
        """A box from four numbers, or from corners given as pairs or as eight numbers in a row."""
        if isinstance(value, list) and value and all(isinstance(corner, list) for corner in value):
            value = [number for corner in value for number in corner]
        if not isinstance(value, list) or len(value) not in (4, 8) or not all(map(_is_number, value)):
            raise self._wrong(field, "four numbers (left, top, right, bottom) or four corners", value)
        horizontal, vertical = value[0::2], value[1::2]
        return (float(min(horizontal)), float(min(vertical)), float(max(horizontal)), float(max(vertical)))

    def _whole(self, field: str, least: int) -> int | None:
        value = self.fields.get(field)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 100_000:
            raise self._wrong(field, f"a whole number from {least}", value)
        return value

    def _size(self) -> tuple[float, float] | None:
        size = self.fields.get("width"), self.fields.get("height")
        if size == (None, None):
            return None
        for field, value in zip(("width", "height"), size, strict=True):
            if not _is_number(value) or value <= 0:
                raise self._wrong(field, "the picture's size in pixels", value)
        return float(size[0]), float(size[1])

    def _wrong(self, field: str, expected: str, value: object) -> InputError:
        shown = "missing" if value is None else f"{json.dumps(value, ensure_ascii=False)[:60]}"
        return InputError(f"{self.place}: the field “{field}” is {shown}; expected {expected}.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
