"""Tables of figures: the text twin of every chart."""

from collections.abc import Sequence
from html import escape


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, chosen: str | None = None) -> str:
    """An HTML table; the first cell of a row is its heading, and the row headed ``chosen`` is set in bold.

    Args:
        columns: headings, one a column.
        rows: cells as text, as many a row as there are columns.
        caption: what the table shows, and where its numbers come from.
    """
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr{" class=chosen" if row[0] == chosen else ""}><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="table-scroll"><table class="figures"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def table_twin(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, summary: str, chosen: str | None = None
) -> str:
    """The table folded under its chart; ``summary`` is the sentence that opens it."""
    return (
        f'<details class="table-twin"><summary>{escape(summary)}</summary>'
        f"{table(columns, rows, caption=caption, chosen=chosen)}</details>"
    )
