"""The Ask tab's questions as HTML. Everything that comes from a question, a model, a paper or a note is escaped where
it is put in: here, and in the modules that draw an answer, its sources and the page."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from app.tabs import ask_answer_view as parts
from app.tabs.ask_sources_view import sources
from app.text import ask as text

if TYPE_CHECKING:
    from app.assistant.answering import Answer
    from app.assistant.backends import ToolStep

THUMB = (
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M7 10.5v10H3.5v-10zm2.5 8.6V10l4-7.5c1.7 0 2.6 1.2 2.2 2.9'
    'L15 9h4.6c1.3 0 2.2 1.2 1.9 2.5l-1.7 7c-.3 1.2-1.2 2-2.4 2h-5.2c-1 0-2-.5-2.7-1.4z"/></svg>'
)


def conversation(answers: Sequence["Answer"], chosen: str = "", votes: Mapping[int, int] | None = None) -> str:
    """All questions and answers, the newest first.

    Args:
        answers: oldest first.
        chosen: the key of the source that is shown ("2.1": source 1 of the third answer).
        votes: the visitor's vote (1 or -1) on the answer at this place.
    """
    votes = votes or {}
    entries = [_entry(answers[n], n, chosen, votes.get(n, 0)) for n in range(len(answers) - 1, -1, -1)]
    return f'<div class="ask-conversation">{"".join(entries)}</div>' if entries else ""


def pending(question: str, waiting: str, written: str = "", steps: Sequence["ToolStep"] = ()) -> str:
    """A question under way: what was looked for, and what is written so far."""
    body = f'<p class="ask-written">{escape(written)}<span class="ask-caret"></span></p>' if written else ""
    return (
        f'<article class="ask-entry ask-pending">{_asked(question)}{parts.steps(steps)}'
        f'<div class="ask-answer">{body}</div>'
        f'<p class="ask-waiting" role="status"><span class="ask-dot"></span>{escape(waiting)}</p></article>'
    )


def _asked(question: str) -> str:
    return f'<h3 class="ask-asked">{escape(question)}</h3>'


def _entry(answer: "Answer", entry: int, chosen: str, vote: int) -> str:
    understood = text.UNDERSTOOD.format(question=answer.understood) if answer.understood else ""
    top = [
        _asked(answer.question),
        f'<p class="ask-understood">{escape(understood)}</p>' if understood else "",
        f'<p class="ask-notice">{escape(answer.notice)}</p>' if answer.notice else "",
        parts.steps(answer.steps),
    ]
    body = _declined(answer, entry, chosen) if answer.declined else _answered(answer, entry, chosen)
    by = text.WRITTEN_BY.format(model=answer.model) if answer.model else "" if answer.declined else text.QUOTED
    seconds = text.SECONDS.format(seconds=answer.seconds)
    foot = (
        f'<footer class="ask-foot"><p class="ask-seconds">{escape(f"{by} {seconds}".strip())}</p>'
        f"{_voting(entry, vote)}</footer>"
    )
    declined = str(answer.declined).lower()
    return f'<article class="ask-entry" data-declined="{declined}">{"".join(top)}{body}{foot}</article>'


def _declined(answer: "Answer", entry: int, chosen: str) -> str:
    return (
        f'<div class="ask-declined"><p class="ask-declined-title">'
        f"{text.DECLINED_SEVERAL if answer.papers else text.DECLINED}</p>"
        f"<p>{escape(answer.reason)}</p></div>{sources(answer.citations, entry, chosen, text.NEAREST, answer.names)}"
    )


def _answered(answer: "Answer", entry: int, chosen: str) -> str:
    if answer.written:
        silences = "".join(parts.silence(paper, answer, entry, chosen) for paper in answer.papers)
        body = f"{parts.written(answer, entry, chosen)}{silences}"
        title = text.CHECKED_AGAINST
        used = {number for sentence in answer.sentences for number in (sentence.number, *sentence.citations)}
    else:
        said = (
            parts.by_paper(answer, entry, chosen)
            if answer.compared
            else "".join(parts.statement(part, answer, entry, chosen) for part in answer.statements)
        )
        body, title = f'<div class="ask-answer">{said}</div>', text.SOURCES
        used = {part.citation for part in answer.statements}
    used |= {number for shown in answer.disagreements for number in shown.citations}
    return "".join(
        [
            body,
            *(parts.disagreement(shown, answer.citations, entry, chosen) for shown in answer.disagreements),
            sources([c for c in answer.citations if c.number in used], entry, chosen, title, answer.names),
            sources([c for c in answer.citations if c.number not in used], entry, chosen, text.ALSO, answer.names),
        ]
    )


def _voting(entry: int, vote: int) -> str:
    """Two thumbs, of which the chosen one is pressed; the same one again takes the vote back."""
    buttons = "".join(
        f'<button type="button" class="ask-vote" data-vote="{entry}" data-value="{value}" '
        f'aria-pressed="{str(vote == value).lower()}" aria-label="{escape(label)}" title="{escape(label)}">'
        f"{THUMB}</button>"
        for value, label in ((1, text.HELPFUL), (-1, text.NOT_HELPFUL))
    )
    return f'<div class="ask-votes" role="group" aria-label="{escape(text.VOTES)}">{buttons}</div>'


def earlier(questions: Sequence[str]) -> str:
    """The visitor's questions of earlier visits, the latest first, each to ask again."""
    rows = "".join(
        f'<li><button type="button" class="ask-again" data-question="{shown}">{shown}</button></li>'
        for shown in map(escape, questions)
    )
    return (
        f'<details class="ask-earlier"><summary>{escape(text.EARLIER)} ({len(questions)})</summary>'
        f'<p class="note">{escape(text.EARLIER_NOTE)}</p><ul>{rows}</ul></details>'
        if rows
        else ""
    )


def asked_of(titles: Sequence[str]) -> str:
    """Which papers questions are asked of."""
    names = ", ".join(f"<b>{escape(title)}</b>" for title in titles)
    return f'<p class="ask-asked-of" role="status">{text.ASKED_OF} {names}. <span>{text.CHOOSE_PAPERS}</span></p>'


def status(sentence: str, detail: str = "", share: float | None = None) -> str:
    """The line above the question box, with a bar while something is under way."""
    bar = "" if share is None else f'<progress max="1" value="{share:.3f}"></progress>'
    return f'<div class="ask-status" role="status"><p>{escape(sentence)} <span>{escape(detail)}</span></p>{bar}</div>'
