"""Tables: what a visitor typed or a file said never becomes markup."""

from xml.etree import ElementTree

from app.charts.markup import conclusion, panel_title, problem
from app.charts.table import table, table_twin


def test_rows_headings_and_the_chosen_row():
    html = table(("Type", "Error"), [("NF4", "1"), ("INT4", "2")], caption="c", chosen="INT4")
    root = ElementTree.fromstring(f"<div>{html}</div>")
    assert [cell.text for cell in root.iter("td")] == ["1", "2"]
    assert [cell.text for cell in root.iter("th")] == ["Type", "Error", "NF4", "INT4"]
    assert [row.find("th").text for row in root.iter("tr") if row.get("class") == "chosen"] == ["INT4"]


def test_markup_in_values_stays_text():
    attack = '<img src=x onerror="alert(1)">'
    for html in (
        table((attack,), [(attack,)], caption=attack),
        table_twin((attack,), [(attack,)], caption=attack, summary=attack),
        panel_title(attack, kind=attack, beside=attack),
        conclusion(attack),
        problem(attack),
    ):
        assert "<img" not in html
        assert "&lt;img" in html
