"""A paper's overview as HTML. Everything that comes from a paper, its notes or a model is escaped here."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from app.charts import markup
from app.tabs.ask_sources_view import chip
from app.tabs.ask_view import THUMB
from app.text import ask as ask_text
from app.text import ask_overview as text

if TYPE_CHECKING:
    from app.assistant.answering import Citation
    from app.assistant.feedback import Score
    from app.assistant.gallery import Exhibit
    from app.assistant.overview import KeyPoint, Overview

POINTS, EXHIBITS = 0, 1
"""What stands before the point in a citation's key: "0.3" is the third key point's, "1.3" the third exhibit's."""
_LONGEST_CELL = 300


def points(overview: "Overview", scores: Mapping[str, "Score"], threshold: int, problem: str = "") -> str:
    """The key points, each with its source and thumbs.

    Args:
        overview: the paper's.
        scores: of the votes by the point's id, with the visitor's own.
        threshold: the score at which another writer may try.
        problem: a sentence about what could not be done.
    """
    if not overview.points:
        return markup.note(text.NO_POINTS)
    items = "".join(_point(point, scores.get(point.id)) for point in overview.points)
    return (
        f'<h3 class="panel-title">{text.POINTS}</h3>{markup.note(_origin(overview))}'
        f'<ol class="overview-points">{items}</ol>'
        + markup.note(text.VOTING.format(threshold=signed(threshold)))
        + (markup.problem(problem) if problem else "")
    )


def _origin(overview: "Overview") -> str:
    reworded = sum(point.origin == "rewritten" for point in overview.points)
    if reworded:
        writer = ask_text.WRITERS.get(overview.backend, overview.backend)
        said = text.REWRITTEN.format(backend=writer, rewritten=reworded, count=len(overview.points))
    else:
        said = text.QUOTED if overview.source == "paper" else text.QUOTED_NOTES
    return f"{overview.problem} {said}".strip()


def _point(point: "KeyPoint", votes: "Score | None") -> str:
    vote, score = (votes.own, votes.value) if votes else (0, 0)
    number = point.citation.number
    reworded = f' <span class="origin">{text.OWN_WORDS}</span>' if point.origin == "rewritten" else ""
    thumbs = {
        value: f'<button type="button" class="ask-vote" data-vote="{escape(point.id)}" data-value="{value}" '
        f'aria-pressed="{str(vote == value).lower()}" aria-label="{escape(label)}" title="{escape(label)}">'
        f"{THUMB}</button>"
        for value, label in ((1, text.UP), (-1, text.DOWN))
    }
    group = text.VOTES.format(number=number, score=signed(score))
    return (
        f"<li><p>{escape(point.text)}{reworded}&nbsp;{chip(point.citation, POINTS, '')}</p>"
        f'<div class="ask-votes" role="group" aria-label="{escape(group)}">{thumbs[1]}'
        f'<span class="overview-score" aria-hidden="true">{signed(score)}</span>{thumbs[-1]}</div></li>'
    )


def signed(score: int) -> str:
    """The number with a sign that is as wide as a plus."""
    return f"{score:+d}".replace("-", "−") if score else "0"


def questions(asked: Sequence[str]) -> str:
    """Questions to begin with, each a button; nothing when there are none."""
    if not asked:
        return ""
    buttons = "".join(
        f'<li><button type="button" class="overview-question" data-question="{escape(question)}">{escape(question)}'
        "</button></li>"
        for question in asked
    )
    return f'<h3 class="panel-title">{text.QUESTIONS}</h3><ul class="overview-questions">{buttons}</ul>'


def gallery(exhibits: Sequence["Exhibit"], pictures: Sequence[bytes | None] = (), waiting: str = "") -> str:
    """The tables and figures, with as many pictures as there are yet."""
    if not exhibits:
        return markup.note(text.NO_EXHIBITS)
    shown = [*pictures, *[None] * (len(exhibits) - len(pictures))]
    cards = "".join(
        _exhibit(exhibit, number, picture)
        for number, (exhibit, picture) in enumerate(zip(exhibits, shown, strict=True), start=1)
    )
    note = markup.note(text.GALLERY_NOTE) if any(pictures) else ""
    return f'<h3 class="panel-title">{text.GALLERY}</h3>{waiting or note}<div class="gallery">{cards}</div>'


def _exhibit(exhibit: "Exhibit", number: int, picture: bytes | None) -> str:
    show = text.SHOW_EXHIBIT.format(label=exhibit.label, page=exhibit.pdf_page)
    key = f'data-citation="{EXHIBITS}.{number}" aria-pressed="false" aria-label="{escape(show)}" title="{escape(show)}"'
    image = ""
    if picture:
        alt = text.EXHIBIT_PICTURE.format(label=exhibit.label, page=exhibit.pdf_page)
        data = base64.b64encode(picture).decode("ascii")
        image = (
            f'<button type="button" class="exhibit-picture" {key}>'
            f'<img alt="{escape(alt)}" src="data:image/webp;base64,{data}"></button>'
        )
    page = text.EXHIBIT_PAGE.format(page=exhibit.pdf_page)
    caption = exhibit.caption.removeprefix(exhibit.label).lstrip(" :.")
    return (
        f'<figure class="exhibit">{image}<figcaption><b>{escape(exhibit.label)}</b> '
        f'<button type="button" class="exhibit-page" {key}>{escape(page)}</button> '
        f"<span>{escape(caption)}</span></figcaption>{_rows(exhibit, is_open=not picture)}</figure>"
    )


def _rows(exhibit: "Exhibit", is_open: bool) -> str:
    """The rows as a real table, folded under a picture that shows them."""
    if not exhibit.rows:
        return ""
    width = max(map(len, exhibit.rows))
    head = "".join(_row(row, width, "th") for row in exhibit.rows[: exhibit.header])
    body = "".join(_row(row, width, "td") for row in exhibit.rows[exhibit.header :])
    summary = text.ROWS_NOTES if exhibit.rows_source == "notes" and exhibit.source == "paper" else text.ROWS
    table = (
        f'<div class="table-scroll" tabindex="0"><table class="figures words" aria-label="{escape(exhibit.label)}">'
        f"{f'<thead>{head}</thead>' if head else ''}<tbody>{body}</tbody></table></div>"
    )
    opened = " open" if is_open and exhibit.kind == "table" else ""
    return f'<details class="table-twin"{opened}><summary>{escape(summary)}</summary>{table}</details>'


def _row(cells: Sequence[str], width: int, tag: str) -> str:
    filled = [*cells, *[""] * (width - len(cells))]
    return f"<tr>{''.join(f'<{tag}>{escape(cell[:_LONGEST_CELL])}</{tag}>' for cell in filled)}</tr>"


def cited(exhibit: "Exhibit", number: int, paper_id: str) -> "Citation":
    """The exhibit as a source whose page can be shown, with its region marked."""
    from app.assistant.answering import Citation

    return Citation(
        number=number,
        paper=paper_id,
        source=exhibit.source,
        pdf_page=exhibit.pdf_page,
        last_page=exhibit.pdf_page,
        section=exhibit.section or exhibit.label,
        quote=exhibit.caption,
        score=1.0,
        boxes=(exhibit.box,) if exhibit.box else (),
        passage=exhibit.caption,
        label=exhibit.label if exhibit.section else "",
    )
