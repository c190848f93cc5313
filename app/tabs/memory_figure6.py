"""The paper's Figure 6 in the Memory tab: its numbers, the formula, the difference, and what stays unexplained."""

import csv
import functools
from html import escape
from pathlib import Path

from app.charts import markup
from app.charts.frame import Data
from app.charts.svg import chart
from app.charts.table import table_twin
from app.text import common
from app.text import memory as text
from qlora.errors import InputError
from qlora.memory import figure6
from qlora.memory.shapes import LLAMA

NUMBERS = Path(__file__).parents[2] / "papers" / "qlora"
BARS, LABELS = "figure_06_memory.csv", "figure_06_labels.csv"
_MEASURED_AS_RANGE = "input_gradient"


def read_figure(folder: Path = NUMBERS) -> tuple[dict[str, dict[str, float]], dict[str, float], float]:
    """The numbers of the paper's figure.

    Args:
        folder: holds the two CSV files.

    Returns:
        bars: size -> component -> MiB in the figure's order, the input gradient as the middle of its possible range;
        labels: size -> the total printed over the bar, in GB;
        the lower end of the 65B input gradient's range, in MiB.

    Raises:
        InputError: a file is missing or is not what it should be.
    """
    rows = _read(folder / BARS, ("model", "component", "mib"))
    labels = _read(folder / LABELS, ("model", "label_gb"))
    try:
        printed = {(row["model"], row["component"]): float(row["mib"]) for row in rows}
        low, high = ({size: printed[size, f"{_MEASURED_AS_RANGE}_{end}"] for size in LLAMA} for end in ("low", "high"))
        bars = {
            size: {part: printed[size, part] for part in figure6.COMPONENTS if part != _MEASURED_AS_RANGE}
            | {_MEASURED_AS_RANGE: (low[size] + high[size]) / 2}
            for size in LLAMA
        }
        return bars, {row["model"]: float(row["label_gb"]) for row in labels}, low["65B"]
    except (KeyError, ValueError) as error:
        raise InputError(text.BROKEN_FIGURES.format(path=folder / BARS, reason=error)) from None


def _read(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise InputError(text.NO_FIGURES.format(path=path)) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(text.BROKEN_FIGURES.format(path=path, reason=error)) from None
    if not rows or not set(columns) <= rows[0].keys():
        raise InputError(text.BROKEN_FIGURES.format(path=path, reason=f"expected the columns {', '.join(columns)}"))
    return rows


def panel(narrow: bool) -> str:
    """The whole panel as HTML; a problem with the numbers stands in its place."""
    try:
        paper, labels, lowest_65b = read_figure()
    except InputError as problem:
        return markup.problem(str(problem))
    from app.charts.memory import figure6_figure

    ours = figure6.recreate(paper)
    shares = {size: 100 * parts["model"] / sum(parts.values()) for size, parts in ours.items()}
    conclusion = text.FIGURE6_CONCLUSION.format(
        deviation=100 * figure6.fit_overhead(paper).largest_deviation,
        share_small=shares["7B"],
        share_large=shares["65B"],
    )
    described = "; ".join(
        text.FIGURE6_DESCRIPTION_SIZE.format(
            size=size,
            ours=sum(parts.values()),
            paper=sum(paper[size].values()),
            parts=", ".join(f"{text.FIGURE6_PARTS[part]} {mib:,.0f}" for part, mib in parts.items()),
        )
        for size, parts in ours.items()
    )
    return (
        markup.panel_title(
            text.FIGURE6_TITLE, kind=common.COMPUTED, beside=common.FROM_THE_PAPER, ask=text.FIGURE6_QUESTION
        )
        + markup.conclusion(conclusion)
        + chart(
            functools.partial(figure6_figure, ours=ours, paper=paper, labels=labels),
            narrow=narrow,
            title=text.FIGURE6_TITLE,
            description=text.FIGURE6_DESCRIPTION.format(sizes=described),
            data=_numbers(ours, paper),
        )
        + markup.note(text.FIGURE6_NOTE)
        + _formulas(paper)
        + _unexplained(ours, paper, labels, lowest_65b)
    )


def _numbers(ours: dict[str, dict[str, float]], paper: dict[str, dict[str, float]]) -> Data:
    """Formula and print of every bar in MiB, and their difference in %."""
    rows = []
    for part, name in (*text.FIGURE6_PARTS.items(), (None, text.TABLE_FIGURE6_SUM)):
        row = [name]
        for size in ours:
            formula, printed = (
                sum(parts.values()) if part is None else parts[part] for parts in (ours[size], paper[size])
            )
            row += [formula, printed, difference_text(formula, printed)]
        rows.append(row)
    columns = [text.TABLE_FIGURE6_PART]
    columns += [column.format(size=size) for size in ours for column in text.TABLE_FIGURE6_COLUMNS]
    formats = ("{}", *("{:,.6g}", "{:,.6g}", "{}") * len(ours))
    return Data(columns, rows, formats, text.TABLE_FIGURE6_CAPTION)


def _formulas(paper: dict[str, dict[str, float]]) -> str:
    overhead = figure6.fit_overhead(paper).overhead_mib
    rows = [
        (name, text.TABLE_FIGURE6_FORMULAS[part].format(overhead=overhead)) for part, name in text.FIGURE6_PARTS.items()
    ]
    return table_twin(
        text.FORMULA_COLUMNS, rows, caption=text.FORMULA_CAPTION, summary=text.FORMULA_LABEL, left_aligned=True
    )


def _unexplained(
    ours: dict[str, dict[str, float]],
    paper: dict[str, dict[str, float]],
    labels: dict[str, float],
    lowest_65b: float,
) -> str:
    plain = figure6.fit_overhead(paper)
    nested = figure6.fit_overhead(paper, figure6.BITS_DOUBLE_QUANTIZED)
    largest = paper["65B"]
    values = {
        "overhead": plain.overhead_mib,
        "plain": 100 * plain.largest_deviation,
        "nested": 100 * nested.largest_deviation,
        "arithmetic": " / ".join(
            mib_text(round(figure6.weights_mib(shape, figure6.BITS_DOUBLE_QUANTIZED))) for shape in LLAMA.values()
        ),
        "real_adapters": " / ".join(
            mib_text(2 * shape.adapter_parameters(figure6.RANK) / figure6.MIB) for shape in LLAMA.values()
        ),
        "short": 100 * (1 - ours["65B"][_MEASURED_AS_RANGE] / lowest_65b),
        "label": labels["65B"],
        "labelled": sum(largest.values()) - largest[_MEASURED_AS_RANGE],
        "sum65": sum(ours["65B"].values()) - ours["65B"]["model"] + largest["model"],
    }
    points = "".join(f"<li>{escape(point.format(**values))}</li>" for point in text.UNEXPLAINED)
    return f'<h4 class="sub-title">{escape(text.UNEXPLAINED_TITLE)}</h4><ul class="points">{points}</ul>'


def mib_text(mib: float) -> str:
    """At most one decimal, thousands apart."""
    return f"{mib:,.0f}" if float(mib).is_integer() else f"{mib:,.1f}"


def difference_text(formula: float, printed: float) -> str:
    """How far the formula is off, in % of the printed number, or "exact"."""
    if formula == printed:
        return "exact"
    return f"{'+' if formula > printed else '−'}{abs(formula / printed - 1) * 100:.2g} %"
