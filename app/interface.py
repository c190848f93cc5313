"""The page: a heading and the tabs in their order."""

import functools

import gradio as gr

from app.endpoints import ENDPOINTS
from app.tabs import ask, finetune, memory, quantize
from app.text import page
from qlora.errors import InputError

TABS = (quantize, memory, finetune, ask)


def build_interface() -> gr.Blocks:
    """The whole page, not yet served. Nothing heavy is loaded here: tabs fill themselves after the first paint."""
    with gr.Blocks(title=page.TITLE, analytics_enabled=False) as blocks:
        gr.HTML(
            f"<header class='page-heading'><h1>{page.HEADING}</h1><p class='lead'>{page.LEAD}</p>"
            f"<p class='note'>{page.PAPER}</p></header>"
        )
        # Before the tabs, whose private handlers would take these names.
        for endpoint in ENDPOINTS:
            gr.api(_with_errors(endpoint), api_name=endpoint.__name__, concurrency_limit=4)
        with gr.Tabs():
            for tab in TABS:
                with gr.Tab(tab.TITLE, id=tab.TAB_ID):
                    tab.build(blocks)
    return blocks


def _with_errors(endpoint):
    """The endpoint, whose errors about the input reach the caller as their sentence."""

    @functools.wraps(endpoint)
    def answer(*args, **kwargs):
        try:
            return endpoint(*args, **kwargs)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return answer
