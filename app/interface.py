"""The page: a heading and the tabs in their order."""

import gradio as gr

from app.tabs import ask, finetune, memory, quantize
from app.text import page

TABS = (quantize, memory, finetune, ask)


def build_interface() -> gr.Blocks:
    """The whole page, not yet served. Nothing heavy is loaded here: tabs fill themselves after the first paint."""
    with gr.Blocks(title=page.TITLE, analytics_enabled=False) as blocks:
        gr.HTML(
            f"<header class='page-heading'><h1>{page.HEADING}</h1><p class='lead'>{page.LEAD}</p>"
            f"<p class='note'>{page.PAPER}</p></header>"
        )
        with gr.Tabs():
            for tab in TABS:
                with gr.Tab(tab.TITLE, id=tab.TAB_ID):
                    tab.build(blocks)
    return blocks
