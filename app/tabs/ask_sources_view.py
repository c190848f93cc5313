"""Sources as HTML: numbered marks in the text of an answer, and the list below it."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING

from app.text import ask as text

if TYPE_CHECKING:
    from app.assistant.answering import Citation

NO_NAMES: "Mapping[str, str]" = {}


def origin(citation: "Citation", name: str = "") -> str:
    """ "from the paper, p. 5" or "from our notes on pp. 4–5"; where several papers were asked, the ``name`` of this one
    instead."""
    first, last = citation.pdf_page, citation.last_page
    pages = f"{first}–{last}" if last > first else f"{first}"
    if name:
        pattern = text.FROM_NAMED_PAPER if citation.source == "paper" else text.FROM_NOTES_ON_NAMED
        return pattern.format(name=name, pages=pages)
    return (text.FROM_PAPER if citation.source == "paper" else text.FROM_NOTES).format(pages=pages)


def where(citation: "Citation") -> str:
    """Section of the paper, with the table's or figure's name in front."""
    named = citation.label and citation.source == "paper"
    return f"{citation.label} in {citation.section}" if named else citation.section


def _key(citation: "Citation", entry: int) -> str:
    return f"{entry}.{citation.number}"


def chip(citation: "Citation", entry: int, chosen: str, names: "Mapping[str, str]" = NO_NAMES) -> str:
    """The source's number as a button. ``entry`` is the answer's place in the conversation, ``chosen`` the key of the
    source that is shown, ``names`` what the papers are called where several were asked."""
    label = text.SHOW_SOURCE.format(number=citation.number, origin=origin(citation, names.get(citation.paper, "")))
    pressed = str(_key(citation, entry) == chosen).lower()
    return (
        f'<button type="button" class="ask-chip" data-citation="{_key(citation, entry)}" aria-pressed="{pressed}" '
        f'aria-label="{escape(label)}" title="{escape(label)}">{citation.number}</button>'
    )


def sources(
    citations: "Iterable[Citation]", entry: int, chosen: str, title: str, names: "Mapping[str, str]" = NO_NAMES
) -> str:
    """A titled list of sources, each a button; nothing when there are none."""
    rows = "".join(
        f'<li><button type="button" class="ask-source" data-citation="{_key(c, entry)}" '
        f'aria-pressed="{str(_key(c, entry) == chosen).lower()}">'
        f'<span class="ask-number">{c.number}</span>'
        f'<span class="ask-place"><b>{escape(origin(c, names.get(c.paper, "")))}</b> <span>{escape(where(c))}</span>'
        f'<span class="ask-teaser">{escape(c.quote)}</span></span>'
        "</button></li>"
        for c in citations
    )
    return f'<p class="ask-sources-title">{escape(title)}</p><ol class="ask-sources">{rows}</ol>' if rows else ""
