"""The Ask tab: questions about the papers, and what else the assistant knows of them, each in a tab inside."""

import gradio as gr

from app.tabs import ask_experiment, ask_library, ask_overview, ask_questions, ask_visitor
from app.text import ask as text

TAB_ID = "ask"
TITLE = text.TITLE
# A suggested question is put into the box of the Questions part, and its button is pressed.
_PRESS_ASK = "() => document.getElementById('ask-button').click()"


def build(blocks: gr.Blocks) -> None:
    """A heading and the inner tabs; nothing is read before it is needed."""
    gr.HTML(f"<h2>{text.HEADING}</h2><p class='lead'>{text.LEAD}</p>")
    visitor = ask_visitor.build(blocks)
    # Identifiers of the papers that questions are put to; the first of all while there is none.
    selected = gr.State([])
    with gr.Tabs(elem_id="ask-parts") as parts:
        with gr.Tab(ask_questions.TITLE, id=ask_questions.TAB_ID):
            question = ask_questions.build(blocks, visitor, selected)
        with gr.Tab(ask_overview.TITLE, id=ask_overview.TAB_ID) as tab:
            suggestions, overview = ask_overview.build(blocks, tab, visitor)
        with gr.Tab(ask_library.TITLE, id=ask_library.TAB_ID) as tab:
            ask_library.build(blocks, tab, selected)
        with gr.Tab(ask_experiment.TITLE, id=ask_experiment.TAB_ID) as tab:
            ask_experiment.build(blocks, tab)
    hidden = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    suggestions.select(ask_overview.put, overview, [parts, question, selected], **hidden).then(
        None, js=_PRESS_ASK, api_visibility="private"
    )
