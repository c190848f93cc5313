"""The Ask tab: questions about the papers, and what else the assistant knows of them, each in a tab inside."""

import gradio as gr

from app.tabs import ask_questions
from app.text import ask as text

TAB_ID = "ask"
TITLE = text.TITLE
# Modules with TITLE, TAB_ID and build(blocks), in the order in which visitors see them.
PARTS = (ask_questions,)


def build(blocks: gr.Blocks) -> None:
    """A heading and the inner tabs; nothing is read before it is needed."""
    gr.HTML(f"<h2>{text.HEADING}</h2><p class='lead'>{text.LEAD}</p>")
    with gr.Tabs(elem_id="ask-parts"):
        for part in PARTS:
            with gr.Tab(part.TITLE, id=part.TAB_ID):
                part.build(blocks)
