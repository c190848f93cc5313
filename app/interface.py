"""The page: a heading and the tabs in their order."""

import functools
import json
from html import escape

import gradio as gr

from app.endpoints import ENDPOINTS
from app.tabs import ask, finetune, memory, paging, quantize, start
from app.text import page, tour
from qlora.errors import InputError

TABS = (start, quantize, memory, finetune, paging, ask)


def build_interface() -> gr.Blocks:
    """The whole page, not yet served. Nothing heavy is loaded here: tabs fill themselves after the first paint."""
    with gr.Blocks(title=page.TITLE, analytics_enabled=False) as blocks:
        gr.HTML(_heading())
        # Before the tabs, whose private handlers would take these names.
        for endpoint in ENDPOINTS:
            gr.api(_with_errors(endpoint), api_name=endpoint.__name__, concurrency_limit=4)
        with gr.Tabs():
            for tab in TABS:
                with gr.Tab(tab.TITLE, id=tab.TAB_ID):
                    tab.build(blocks)
    return blocks


def _heading() -> str:
    """The page's name, what scripts need to know of the tabs, and the button of the tour (``app/scripts/tour.js``)."""
    names = escape(json.dumps({tab.TAB_ID: tab.TITLE for tab in TABS}))
    words = {
        name.lower(): getattr(tour, name) for name in ("START", "RESUME", "NAME", "BACK", "NEXT", "END", "LEAVE", "AT")
    }
    stops = [stop for stop in tour.STOPS if stop[2] in {tab.TAB_ID for tab in TABS}]
    planned = escape(json.dumps({"stops": stops, "words": words}))
    return (
        f'<header class="page-heading" data-tabs="{names}"><h1>{page.HEADING}</h1><p class="lead">{page.LEAD}</p>'
        f'<p class="note">{page.PAPER}</p>'
        f'<button type="button" id="page-tour" data-tour="{planned}">{tour.START}</button></header>'
    )


def _with_errors(endpoint):
    """The endpoint, whose errors about the input reach the caller as their sentence."""

    @functools.wraps(endpoint)
    def answer(*args, **kwargs):
        try:
            return endpoint(*args, **kwargs)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return answer
