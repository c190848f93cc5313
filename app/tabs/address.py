"""Controls whose values stand in the page's address, so that a view can be shared and found again."""

import json
from collections.abc import Mapping

import gradio as gr
from gradio.components import Component

_READ = "() => window.qloraPage.controls.read(%s)"
_WRITE = "(...values) => { window.qloraPage.controls.write(%s, values); }"


def keep(blocks: gr.Blocks, controls: Mapping[str, Component]) -> gr.events.Dependency:
    """Read the controls from the address when the page opens, and write there what a visitor changes.

    A value that the control could not take is passed over: the control keeps the value that it has.

    Args:
        blocks: the page.
        controls: name in the address, unique on the page -> component. The names are for people to read.

    Returns:
        the reading, so that what depends on the values can be drawn after it.
    """
    described = json.dumps([{"name": name, **_description(control)} for name, control in controls.items()])
    components = list(controls.values())
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    gr.on([control.change for control in components], None, components, None, js=_WRITE % described, **quiet)
    return blocks.load(None, None, components, js=_READ % described, **quiet)


def _description(control: Component) -> dict:
    """What the script needs to read a value: its kind, its bounds or choices, and the value to fall back to."""
    if isinstance(control, gr.Checkbox):
        return {"kind": "flag", "value": control.value}
    if isinstance(control, gr.Slider | gr.Number):
        step = control.step or None
        whole = getattr(control, "precision", None) == 0 or (step is not None and float(step).is_integer())
        bounds = {"minimum": control.minimum, "maximum": control.maximum}
        return {"kind": "number", "value": control.value, "whole": whole, **bounds}
    if isinstance(control, gr.Radio | gr.Dropdown):
        return {"kind": "choice", "value": control.value, "choices": [value for _, value in control.choices]}
    raise TypeError(f"{type(control).__name__} has no form in the address")
