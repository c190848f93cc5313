"""Which of two widths a chart is drawn for: a wide chart scaled down to a telephone has letters of 4 pixels."""

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
      document.getElementById("NAME-width-changed").click();
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
    crossed = gr.Button(visible="hidden", elem_id=f"{name}-width-changed")
    blocks.load(None, js=_CLICK_WHEN_CROSSED.replace("NAME", name))
    return narrow, crossed
