"""Tables of figures: the text twin of every chart."""

from collections.abc import Sequence
from html import escape


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    chosen: str | None = None,
    left_aligned: bool = False,
) -> str:
    """An HTML table; the first cell of a row is its heading, and the row headed ``chosen`` is set in bold.

    Args:
        columns: headings, one a column.
        rows: cells as text, as many a row as there are columns.
        caption: what the table shows, and where its numbers come from.
        chosen: heading of the row that is set in bold.
        left_aligned: the cells are words, not numbers.
    """
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        ('<tr class="chosen">' if row[0] == chosen else "<tr>")
        + f'<th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    kind = "figures words" if left_aligned else "figures"
    return (
        f'<p class="note">{escape(caption)}</p><div class="table-scroll" tabindex="0">'
        f'<table class="{kind}" aria-label="{escape(caption)}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def table_twin(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    summary: str,
    chosen: str | None = None,
    left_aligned: bool = False,
) -> str:
    """The table folded under its chart; ``summary`` is the sentence that opens it."""
    return (
        f'<details class="table-twin"><summary>{escape(summary)}</summary>'
        f"{table(columns, rows, caption=caption, chosen=chosen, left_aligned=left_aligned)}</details>"
    )
