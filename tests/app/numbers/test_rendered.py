"""The check of panels notices a number that nothing yields, a wrong one, and a source that is shown no more."""

import pytest

from app.charts.markup import conclusion, note
from app.charts.table import table
from tests.app.numbers import rendered
from tests.app.numbers.rendered import Panel

TEMPLATES = {
    "a.SENTENCE": "{name} takes {mib:,.1f} MiB, {share:.0f} % of it.",
    "a.MANY": "Of each: {values}.",
    "a.STATIC": "Blocks of 64 weights have one scale.",
}
FILLED = {"a.SENTENCE": {"name": "NF4", "mib": 1077.34, "share": 12.4}}
SAID = conclusion("NF4 takes 1,077.3 MiB, 12 % of it.")
ROWS = table(("Name", "MiB"), [("one", "1,077.3"), ("two", "−0.50")], caption="Two rows of 2 numbers")


def found(html: str, filled=FILLED, tables=(), **more) -> tuple[list[str], list[str]]:
    panel = Panel("a panel", lambda: html, filled, dict(tables), **more)
    return rendered.untraced(panel, panel.html(), TEMPLATES)


def test_what_is_computed_again_passes():
    assert found(SAID) == ([], [])
    assert found(SAID + note("Blocks of 64 weights have one scale.")) == ([], [])
    many = {"a.MANY": [{"values": [1, 2.25]}, {"values": [3.0]}]}
    assert found(note("Of each: one 1, the other 2.2.") + note("Of each: 3."), many)[1] == []


@pytest.mark.parametrize(
    "html",
    [
        SAID.replace("1,077.3", "1,077.4"),
        SAID.replace("12 %", "13 %"),
        SAID + note("It takes 5 minutes."),
        SAID.replace("of it.", "of it, and 7 more."),
        SAID + "<svg><title>NF4 in 9 bars</title><text>8</text></svg>",
        SAID + '<button aria-label="Show 11 more">…</button>',
        SAID + ROWS,
    ],
)
def test_a_number_that_nothing_yields_is_noticed(html):
    assert found(html)[0]


def test_of_a_drawing_its_title_and_description_are_read():
    assert found(SAID + "<svg><title>Bars</title><text>8</text></svg>") == ([], [])


@pytest.mark.parametrize(
    ("rows", "noticed"),
    [
        ([["one", 1077.34], ["two", -0.5]], 0), ([["one", 1077.44], ["two", -0.5]], 1),
        ([["one", 1077.34], ["two", 0.5]], 1), ([["one", 1077.34]], 1), ([["one", 1077.34], ["three", -0.5]], 1),
    ],
)  # fmt: skip
def test_cells_are_held_against_rows(rows, noticed):
    html = ROWS.replace("2 numbers", "numbers")
    assert len(found(html, {}, {"Two rows": rows})[0]) == noticed


def test_sources_that_are_not_shown_are_named():
    assert found(SAID, FILLED | {"a.MANY": {"values": []}}, {"Rows": []}) == ([], ["Rows", "a.MANY"])


def test_a_field_that_a_template_does_not_have_is_noticed():
    assert found(SAID, {"a.SENTENCE": FILLED["a.SENTENCE"] | {"bits": 4}})[0] == ["a.SENTENCE has no field bits"]
