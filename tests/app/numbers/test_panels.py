"""Every number that a panel shows as it opens is computed again here from data, a formula or a recording."""

import importlib
import pkgutil

import pytest

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


@pytest.mark.parametrize("name", PANELS)
def test_every_number_of_a_panel_is_traced(name):
    panel = PANELS[name]()
    wrong, unused = rendered.untraced(panel, TEMPLATES)
    assert not wrong, (
        f"{panel.name} shows numbers that nothing yields:\n  "
        + "\n  ".join(wrong)
        + "\nLet tests/app/numbers/panels_*.py "
        "compute what the panel's template is filled with, or its table's rows, from data or by a formula."
    )
    assert not unused, f"{panel.name} does not show these any more: {unused}"
