"""How long every control takes from its input event to the new drawing in the page, in Chromium."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from playwright.sync_api import Page

from app.text import memory as memory_text
from app.text import paging as paging_text
from app.text import quantize as quantize_text
from app.text import quantize_journey as journey_text
from app.text import quantize_story as story_text

# In the page: `turn` acts and tells when the panel's drawing has changed, `still` waits until nothing is drawn.
_STOPWATCH = """(() => {
  const drawing = (svg) => svg.outerHTML.replace(/chart\\d+/g, '');
  const shape = (panel) => [...panel.querySelectorAll('svg')].map(drawing).join();
  window.bars = {
    turn: (input, value, selector) => new Promise((told, failed) => {
      const panel = document.querySelector(selector), before = shape(panel);
      const began = performance.now();
      const seen = new MutationObserver(() => {
        if (shape(panel) === before || !panel.querySelector('svg')) return;
        seen.disconnect();
        told(performance.now() - began);
      });
      seen.observe(panel, {childList: true, subtree: true, attributes: true, characterData: true});
      setTimeout(() => { seen.disconnect(); failed(new Error(`${selector} has not changed`)); }, 60000);
      if (value === null) return input.click();
      Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, value);
      input.dispatchEvent(new Event('input', {bubbles: true}));
    }),
    still: (selector, quiet) => new Promise((done) => {
      let timer;
      const seen = new MutationObserver(() => again());
      const again = () => {
        clearTimeout(timer);
        timer = setTimeout(() => { seen.disconnect(); done(); }, quiet);
      };
      seen.observe(document.querySelector(selector).closest('[role=tabpanel]'), {childList: true, subtree: true});
      again();
    }),
  };
})()"""
# Panels out of view are drawn a second after a change; a turn begins when that is over.
_QUIET_MS = 1600


@dataclass(frozen=True)
class Control:
    """A control, the panel that it redraws, and the values that it takes in turn.

    Attributes:
        label: as a visitor reads it.
        panel: selector of the place whose drawing changes.
        kind: "slider", "radio" or "checkbox".
        values: of a slider numbers, of a radio the names of its choices, the one that it stands at first last.
        scope: selector of what holds it, where the label stands on the page twice.
        renews: label of a slider that moves on before each round of the values, so that no drawing was made before.
    """

    label: str
    panel: str
    kind: str
    values: tuple = ()
    scope: str = "body"
    renews: str = ""


def _radio(label: str, panel: str, values: tuple, scope: str, renews: str = "") -> Control:
    return Control(label, panel, "radio", values, scope, renews)


def _slider(label: str, panel: str, values, renews: str = "") -> Control:
    return Control(label, panel, "slider", tuple(values), renews=renews)


_LAYER = quantize_text.LAYER
CONTROLS = {
    "quantize": (
        _radio(
            story_text.STEP, "#quantize-construction", story_text.STEPS[1:] + story_text.STEPS[:1], "#quantize-step",
            story_text.BITS,
        ),
        _slider(story_text.BITS, "#quantize-construction", (5, 6, 7, 8, 2, 3), story_text.STEP),
        _radio(
            quantize_text.MODEL, "#quantize-levels", (quantize_text.EMBEDDING_MODEL, quantize_text.LANGUAGE_MODEL),
            "#quantize-model", _LAYER,
        ),
        _slider(_LAYER, "#quantize-levels", range(30, 20, -1)),
        _radio(
            quantize_text.DATA_TYPE, "#quantize-levels", (*list(quantize_text.DATA_TYPES.values())[1:], "NF4"),
            "#quantize-data-type", _LAYER,
        ),
        _radio(
            quantize_text.BLOCK_SIZE, "#quantize-levels", ("32", "128", "256", "512", "1,024", "2,048", "4,096", "64"),
            "#quantize-block-size", _LAYER,
        ),
        Control(
            quantize_text.DOUBLE_QUANTIZATION, "#quantize-errors", "checkbox",
            scope="#quantize-double-quantization", renews=_LAYER,
        ),
        _slider(journey_text.RUN, "#quantize-journey", range(2, 12_000, 1_111)),
        _slider(journey_text.OUTLIER_SIZE, "#quantize-outlier", (1, 2, 3, 4, 4.5, 5.5, 6, 6.5, 7, 8)),
        _slider(journey_text.OUTLIER_PLACE, "#quantize-outlier", range(1, 1024, 100)),
        _radio(
            story_text.DOUBLE_STEP, "#quantize-double", story_text.DOUBLE_STEPS, "#quantize-double-step",
            _LAYER,
        ),
    ),
    "memory": (
        _radio(
            memory_text.METHOD, "#memory-own", (*list(memory_text.METHODS.values())[1:], memory_text.METHODS["qlora"]),
            "#memory-controls", memory_text.RANK,
        ),
        _slider(memory_text.RANK, "#memory-own", range(200, 256, 5)),
        _slider(memory_text.BATCH, "#memory-own", range(2, 64, 5)),
        _slider(memory_text.SEQUENCE, "#memory-own", range(1024, 8192, 640)),
        Control(
            memory_text.CHECKPOINTING, "#memory-own", "checkbox", scope="#memory-controls", renews=memory_text.RANK,
        ),
        Control(
            memory_text.DOUBLE_QUANTIZATION, "#memory-own", "checkbox", scope="#memory-controls",
            renews=memory_text.RANK,
        ),
    ),
    "paging": (
        _slider(paging_text.MOMENT, "#paging-player", range(1, 400, 37)),
        _slider(paging_text.COST_BATCH, "#paging-cost", range(2, 64, 5)),
        _slider(paging_text.COST_SEQUENCE, "#paging-cost", range(1024, 8192, 640)),
        _slider(paging_text.COST_EVICTED, "#paging-cost", range(95, 0, -9)),
        _slider(paging_text.COST_HIDDEN, "#paging-cost", range(5, 100, 10)),
        _slider(paging_text.COST_SPEED, "#paging-cost", range(100, 600, 50)),
    ),
}  # fmt: skip
#: Values of the controls that renew drawings; they go round, and no round of a measured control is as long as they are.
_RENEWING = {
    _LAYER: itertools.cycle(range(2, 21)),
    story_text.BITS: itertools.cycle((3, 5, 6, 7, 8)),
    story_text.STEP: itertools.cycle(story_text.STEPS[1:]),
    memory_text.RANK: itertools.cycle(range(3, 190)),
}


def measured_controls(page: Page, url: str, tab: str, turns: int) -> Iterator[dict]:
    """A row a control of one tab: milliseconds of each turn.

    Args:
        page: a visitor's window.
        url: of the served page.
        tab: a key of `CONTROLS`.
        turns: of each control.
    """
    open_tab(page, url, tab)
    for control in CONTROLS[tab]:
        panel = page.locator(control.panel)
        panel.locator("svg").first.wait_for()
        taken = []
        for turn in range(turns):
            if control.renews and turn % max(2, len(control.values)) == 0:
                _renew(page, control.renews)
            panel.locator("svg").first.scroll_into_view_if_needed()
            still(page, control.panel)
            value = control.values[turn % len(control.values)] if control.values else None
            taken.append(act(page, control, value))
        _put_back(page, control, turns)
        yield {"tab": tab, "control": control.label, "kind": control.kind, "panel": control.panel, "ms": taken}


def open_tab(page: Page, url: str, tab: str) -> None:
    """The page at this tab, with all of its panels drawn."""
    page.add_init_script(_STOPWATCH)
    page.goto(f"{url}/?tab={tab}")
    for panel in {control.panel for control in CONTROLS[tab]}:
        page.locator(f"{panel} svg").first.wait_for()


def still(page: Page, panel: str) -> None:
    """Wait until nothing is drawn in the panel's tab any more."""
    page.evaluate("([panel, quiet]) => window.bars.still(panel, quiet)", [panel, _QUIET_MS])


def _input(page: Page, control: Control, value: object):
    if control.kind == "slider":
        named = (f'input[type=range][aria-label="{before}{control.label}"]' for before in ("", "range slider for "))
        return page.locator(", ".join(named)).locator("visible=true")
    scope = page.locator(control.scope)
    if control.kind == "radio":
        return scope.get_by_role("radio", name=str(value), exact=True)
    return scope.get_by_role("checkbox", name=control.label, exact=True)


def act(page: Page, control: Control, value: object) -> float:
    """Move the control; milliseconds until its panel is drawn anew."""
    wanted = str(value) if control.kind == "slider" else None
    script = "(input, [value, panel]) => window.bars.turn(input, value, panel)"
    return _input(page, control, value).evaluate(script, [wanted, control.panel])


def _put_back(page: Page, control: Control, turns: int) -> None:
    """What is measured next is measured as a visitor finds the tab; a choice may leave another without effect."""
    still(page, control.panel)
    if control.kind == "checkbox" and turns % 2:
        act(page, control, None)
    elif control.kind == "radio" and turns % len(control.values):
        act(page, control, control.values[-1])


def _renew(page: Page, label: str) -> None:
    """Move the control of that label to its next value and wait for what it redraws."""
    control = next(one for one in itertools.chain(*CONTROLS.values()) if one.label == label)
    act(page, control, next(_RENEWING[label]))
