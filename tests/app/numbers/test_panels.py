"""Every number that a panel shows as it opens is computed again here from data, a formula or a recording."""

import ast
import importlib
import pkgutil
from functools import cache
from html import unescape
from pathlib import Path

import pytest

import app.tabs
import app.text
from tests.app.numbers import (
    panels_ask,
    panels_cost,
    panels_finetune,
    panels_memory,
    panels_quantize,
    panels_runs,
    panels_weight,
    reading,
    rendered,
)

MODULES = (panels_runs, panels_finetune, panels_quantize, panels_weight, panels_memory, panels_cost, panels_ask)
PANELS = {panel.__name__: panel for module in MODULES for panel in module.PANELS}
TEMPLATES = {
    key: text
    for module in pkgutil.iter_modules(app.text.__path__)
    for key, text in reading.sentences(importlib.import_module(f"app.text.{module.name}"))
}
#: Titles of panels that are not drawn here -> why.
NOT_HERE = {
    "ask_library.SIMILAR_LIST": "of papers that a visitor adds",
    "papers.PAPER_TREE_TITLE": "of papers that a visitor adds",
    "finetune.ASK_TITLE": "answers of two models",
    "finetune.SAMPLES_TITLE": "answers of a model",
    "paging.TRY_TITLE": "controls",
}


@cache
def drawn(name: str) -> tuple[rendered.Panel, str]:
    panel = PANELS[name]()
    return panel, panel.html()


def titles() -> set[str]:
    """Keys of the titles that the tabs give to panels and charts."""
    found = set()
    for file in Path(app.tabs.__path__[0]).glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "app.text"]
        modules = {each.asname or each.name: each.name for node in imports for each in node.names}
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if getattr(call.func, "attr", getattr(call.func, "id", "")) not in ("panel_title", "chart"):
                continue
            for given in (*call.args[:1], *(word.value for word in call.keywords if word.arg == "title")):
                found |= {
                    f"{modules[part.value.id]}.{part.attr}"
                    for part in ast.walk(given)
                    if isinstance(part, ast.Attribute) and getattr(part.value, "id", "") in modules
                }
    return found & TEMPLATES.keys()


@pytest.mark.parametrize("name", PANELS)
def test_every_number_of_a_panel_is_traced(name):
    panel, html = drawn(name)
    wrong, unused = rendered.untraced(panel, html, TEMPLATES)
    assert not wrong, (
        f"{panel.name} shows numbers that nothing yields:\n  "
        + "\n  ".join(wrong)
        + "\nLet tests/app/numbers/panels_*.py "
        "compute what the panel's template is filled with, or its table's rows, from data or by a formula."
    )
    assert not unused, f"{panel.name} does not show these any more: {unused}"


def test_many_numbers_are_read():
    numbers = 0
    for name in PANELS:
        shown = rendered.read(drawn(name)[1])
        cells = [cell for _, rows in shown.tables for row in rows[1:] for cell in row]
        numbers += sum(len(reading.numbers(piece)) for piece in (*shown.pieces, *cells))
    assert numbers > 3000, "else this proves little"


def test_every_panel_of_the_tabs_is_looked_at():
    known, shown = titles(), unescape("".join(drawn(name)[1] for name in PANELS))
    assert len(known) > 25, "else hardly any is looked at"
    missing = {key for key in known if TEMPLATES[key] not in shown}
    assert missing - NOT_HERE.keys() == set(), (
        "These panels are not drawn by tests/app/numbers/panels_*.py. Add them there with the sources of their numbers,"
        " or to NOT_HERE with the reason."
    )
    assert NOT_HERE.keys() <= missing, "NOT_HERE names panels that are drawn, or gone"
