"""Pages that arrive as OCR layout: regions with boxes become blocks in reading order, pixels become points."""

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from app.assistant.readers.lines import StyledLine, Vocabulary
from app.assistant.readers.ocr_blocks import PageBlocks
from app.assistant.readers.ocr_records import OcrLine, OcrRegion, read_records
from app.assistant.readers.page import FRONT_MATTER, MID_PAPER, UNREADABLE, Box, Document, Page, Word
from app.assistant.readers.reading_order import rows_of
from qlora.errors import InputError

DOUBTFUL = 0.6
"""Lines that the recognizer is less sure of help to find a passage but are not quoted."""
NOISE = 0.3
"""Lines below this are specks and torn letters; they are left out."""

_SHEETS = ((612.0, 792.0), (595.0, 842.0))  # US letter and A4, in points
_RESOLUTIONS = (72, 96, 100, 120, 144, 150, 192, 200, 216, 240, 288, 300, 400, 600)
_PAGE_IN_NAME = re.compile(r"(?:^|[^a-z])p(?:age)?[_\- ]?(\d{1,5})(?!\d)", re.IGNORECASE)


def ocr_document(path: Path, pdf_page: int | None = None, otherwise: int = 1) -> Document:
    """The pages of one file of OCR layout records.

    A page's number is the records' ``page``; else ``pdf_page``, which the caller knows, counted on from there; else the
    number printed in its footer; else the one in the file's name (``page_6.jsonl``); else they count from
    ``otherwise``. Boxes are scaled to points by the records' ``width`` and ``height`` or, without them, by
    :func:`_picture_size`.

    Raises:
        InputError: a line is not a record (see :func:`read_records`), or no page holds any text.
    """
    images = _images([_without_noise(region) for region in read_records(path)])
    if not any(region.lines or region.rows for image in images for region in image):
        raise InputError(f"{path.name} holds no recognized text. Choose another file.")
    numbers, scales = _numbers(images, path, pdf_page, otherwise), _scales(images)
    # A word torn at a line end is joined by how the whole file writes it, so all lines are made first.
    lines = [
        [[_styled(row, scale) for row in rows_of(region.lines, lambda line: line.box)] for region in image]
        for image, (scale, _) in zip(images, scales, strict=True)
    ]
    vocabulary = Vocabulary([[line for region in image for line in region] for image in lines])
    pages, title = [], ""
    section = FRONT_MATTER if numbers[0] == 1 else MID_PAPER
    for number, image, styled, (scale, size) in sorted(zip(numbers, images, lines, scales, strict=True), key=_first):
        page = PageBlocks(image, styled, scale, vocabulary, section, has_title=number == 1)
        pages.append(Page(number, *size, tuple(page.blocks), page.raw_text))
        section, title = page.section, title or page.title
    return Document("ocr", title, pages)


def _first(item: tuple) -> int:
    return item[0]


def _without_noise(region: OcrRegion) -> OcrRegion:
    return replace(region, lines=tuple(line for line in region.lines if line.confidence >= NOISE))


def _images(regions: list[OcrRegion]) -> list[list[OcrRegion]]:
    """Regions by page: those of one ``page`` or ``img_idx``. Several runs of one picture each, put in one file, all
    have ``img_idx`` 0; then a page ends with the footer that holds its number."""
    images: dict[tuple[int | None, int], list[OcrRegion]] = {}
    for region in regions:
        images.setdefault((region.page, region.image), []).append(region)
    split = []
    for image in images.values():
        printed = [_printed_number(region) for region in image]
        if image[0].page is not None or len({number for number in printed if number}) < 2:
            split.append(image)
            continue
        parts: list[list[OcrRegion]] = [[]]
        for region, number in zip(image, printed, strict=True):
            parts[-1].append(region)
            if number:
                parts.append([])
        split += [part for part in parts if part]
    return split


def _printed_number(region: OcrRegion) -> int | None:
    text = " ".join(line.text.strip() for line in region.lines)
    return int(text) if region.kind == "footer" and re.fullmatch(r"[1-9]\d{0,3}", text) else None


def _numbers(images: list[list[OcrRegion]], path: Path, pdf_page: int | None, otherwise: int) -> list[int]:
    given = [image[0].page for image in images]
    if all(given):
        return given
    if pdf_page is not None:
        return [pdf_page + offset for offset in range(len(images))]
    printed = [next((n for region in image if (n := _printed_number(region))), None) for image in images]
    if all(printed) and all(first < second for first, second in pairwise(printed)):
        return printed
    named = _PAGE_IN_NAME.search(path.stem)
    first = int(named[1]) if named and int(named[1]) else otherwise
    return [first + offset for offset in range(len(images))]


def _scales(images: list[list[OcrRegion]]) -> list[tuple[float, tuple[float, float]]]:
    """Points a pixel, and the size in points, of every page."""
    unknown = [region for image in images for region in image if region.size is None]
    inferred = _picture_size([box for region in unknown for box in _boxes(region)]) if unknown else (1.0, 1.0)
    scales = []
    for image in images:
        width, height = next((region.size for region in image if region.size), inferred)
        sheet = min(_SHEETS, key=lambda sheet: abs(height / width - sheet[1] / sheet[0]))
        scale = sheet[0] / width
        scales.append((scale, (round(width * scale, 1), round(height * scale, 1))))
    return scales


def _boxes(region: OcrRegion) -> Iterator[Box]:
    yield region.box
    yield from (line.box for line in region.lines)


def _picture_size(boxes: list[Box]) -> tuple[float, float]:
    """Width and height in pixels of the picture that was recognized, from what stands on it: of the usual sheets at the
    usual resolutions, the one that leaves the same margin on the left and on the right."""
    left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
    bottom = max(box[3] for box in boxes)
    sizes = [(w * dpi / 72, h * dpi / 72) for w, h in _SHEETS for dpi in _RESOLUTIONS]
    fitting = [size for size in sizes if size[0] >= right and size[1] >= bottom]
    if not fitting:
        width = max(right + max(left, 0.0), bottom / math.sqrt(2), 1.0)
        return width, width * math.sqrt(2)
    return min(fitting, key=lambda size: abs(size[0] - right - left) / size[0])


def _styled(row: list[OcrLine], scale: float) -> StyledLine:
    """One line of words; a word's box is its share of the line's, by letters. A doubtful line is marked unreadable.

    Where the recognizer tore one printed line in several, the bold flags tell the first piece from the others: it is
    the only trace that is left of a bold run-in title.
    """
    words: list[Word] = []
    bold: list[bool] = []
    for number, line in enumerate(row):
        text = line.text.strip()
        left, top, right, bottom = (side * scale for side in line.box)
        step = (right - left) / len(text)
        piece = [
            Word(match[0], ((left + match.start() * step, top, left + match.end() * step, bottom),))
            for match in re.finditer(r"\S+", text)
        ]
        if line.confidence < DOUBTFUL:
            piece.insert(1, Word(UNREADABLE))
        words += piece
        bold += [number == 0 and len(row) > 1] * len(piece)
    sides = list(zip(*(line.box for line in row), strict=True))
    box = (min(sides[0]) * scale, min(sides[1]) * scale, max(sides[2]) * scale, max(sides[3]) * scale)
    hyphenated = words[-1].text.endswith("-") and len(words[-1].text) > 1
    return StyledLine(words, bold, box, box[3] - box[1], 0.0, True, hyphenated)
