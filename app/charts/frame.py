"""What stands around every chart: its numbers as a table, and buttons that save it as SVG, PNG or CSV.

The browser makes the files (``app/scripts/charts.js``): the drawing as the visitor sees it, in the theme's colours, and
the numbers as they were drawn, not as the table rounds them.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from app.charts.table import table
from app.text import common

Value = str | int | float | None


@dataclass(frozen=True)
class Data:
    """The numbers behind a chart.

    Attributes:
        columns: headings, one a column, with their units.
        rows: a row's values as they were drawn; None where there is none.
        formats: how the table shows each column, in the language of ``str.format``: ``"{:,.1f} %"``.
        caption: what the table shows, and where its numbers come from.
        chosen: first cell, as shown, of the row that is set in bold.
        left_aligned: the cells are words, not numbers.
        summary: the words that open the table; "" where one table stands under several charts.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    formats: Sequence[str]
    caption: str
    chosen: str | None = None
    left_aligned: bool = False
    summary: str = common.SHOW_AS_TABLE

    def __post_init__(self) -> None:
        for row in (self.formats, *self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"{len(self.columns)} columns ({', '.join(self.columns)}), but {len(row)} in {row}")

    def cells(self) -> list[list[str]]:
        """The rows as the table shows them, with a true minus sign."""
        return [
            [_shown(value, form) for value, form in zip(row, self.formats, strict=True)]
            for row in self.rows
        ]  # fmt: skip

    def csv(self) -> str:
        """The columns and the unrounded values, one line a row."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(["" if value is None else value for value in row] for row in self.rows)
        return text.getvalue()


def framed(drawing: str, *, title: str, data: Data | None) -> str:
    """The ``<figure>`` around a chart: the drawing, its table folded under it, and the buttons.

    Args:
        drawing: an ``<svg>`` element from :func:`app.charts.svg.to_svg`.
        title: name of the chart; the files are named after it.
        data: its numbers; without them there is neither table nor CSV.
    """
    name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    kinds = ("svg", "png", "csv") if data else ("svg", "png")
    buttons = "".join(_button(kind, common.SAVE_AS.format(title=title, kind=kind.upper())) for kind in kinds)
    twin = kept = ""
    if data:
        kept = f' data-csv="{escape(data.csv())}"'
    if data and data.summary:
        shown = table(
            data.columns, data.cells(), caption=data.caption, chosen=data.chosen, left_aligned=data.left_aligned
        )
        twin = (
            f'<details class="table-twin" data-fold="{name}"><summary>{escape(data.summary)}</summary>{shown}</details>'
        )
    return (
        f'<figure class="chart" data-name="{name}"{kept}>{drawing}'
        f'<div class="chart-save"><span>{escape(common.SAVE)}</span>{buttons}</div>{twin}</figure>'
    )


def _button(kind: str, label: str) -> str:
    return f'<button type="button" data-save="{kind}" aria-label="{escape(label)}">{kind.upper()}</button>'


def _shown(value: Value, form: str) -> str:
    return "" if value is None else form.format(value).replace("-", "−") if not isinstance(value, str) else value
