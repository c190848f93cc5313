"""When a panel is drawn again, and for which of two widths: a wide chart scaled down to a telephone has letters of 4
pixels.

A panel is drawn by one listener, whatever the occasion. Gradio's page waits for a listener's answer before it asks that
listener again; answers of two listeners come in any order, and an older one would stay on the page.
"""

import json

import gradio as gr

#: The widest window, in CSS pixels, that counts as narrow.
NARROW_WINDOW_PX = 640

#: For listeners whose last input is the flag of `watch`: the browser fills it in at the moment of the event.
FILL_IN = f"(...values) => [...values.slice(0, -1), window.innerWidth <= {NARROW_WINDOW_PX}]"

#: For listeners whose outputs show by themselves that something happens. Gradio's page looks up and copies every output
#: that has a state of progress, of all tabs, at each request and again at its answer; these have none.
QUIET = {"show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}

# The wait lets a window that is being dragged settle, and ignores one that is only measured (printing does that).
_CLICK_WHEN_CROSSED = f"""() => {{
  const query = matchMedia("(max-width: {NARROW_WINDOW_PX}px)");
  let drawn = query.matches, timer;
  query.addEventListener("change", () => {{
    clearTimeout(timer);
    timer = setTimeout(() => {{
      if (query.matches === drawn) return;
      drawn = query.matches;
      window.qloraPage.arise("NAME-width-changed");
    }}, 250);
  }});
}}"""


def watch(blocks: gr.Blocks, name: str) -> tuple[gr.Checkbox, gr.Button]:
    """A hidden flag, true in a narrow window, and a hidden button that is clicked when the window changes sides.

    Args:
        blocks: the page.
        name: prefix of the button's element id, unique on the page.

    Returns:
        (flag, button): the flag as last input of a listener with ``js=FILL_IN``; the button's ``click`` as one of the
        events that redraw.
    """
    narrow = gr.Checkbox(visible="hidden", container=False)
    crossed = occasion(blocks, f"{name}-width-changed")
    blocks.load(None, js=_CLICK_WHEN_CROSSED.replace("NAME", name))
    return narrow, crossed


def occasion(blocks: gr.Blocks, name: str) -> gr.Button:
    """A hidden button that stands for an occasion to draw: its ``click`` is among a listener's events, and what leads
    to the occasion ends with ``js=arise(button)``.

    Args:
        blocks: the page.
        name: the button's element id, unique on the page.
    """
    button = gr.Button(visible="hidden", elem_id=name)
    # Of a tab that has not been opened yet nothing is on the page, and what is not there cannot be clicked.
    button.parent.children.remove(button)
    blocks.add(button)
    return button


def arise(button: gr.Button) -> str:
    """The script that clicks it (``app/scripts/navigate.js``)."""
    return f"() => {{ window.qloraPage.arise({json.dumps(button.elem_id)}); return []; }}"
