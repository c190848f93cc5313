"""A paper's tables and figures: what each is called, says and shows, and where it stands on its page."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.assistant.chunking import Chunk, Sentence
from app.assistant.index import Index
from app.assistant.readers.page import Box

MOST_EXHIBITS = 60
MOST_ROWS = 60
_TEXT = {"text", "table", "caption", "equation", "footnote", "reference"}
_LEAST_HEIGHT = 30.0
"""In points: a lower gap above a caption holds no figure."""
_AIR = 4.0
"""Points left free around a caption or table, and between a figure's region and the text beside it."""


@dataclass(frozen=True)
class Exhibit:
    """A table or figure.

    ``kind`` is ``"table"`` or ``"figure"``, ``source`` is ``"paper"`` or ``"notes"``. ``box`` is the region of the page
    that shows it with its caption, None where no boxes are known; a figure's is the free space beside its caption.
    ``rows`` are a table's rows, ``header`` of them naming the columns; ``rows_source`` says whether they are the
    paper's or from the notes, which have the numbers of drawn figures.
    """

    label: str
    kind: str
    caption: str
    pdf_page: int
    section: str
    source: str
    box: Box | None = None
    rows: tuple[tuple[str, ...], ...] = ()
    header: int = 0
    rows_source: str = ""

    @classmethod
    def from_record(cls, record: dict) -> "Exhibit":
        box, rows = record["box"], record["rows"]
        return cls(**{**record, "box": tuple(box) if box else None, "rows": tuple(map(tuple, rows))})


def exhibits_of(index: Index) -> tuple[Exhibit, ...]:
    """The paper's labelled tables and figures in the order of its pages, at most :data:`MOST_EXHIBITS`.

    Those of the paper itself while it is there, else what the notes say of them.
    """
    labelled = [chunk for chunk in index.chunks if chunk.label.startswith(("Table ", "Figure "))]
    own = [chunk for chunk in labelled if chunk.source == "paper" and chunk.kind in ("table", "caption")]
    notes = [chunk for chunk in labelled if chunk.source == "notes"]
    paper = [chunk for chunk in index.chunks if chunk.source == "paper"]
    groups: dict[str, list[Chunk]] = {}
    for chunk in own if paper else notes:
        groups.setdefault(chunk.label, []).append(chunk)
    found = []
    for label, group in groups.items():
        numbers = [chunk for chunk in notes if chunk.label == label and chunk.kind == "table"]
        found.append(_exhibit(_best(group), group, numbers, paper))
    return tuple(sorted(found, key=lambda item: (item.pdf_page, item.box[1] if item.box else 0.0)))[:MOST_EXHIBITS]


def _best(group: list[Chunk]) -> Chunk:
    """The passage that is the thing itself: a caption that begins with its label, not the words drawn in a figure; a
    note that is headed by it."""
    return min(group, key=lambda c: (not c.lead.startswith(c.label), c.kind != "table", not c.text.startswith(c.label)))


def _exhibit(chunk: Chunk, group: list[Chunk], numbers: list[Chunk], paper: list[Chunk]) -> Exhibit:
    kind = "table" if chunk.label.startswith("Table") else "figure"
    said = " ".join(sentence.text for sentence in chunk.sentences if not (sentence.row or sentence.drawn))
    caption = said if chunk.source == "paper" else chunk.lead
    held = chunk if chunk.kind == "table" else next(iter(numbers), None)
    rows = [_cells(sentence, held.source) for sentence in held.sentences if sentence.row] if held else []
    return Exhibit(
        label=chunk.label,
        kind=kind,
        caption=caption,
        pdf_page=chunk.pdf_page,
        section=chunk.section if chunk.source == "paper" else "",
        source=chunk.source,
        box=_region(chunk, kind, group, paper),
        rows=tuple(rows[:MOST_ROWS]),
        header=min(held.header, len(rows)) if held and held.source == "paper" else 0,
        rows_source=held.source if rows else "",
    )


def _cells(row: Sentence, source: str) -> tuple[str, ...]:
    """A row's cells; of the notes' rows the name and what is said of it."""
    if source == "notes" and ": " in row.text:
        name, _, values = row.text.partition(": ")
        return name, values
    return row.cells or (row.text,)


def _boxes(chunks: Iterable[Chunk], drawn: bool = False) -> list[Box]:
    """Boxes of the passages' words, or of those ``drawn`` in figures."""
    return [box for chunk in chunks for s in chunk.sentences if s.drawn == drawn for box in s.boxes]


def _around(boxes: list[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _region(chunk: Chunk, kind: str, group: list[Chunk], paper: list[Chunk]) -> Box | None:
    own = _boxes([chunk])
    if not own:
        return None
    caption = _around(own)
    if kind == "table":
        return _rounded(caption)
    drawn = _boxes(item for item in group if item is not chunk and item.pdf_page == chunk.pdf_page)
    area = _around(_boxes(item for item in paper if item.kind in _TEXT))
    others = [item for item in paper if item.kind in _TEXT and item.pdf_page == chunk.pdf_page and item not in group]
    above, below = _gaps(caption, _boxes(others), area)
    drawing = above if above[3] - above[1] >= _LEAST_HEIGHT else below
    if drawing[3] - drawing[1] < _LEAST_HEIGHT:
        return _rounded(_around([*drawn, caption])) if drawn else None
    captions = [_around(_boxes([item])) for item in others if item.kind == "caption" and _boxes([item])]
    return _rounded(_around([*drawn, _widened(drawing, caption, _boxes(others), captions, area), caption]))


def _gaps(caption: Box, others: list[Box], area: Box) -> tuple[Box, Box]:
    """The space without text above the caption and the one below it, as wide as the caption."""
    left, top, right, bottom = caption
    beside = [box for box in others if min(box[2], right) - max(box[0], left) > _AIR]
    ceiling = max((box[3] + 2 * _AIR for box in beside if box[3] <= top + _AIR), default=area[1])
    floor = min((box[1] - 2 * _AIR for box in beside if box[1] >= bottom - _AIR), default=area[3])
    return (left, min(ceiling, top), right, top), (left, bottom, right, max(floor, bottom))


def _widened(drawing: Box, caption: Box, others: list[Box], captions: list[Box], area: Box) -> Box:
    """The drawing's space up to the text on either side; half way to a neighbour's caption."""
    left, top, right, bottom = drawing
    level = [box for box in others if min(box[3], bottom) - max(box[1], top) > _AIR]
    near = [box for box in captions if min(box[3], caption[3]) - max(box[1], caption[1]) > 0]
    ends = [box[2] + 2 * _AIR for box in level if box[2] <= left + _AIR]
    ends += [(box[2] + left) / 2 for box in near if box[2] <= left + _AIR]
    starts = [box[0] - 2 * _AIR for box in level if box[0] >= right - _AIR]
    starts += [(box[0] + right) / 2 for box in near if box[0] >= right - _AIR]
    return min(max([area[0], *ends]), left), top, max(min([area[2], *starts]), right), bottom


def _rounded(box: Box) -> Box:
    left, top, right, bottom = box
    return round(max(left - _AIR, 0), 1), round(max(top - _AIR, 0), 1), round(right + _AIR, 1), round(bottom + _AIR, 1)
