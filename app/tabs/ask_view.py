"""The Ask tab's pieces as HTML. Everything that comes from a question, a paper or a note is escaped here."""

import base64
from html import escape
from typing import TYPE_CHECKING

from app.charts import markup
from app.text import ask as text

if TYPE_CHECKING:
    from app.assistant.answering import Answer, Citation, Statement
    from app.assistant.library import Paper


def origin(citation: "Citation") -> str:
    """ "from the paper, p. 5" or "from our notes on pp. 4–5"."""
    first, last = citation.pdf_page, citation.last_page
    pages = f"{first}–{last}" if last > first else f"{first}"
    return (text.FROM_PAPER if citation.source == "paper" else text.FROM_NOTES).format(pages=pages)


def conversation(
    answers: list["Answer"], chosen: str = "", pending: str = "", waiting: str = "", problem: str = ""
) -> str:
    """All questions and answers, the newest first. ``chosen`` is the key of the source that is shown ("2.1"),
    ``pending`` a question under way, ``problem`` a sentence about one that could not be answered."""
    entries = [markup.problem(problem)] if problem else []
    if pending:
        entries.append(
            f'<article class="ask-entry">{_asked(pending)}'
            f'<p class="ask-waiting" role="status"><span class="ask-dot"></span>{escape(waiting)}</p></article>'
        )
    for number in range(len(answers) - 1, -1, -1):
        entries.append(_entry(answers[number], number, chosen))
    return f'<div class="ask-conversation">{"".join(entries)}</div>' if entries else ""


def _asked(question: str) -> str:
    return f'<h3 class="ask-asked">{escape(question)}</h3>'


def _entry(answer: "Answer", number: int, chosen: str) -> str:
    if answer.declined:
        body = (
            f'<div class="ask-declined"><p class="ask-declined-title">{text.DECLINED}</p>'
            f"<p>{escape(answer.reason)}</p></div>"
            + _sources(answer.citations, number, chosen, text.NEAREST if answer.citations else "")
        )
    else:
        quoted = {statement.citation for statement in answer.statements}
        statements = "".join(_statement(statement, answer, number, chosen) for statement in answer.statements)
        body = (
            f'<div class="ask-answer">{statements}</div>'
            + _sources([c for c in answer.citations if c.number in quoted], number, chosen, text.SOURCES)
            + _sources([c for c in answer.citations if c.number not in quoted], number, chosen, text.ALSO)
        )
    seconds = f'<p class="ask-seconds">{text.SECONDS.format(seconds=answer.seconds)}</p>'
    declined = str(answer.declined).lower()
    return f'<article class="ask-entry" data-declined="{declined}">{_asked(answer.question)}{body}{seconds}</article>'


def _statement(statement: "Statement", answer: "Answer", number: int, chosen: str) -> str:
    citation = answer.citations[statement.citation - 1]
    chip = _chip(citation, number, chosen)
    if statement.rows:
        head = "".join(f"<th>{escape(cell)}</th>" for cell in statement.columns)
        head = f"<thead><tr>{head}</tr></thead>" if head else ""
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in statement.rows)
        return (
            f'<figure class="ask-row"><figcaption>{escape(statement.title)} {chip}</figcaption>'
            f'<div class="ask-row-scroll"><table>{head}<tbody>{rows}</tbody></table></div></figure>'
        )
    before, core, after = statement.text.partition(statement.core)
    return (
        f'<p><span class="ask-around">{escape(before)}</span>{escape(core)}'
        f'<span class="ask-around">{escape(after)}</span>&nbsp;{chip}</p>'
    )


def _key(citation: "Citation", number: int) -> str:
    return f"{number}.{citation.number}"


def _chip(citation: "Citation", number: int, chosen: str) -> str:
    label = text.SHOW_SOURCE.format(number=citation.number, origin=origin(citation))
    pressed = str(_key(citation, number) == chosen).lower()
    return (
        f'<button type="button" class="ask-chip" data-citation="{_key(citation, number)}" aria-pressed="{pressed}" '
        f'aria-label="{escape(label)}" title="{escape(label)}">{citation.number}</button>'
    )


def _sources(citations, number: int, chosen: str, title: str) -> str:
    if not citations:
        return ""
    rows = "".join(
        f'<li><button type="button" class="ask-source" data-citation="{_key(c, number)}" '
        f'aria-pressed="{str(_key(c, number) == chosen).lower()}">'
        f'<span class="ask-number">{c.number}</span>'
        f'<span class="ask-place"><b>{escape(origin(c))}</b> <span>{escape(_where(c))}</span>'
        f'<span class="ask-teaser">{escape(c.quote)}</span></span>'
        "</button></li>"
        for c in citations
    )
    return f'<p class="ask-sources-title">{escape(title)}</p><ol class="ask-sources">{rows}</ol>'


def _where(citation: "Citation") -> str:
    named = citation.label and citation.source == "paper"
    return f"{citation.label} in {citation.section}" if named else citation.section


def page(citation: "Citation", paper: "Paper", picture: bytes | None, size: tuple[float, float]) -> str:
    """The chosen source: its quote, and the page with the quote marked, or the note that it comes from.

    Args:
        picture: the page as PNG; None for a note.
        size: width and height of the page in points.
    """
    head = (
        f'<p class="ask-page-head"><span class="ask-number">{citation.number}</span>'
        f'<span class="origin">{escape(origin(citation))}</span> <span>{escape(_where(citation))}</span></p>'
    )
    quote = f'<blockquote class="ask-quote">{escape(citation.quote)}</blockquote>'
    credit = text.CREDIT.format(
        title=paper.title, authors=", ".join(paper.authors), arxiv=paper.arxiv, licence=paper.licence
    )
    foot = (
        f'<p class="note">{escape(credit)} '
        f'<a href="{escape(paper.abstract_url)}" target="_blank" rel="noopener noreferrer">{text.OPEN_ARXIV}</a></p>'
    )
    if picture is None:
        return (
            f'<section class="ask-page">{head}<p class="note">{text.NOTE_PASSAGE}</p>'
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
        f'<section class="ask-page">{head}{quote}'
        f'<div class="ask-sheet" tabindex="0" role="group" aria-label="{escape(alt)}"><div class="ask-paper" '
        f'style="aspect-ratio:{width:.0f}/{height:.0f}">'
        f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
        f'<div class="ask-marks">{marks}</div></div></div>{foot}</section>'
    )


def _marked(passage: str, quote: str) -> str:
    start = passage.find(quote)
    if start < 0:
        return f"<p>{escape(passage)}</p>"
    end = start + len(quote)
    return f"<p>{escape(passage[:start])}<mark>{escape(quote)}</mark>{escape(passage[end:])}</p>"


def status(sentence: str, detail: str = "", share: float | None = None) -> str:
    """The line above the question box, with a bar while something is under way."""
    bar = "" if share is None else f'<progress max="1" value="{share:.3f}"></progress>'
    return f'<div class="ask-status" role="status"><p>{escape(sentence)} <span>{escape(detail)}</span></p>{bar}</div>'
