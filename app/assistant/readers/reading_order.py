"""The order in which a person reads boxes on a page: down one column, then down the next; a title across both first."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from app.assistant.readers.page import Box

T = TypeVar("T")


def reading_order(items: Sequence[T], box: Callable[[T], Box]) -> list[T]:
    """The items in reading order, by recursive cuts along white space.

    Columns are cut apart where a vertical gap runs through all items. Where none does, horizontal gaps cut the items
    into bands, and neighbouring bands that share a column gap are read as one, so that a gap that happens to run across
    both columns does not send the reader to and fro.
    """
    items = list(items)
    if len(items) < 2:
        return items
    columns = _parts(items, box, axis=0)
    if len(columns) > 1:
        return [item for column in columns for item in reading_order(column, box)]
    bands = _parts(items, box, axis=1)
    if len(bands) == 1:
        return sorted(items, key=lambda item: (box(item)[1], box(item)[0]))
    ordered: list[T] = []
    run = bands[0]
    for band in bands[1:]:
        if _one_gap(run, band, box):
            run = run + band
            continue
        ordered += reading_order(run, box)
        run = band
    return ordered + reading_order(run, box)


def rows_of(items: Sequence[T], box: Callable[[T], Box]) -> list[list[T]]:
    """Items that stand beside each other (half of the lower one's height or more in common), from top to bottom, each
    row from left to right."""
    rows: list[list[T]] = []
    for item in sorted(items, key=lambda item: box(item)[1] + box(item)[3]):
        if rows:
            last, this = box(rows[-1][0]), box(item)
            common = min(last[3], this[3]) - max(last[1], this[1])
            if common > 0.5 * min(last[3] - last[1], this[3] - this[1]):
                rows[-1].append(item)
                continue
        rows.append([item])
    return [sorted(row, key=lambda item: box(item)[0]) for row in rows]


def _parts(items: list[T], box: Callable[[T], Box], axis: int) -> list[list[T]]:
    """The items cut at every gap across the axis (0: left to right, 1: top to bottom). Boxes are drawn a little too
    large by most recognizers, so they may overlap by a hundredth of the whole."""
    low, high = min(box(item)[axis] for item in items), max(box(item)[axis + 2] for item in items)
    slack = 0.01 * (high - low)
    parts: list[list[T]] = []
    end = float("-inf")
    for item in sorted(items, key=lambda item: box(item)[axis]):
        if box(item)[axis] >= end - slack:
            parts.append([])
        parts[-1].append(item)
        end = max(end, box(item)[axis + 2])
    return parts


def _one_gap(above: list[T], below: list[T], box: Callable[[T], Box]) -> bool:
    """Whether one column gap runs through both bands, and at least one of them has columns at all."""
    has_columns = any(len(_parts(band, box, axis=0)) > 1 for band in (above, below))
    return has_columns and len(_parts(above + below, box, axis=0)) > 1
