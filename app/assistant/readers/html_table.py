"""Tables that come as HTML, which is how layout recognizers write them: rows of cells, as plain text."""

from html.parser import HTMLParser

_WIDEST = 100
"""More columns than a page can hold; a larger ``colspan`` is a mistake or a trap."""


def table_rows(html: str) -> list[tuple[str, ...]]:
    """The cells of every row, white space tidied; a cell over several columns is followed by empty ones. Tags inside a
    cell are dropped, their text is kept."""
    parser = _Rows()
    parser.feed(html)
    parser.close()
    return [tuple(row) for row in parser.rows if any(row)]


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
