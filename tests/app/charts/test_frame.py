"""The numbers that stand under a chart, and those that its file holds."""

import csv
import re
from html import unescape

import pytest

from app.charts.frame import Data, framed

DATA = Data(
    ("part, of all", "MiB", "share"),
    [('a "b" <c>', 1234.5678, 12.5), ("none", -2.25, None)],
    ("{}", "{:,.1f}", "{:.0f} %"),
    "Two parts, measured.",
    chosen="none",
)


def test_the_table_rounds_and_the_file_does_not():
    html = framed("<svg></svg>", title="Parts & shares", data=DATA)
    assert "<td>1,234.6</td><td>12 %</td>" in html and "<td>−2.2</td><td></td>" in html
    assert 'a "b" &lt;c&gt;</th>' in html or "a &quot;b&quot; &lt;c&gt;</th>" in html
    assert '<tr class="chosen"><th scope="row">none</th>' in html
    kept = unescape(re.search(r'data-csv="([^"]*)"', html)[1])
    assert list(csv.reader(kept.splitlines())) == [
        ["part, of all", "MiB", "share"],
        ['a "b" <c>', "1234.5678", "12.5"],
        ["none", "-2.25", ""],
    ]
    assert 'data-name="parts-shares"' in html
    assert re.findall(r'data-save="(\w+)"', html) == ["svg", "png", "csv"]


def test_without_numbers_there_is_nothing_to_list():
    html = framed("<svg></svg>", title="Picture", data=None)
    assert re.findall(r'data-save="(\w+)"', html) == ["svg", "png"]
    assert "<table" not in html and "data-csv" not in html


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 columns"):
        Data(("a", "b"), [(1, 2), (1,)], ("{}", "{}"), "")
