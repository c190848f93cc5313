"""Tables as HTML, as recognizers write them: cells, hostile attributes, rows that came as one cell."""

import pytest

from app.assistant.readers.html_table import table_rows, unmerged


def test_cells_over_several_columns_and_hostile_html():
    assert table_rows('<table><tr><td colspan="2">A &amp; B</td><td>C</td></tr></table>') == [("A & B", "", "C")]
    assert table_rows("<tr><td>1<script>alert(1)</script></td><td>2") == [("1", "2")]
    assert len(table_rows('<td colspan="999999999">x</td>')[0]) == 100
    assert table_rows("<td colspan='-5'>x</td><td><td>y") == [("x", "", "y")]
    assert table_rows("no table") == []


def test_rows_that_came_as_one_cell_are_told_apart():
    assert unmerged([("Flour Water Rise",), ("Wheat 550 68 g 2.4 Coarse spelt 630 64 g 1.9 Rye N/A N/A -",)]) == [
        ("Flour Water Rise",),
        ("Wheat", "550", "68 g", "2.4"),
        ("Coarse spelt", "630", "64 g", "1.9"),
        ("Rye", "N/A", "N/A", "-"),
    ]
    assert unmerged([("Model Params Size",), ("Guanaco 65B 41 GB ChatGPT-3.5 Turbo N/A N/A",)]) == [
        ("Model", "Params", "Size"),
        ("Guanaco", "65B", "41 GB"),
        ("ChatGPT-3.5 Turbo", "N/A", "N/A"),
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [("Flour", "Rise"), ("Wheat", "2.4")],
        [("Flour Rise",), ("Wheat 2.4 and more 3.1 5.5",)],
        [("Flour",), ("Wheat rises most",)],
        [("2.4 Wheat 3.1",), ("1 Wheat 2",)],
        [("Wheat 2.4 Rye 1.2",)],
        [],
    ],
)
def test_other_tables_stay_as_they_are(rows):
    assert unmerged(rows) == rows
