"""Tables that come as HTML, which is how layout recognizers write them: rows of cells, as plain text."""

import re
from html.parser import HTMLParser

_VALUE = re.compile(r"N/?A|[-–—]|[-+−±<>~]?\$?\d[\d.,]*(?:[%KMBTkx]|±\d[\d.]*)?", re.ASCII)
_UNIT = re.compile(r"%|[KMGT]i?B|bits?|ms|s|min|h|hours?|days?|g|kg")
_WIDEST = 100
"""More columns than a page can hold; a larger ``colspan`` is a mistake or a trap."""


def table_rows(html: str) -> list[tuple[str, ...]]:
    """The cells of every row, white space tidied; a cell over several columns is followed by empty ones. Tags inside a
    cell are dropped, their text is kept."""
    parser = _Rows()
    parser.feed(html)
    parser.close()
    return [tuple(row) for row in parser.rows if any(row)]


def unmerged(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows of a table that came as one cell a row, told apart by what stands in them; other tables as they are.

    A recognizer that misses the lines of a table writes all of its body into one cell: "Wheat 68 2.4 Rye 80 1.2". There
    a row begins with a name that follows a value, and it has as many values as every other row; where that does not
    come out even, nothing is changed. A heading of as many words as there are columns is told apart as well.
    """
    if len(rows) < 2 or any(len(row) != 1 for row in rows):
        return rows
    apart: list[tuple[str, ...]] = []
    for (cell,) in rows[1:]:
        apart += _named_values(cell.split())
    columns = {len(row) for row in apart}
    if len(apart) < 2 or len(columns) != 1 or columns == {1} or not all(row[0] for row in apart):
        return rows
    heading = rows[0][0].split()
    return [tuple(heading) if {len(heading)} == columns else rows[0], *apart]


def _named_values(words: list[str]) -> list[tuple[str, ...]]:
    rows: list[list[str]] = [[""]]
    for word in words:
        row = rows[-1]
        if _VALUE.fullmatch(word):
            row.append(word)
        elif len(row) > 1 and _UNIT.fullmatch(word):
            row[-1] += f" {word}"
        elif len(row) > 1:
            rows.append([word])
        else:
            row[0] = f"{row[0]} {word}".strip()
    return [tuple(row) for row in rows]


class _Rows(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._open = False
        self._silent = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
            self._open = False
        elif tag in ("td", "th"):
            if not self.rows:
                self.rows.append([])
            span = dict(attributes).get("colspan") or "1"
            empty = min(int(span), _WIDEST) - 1 if span.isdecimal() else 0
            self.rows[-1] += [""] * (1 + max(0, empty))
            self._cell = -1 - max(0, empty)
            self._open = True
        elif tag in ("script", "style"):
            self._silent += 1

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr"):
            self._open = False
        elif tag in ("script", "style"):
            self._silent = max(0, self._silent - 1)

    def handle_data(self, data: str) -> None:
        if self._open and not self._silent:
            row = self.rows[-1]
            row[self._cell] = " ".join(f"{row[self._cell]} {data}".split())
