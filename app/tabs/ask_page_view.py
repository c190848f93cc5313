"""The chosen source as HTML: the quote, its page with the quote marked, and buttons that copy it."""

import base64
from html import escape
from typing import TYPE_CHECKING

from app.tabs.ask_sources_view import origin, where
from app.text import ask as text

if TYPE_CHECKING:
    from app.assistant.answering import Citation
    from app.assistant.library import Paper


def page(citation: "Citation", paper: "Paper", picture: bytes | None, size: tuple[float, float], name: str = "") -> str:
    """The chosen source: its quote, and the page with the quote marked, or the note that it comes from.

    Args:
        picture: the page as PNG; None for a note.
        size: width and height of the page in points.
        name: what the paper is called, where several were asked.
    """
    head = (
        f'<p class="ask-page-head"><span class="ask-number">{citation.number}</span>'
        f'<span class="origin">{escape(origin(citation, name))}</span> <span>{escape(where(citation))}</span></p>'
    )
    foot = f"{_copying(citation, paper)}{_credit(paper)}"
    if picture is None:
        whose = text.NOTE_PASSAGE if citation.source == "notes" else text.PAPER_PASSAGE
        return (
            f'<section class="ask-page">{head}<p class="note">{escape(whose)}</p>'
            f'<div class="ask-note">{_marked(citation.passage, citation.quote)}</div>{foot}</section>'
        )
    width, height = size
    marks = "".join(
        f'<span class="ask-mark" style="left:{100 * (left - 1) / width:.2f}%;top:{100 * top / height:.2f}%;'
        f'width:{100 * (right - left + 2) / width:.2f}%;height:{100 * (bottom - top) / height:.2f}%"></span>'
        for left, top, right, bottom in citation.boxes
    )
    data = base64.b64encode(picture).decode("ascii")
    alt = text.PAGE_PICTURE.format(page=citation.pdf_page)
    return (
        f'<section class="ask-page">{head}<blockquote class="ask-quote">{escape(citation.quote)}</blockquote>'
        f'<div class="ask-sheet" tabindex="0" role="group" aria-label="{escape(alt)}"><div class="ask-paper" '
        f'style="aspect-ratio:{width:.0f}/{height:.0f}">'
        f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
        f'<div class="ask-marks">{marks}</div></div></div>{foot}</section>'
    )


def _copying(citation: "Citation", paper: "Paper") -> str:
    """The buttons hold what they copy; the scripts of :mod:`ask_scripts` do it."""
    from app.assistant.bibliography import as_text, bibtex

    buttons = "".join(
        f'<button type="button" class="ask-copy" data-copy="{escape(copied)}" data-done="{escape(text.COPIED)}" '
        f'data-failed="{escape(text.COPY_FAILED)}">{escape(label)}</button>'
        for label, copied in ((text.COPY_TEXT, as_text(citation, paper)), (text.COPY_BIBTEX, bibtex(paper)))
    )
    return f'<p class="ask-copying">{buttons}<span class="ask-copied" role="status"></span></p>'


def _credit(paper: "Paper") -> str:
    arxiv = f"arXiv {paper.arxiv}" if paper.arxiv else ""
    known = (paper.title, ", ".join(paper.authors))
    parts = [", ".join(part for part in known if part), ", ".join(part for part in (arxiv, paper.licence) if part)]
    credit = " ".join(f"{part}." for part in parts if part)
    link = (
        f' <a href="{escape(paper.abstract_url)}" target="_blank" rel="noopener noreferrer">{text.OPEN_ARXIV}</a>'
        if paper.abstract_url
        else ""
    )
    return f'<p class="note">{escape(credit)}{link}</p>'


def _marked(passage: str, quote: str) -> str:
    start = passage.find(quote)
    if start < 0:
        return f"<p>{escape(passage)}</p>"
    end = start + len(quote)
    return f"<p>{escape(passage[:start])}<mark>{escape(quote)}</mark>{escape(passage[end:])}</p>"
