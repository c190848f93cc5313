"""The Ask tab: questions about the papers, and what else the assistant knows of them, each in a tab inside."""

import gradio as gr

from app.tabs import ask_questions, ask_visitor
from app.text import ask as text

TAB_ID = "ask"
TITLE = text.TITLE


def build(blocks: gr.Blocks) -> None:
    """A heading and the inner tabs; nothing is read before it is needed."""
    gr.HTML(f"<h2>{text.HEADING}</h2><p class='lead'>{text.LEAD}</p>")
    visitor = ask_visitor.build(blocks)
    with gr.Tabs(elem_id="ask-parts"), gr.Tab(ask_questions.TITLE, id=ask_questions.TAB_ID):
        ask_questions.build(blocks, visitor)
