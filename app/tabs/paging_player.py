"""The player's frame on the Paging tab, and the run that its script (``app/scripts/paging.js``) plays in it."""

import json
from html import escape

from app.charts.markup import note
from app.tabs.paging_replay import compact_json
from app.tabs.paging_sources import Source
from app.text import paging as text

# What the player's script says, by the names that it has there.
_SCRIPT_WORDS = (
    "PLAY", "PAUSE", "WHEN", "WHEN_STEP", "WHEN_BEFORE", "WHEN_AFTER", "GRID_LABEL", "MOVING_OUT", "MOVING_IN",
    "PAGE_LABEL", "LEGEND_RESIDENT", "LEGEND_AWAY", "LEGEND_UNUSED", "COUNT_MIB", "COUNT_MOVES_NOTE", "LATEST_NONE",
    "UNDER_WAY", "NOW", "FULLEST", "BAR_LABEL", "BAR_PART", "ROOM", "OVER", "LIMIT_WORDS", "NO_LIMIT", "COMPONENTS",
)  # fmt: skip


def player_html(source: Source) -> str:
    """The player's frame; the script fills it from `data_html`."""
    if source.run is None:
        return ""
    words = escape(json.dumps({name: getattr(text, name) for name in _SCRIPT_WORDS}))
    speeds = "".join(
        f'<option value="{value}"{" selected" if value == text.FIRST_SPEED else ""}>{escape(name)}</option>'
        for value, name in text.SPEEDS.items()
    )
    legend = "".join(
        f'<li><svg viewBox="0 0 18 18" aria-hidden="true">{_cell(kind)}</svg>{escape(words)}</li>'
        for kind, words in (
            ("resident", text.LEGEND_RESIDENT),
            ("away", text.LEGEND_AWAY),
            ("resident moving-in", text.LEGEND_MOVING),
            ("unused", text.LEGEND_UNUSED),
        )
    )
    counts = "".join(
        f'<div><dt>{escape(name)}</dt><dd><strong data-pager-count="{key}">–</strong>'
        f'<span data-pager-note="{key}"></span></dd></div>'
        for key, name in (
            ("resident", text.COUNT_RESIDENT),
            ("away", text.COUNT_AWAY),
            ("moves", text.COUNT_MOVES),
        )
    )
    parts = "".join(
        f'<li><span class="swatch pager-{name}"></span>{escape(label)}</li>' for name, label in text.COMPONENTS.items()
    )
    return (
        f'<section class="pager" data-pager="{escape(source.id)}" data-words="{words}" aria-label="{text.PLAYER}">'
        f'<div class="pager-controls"><button type="button" class="pager-play" data-pager-play>{text.PLAY}</button>'
        f'<label class="pager-speed">{text.SPEED} <select data-pager-speed>{speeds}</select></label>'
        f'<input type="range" data-pager-at min="0" max="1" value="0" step="1" aria-label="{text.MOMENT}"></div>'
        f'<p class="pager-when" data-pager-when></p>'
        f'<div class="pager-body"><div class="pager-pages"><svg data-pager-grid role="img" tabindex="0"></svg>'
        f'<ul class="pager-legend">{legend}</ul></div>'
        f'<div class="pager-side"><dl class="pager-counts">{counts}</dl>'
        f'<h4>{text.LATEST}</h4><ul class="page-log" data-pager-log></ul></div></div>'
        f'<div class="pager-bars"><div data-pager-bar="now"></div><div data-pager-bar="fullest"></div>'
        f'<ul class="pager-legend">{parts}<li><span class="swatch pager-room"></span>{text.ROOM}</li></ul></div>'
        f"{note(text.KEYS)}</section>"
    )


def data_html(source: Source) -> str:
    """The run for the script, as an attribute of an element that nobody sees."""
    if source.run is None:
        return ""
    return (
        f'<div hidden data-pager-data="{escape(source.id)}" data-live="{int(source.live)}" '
        f"data-run-rows='{escape(compact_json(source.run))}'></div>"
    )


def _cell(kind: str) -> str:
    """One page of the legend, drawn as the script draws it."""
    return (
        f'<g class="page-cell page-{kind.replace(" ", " page-")}"><rect x="1" y="1" width="16" height="16" rx="2"/>'
        '<path class="page-mark" d="M3 15L15 3"/><path class="page-arrow" d="M9 14V4M5 8l4-4 4 4"/></g>'
    )
