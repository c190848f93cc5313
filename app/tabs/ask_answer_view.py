"""What stands in an answer, as HTML: quoted statements, or a model's sentences each with its verdict; searches,
disagreements of the paper with itself."""

import re
from collections import Counter
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from app.tabs.ask_sources_view import chip
from app.text import ask as text

if TYPE_CHECKING:
    from app.assistant.answer import Answer, AskedPaper, Citation, ShownDisagreement, Statement
    from app.assistant.backends import ToolStep
    from app.assistant.checking import CheckedSentence

_SHOWN_QUOTE = 240
_CITED = re.compile(r"\s*\[(\d+(?:\s*,\s*\d+)*)\]([.,;:!?]?)")
"""A model's citation, and the mark that closes what it stands behind."""


def statement(part: "Statement", answer: "Answer", entry: int, chosen: str) -> str:
    """A quoted sentence, or rows of a table, with the number of its source."""
    mark = chip(answer.citations[part.citation - 1], entry, chosen, answer.names)
    if part.rows:
        head = "".join(f"<th>{escape(cell)}</th>" for cell in part.columns)
        head = f"<thead><tr>{head}</tr></thead>" if head else ""
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in part.rows)
        return (
            f'<figure class="ask-row"><figcaption>{escape(part.title)} {mark}</figcaption>'
            f'<div class="ask-row-scroll"><table>{head}<tbody>{rows}</tbody></table></div></figure>'
        )
    before, core, after = part.text.partition(part.core)
    return (
        f'<p><span class="ask-around">{escape(before)}</span>{escape(core)}'
        f'<span class="ask-around">{escape(after)}</span>&nbsp;{mark}</p>'
    )


def written(answer: "Answer", entry: int, chosen: str) -> str:
    """A model's text: every sentence with its verdict behind it, then what the marks mean."""
    by_number = {citation.number: citation for citation in answer.citations}

    def with_chips(piece: str) -> str:
        parts, end = [], 0
        for match in _CITED.finditer(piece):
            known = [by_number[number] for number in map(int, match[1].split(",")) if number in by_number]
            parts.append(escape(piece[end : match.start()]))
            chips = "".join(f"&nbsp;{chip(citation, entry, chosen, answer.names)}" for citation in known)
            parts.append(f"{match[2]}{chips}" if known else escape(match[0]))
            end = match.end()
        return "".join([*parts, escape(piece[end:])])

    parts, end = [], 0
    for sentence in answer.sentences:
        parts.append(with_chips(answer.written[end : sentence.start]))
        inside = with_chips(answer.written[sentence.start : sentence.end])
        held = by_number.get(sentence.number)
        name = answer.names.get(held.paper, "") if held else ""
        parts.append(_sentence(sentence, inside, name) if sentence.verdict else inside)
        end = sentence.end
    parts.append(with_chips(answer.written[end:]))
    return f'<div class="ask-answer"><p class="ask-written">{"".join(parts)}</p></div>{_judgement(answer.sentences)}'


def _sentence(sentence: "CheckedSentence", inside: str, paper: str) -> str:
    verdict = sentence.verdict
    why = _why(sentence, paper)
    label = f"{text.VERDICTS[verdict]}. {why}".strip()
    return (
        f'<span class="ask-sentence" data-verdict="{escape(verdict)}"><span class="ask-said">{inside}</span>'
        f'<button type="button" class="ask-verdict" aria-label="{escape(label)}">{text.VERDICT_MARKS[verdict]}</button>'
        f'<span class="ask-why" aria-hidden="true"><b>{escape(text.VERDICTS[verdict])}.</b> {escape(why)}</span></span>'
    )


def _why(sentence: "CheckedSentence", paper: str) -> str:
    """The reasons for the verdict; ``paper`` is what the passage's paper is called, where several were asked."""
    reasons = list(sentence.reasons)
    if sentence.quote:
        quote = " ".join(sentence.quote.split())
        quote = quote if len(quote) <= _SHOWN_QUOTE else f"{quote[:_SHOWN_QUOTE].rsplit(' ', 1)[0]} …"
        patterns = (text.NEAREST_IN, text.STANDS_IN) if paper else (text.NEAREST_SENTENCE, text.STANDS)
        pattern = patterns[sentence.verdict == "supported"]
        reasons.append(pattern.format(page=sentence.pdf_page, quote=quote, name=paper))
    return " ".join(reasons)


def _judgement(sentences: "Iterable[CheckedSentence]") -> str:
    """How much of the answer can be relied on, in a sentence, and what the marks mean."""
    counts = Counter(sentence.verdict for sentence in sentences if sentence.verdict)
    count = counts.total()
    if not count:
        return ""
    unsupported, weak = counts["unsupported"], counts["weak"]
    if unsupported == count:
        said = text.SUMMARY_NONE
    elif unsupported:
        said = text.SUMMARY[unsupported > 1].format(unsupported=unsupported, count=count)
    elif weak:
        said = text.SUMMARY_WEAK[weak > 1].format(weak=weak, count=count)
    else:
        said = text.SUMMARY_ONE if count == 1 else text.SUMMARY_ALL.format(count=count)
    level = "unsupported" if unsupported else "weak" if weak else "supported"
    legend = "".join(
        f'<li data-verdict="{verdict}"><span class="ask-verdict" aria-hidden="true">{text.VERDICT_MARKS[verdict]}'
        f'</span> <span class="ask-said">{escape(meaning)}</span></li>'
        for verdict, meaning in text.VERDICTS.items()
    )
    return (
        f'<div class="ask-judgement" data-verdict="{level}"><p>{escape(said)}</p>'
        f'<ul class="ask-legend" aria-label="{escape(text.LEGEND)}">{legend}</ul>'
        f'<p class="ask-hint">{escape(text.REASON_HINT)}</p></div>'
    )


def steps(done: "Iterable[ToolStep]") -> str:
    """What was looked for while the answer was written."""
    rows = []
    for step in done:
        pattern = text.STEP_RUNNING
        if step.done:
            pattern = text.STEP_ONE if len(step.found) == 1 else text.STEP_DONE
        rows.append(f"<li>{escape(pattern.format(query=step.query, count=len(step.found)))}</li>")
    return f'<ul class="ask-steps">{"".join(rows)}</ul>' if rows else ""


def by_paper(answer: "Answer", entry: int, chosen: str) -> str:
    """A comparison in the papers' own words: under each paper's name what it says, or that it says nothing."""
    paper_of = {citation.number: citation.paper for citation in answer.citations}
    said = []
    for paper in answer.papers:
        own = [part for part in answer.statements if paper_of[part.citation] == paper.id]
        body = "".join(statement(part, answer, entry, chosen) for part in own)
        said.append(f'<h4 class="ask-of">{escape(paper.name)}</h4>{body}{silence(paper, answer, entry, chosen)}')
    return "".join(said)


def silence(paper: "AskedPaper", answer: "Answer", entry: int, chosen: str) -> str:
    """That a compared paper does not answer, with the passage that comes nearest; nothing for one that does."""
    if not paper.nothing:
        return ""
    near = next((citation for citation in answer.citations if citation.number == paper.nearest), None)
    pattern = text.DOES_NOT_SAY if near else text.HAS_NOTHING
    mark = f"&nbsp;{chip(near, entry, chosen, answer.names)}" if near else ""
    return f'<p class="ask-silence">{escape(pattern.format(name=paper.name, reason=paper.nothing))}{mark}</p>'


def disagreement(shown: "ShownDisagreement", citations: "Iterable[Citation]", entry: int, chosen: str) -> str:
    """The statements that contradict each other, each with its place."""
    by_number = {citation.number: citation for citation in citations}
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in text.DISAGREEMENT_COLUMNS)
    rows = []
    for said, number in zip(shown.disagreement.statements, shown.citations, strict=True):
        mark = chip(by_number[number], entry, chosen) if number in by_number else ""
        place = text.PLACE_ON_PAGE.format(place=said.place, page=said.page)
        rows.append(f"<tr><td>{escape(said.says)}</td><td>{escape(place)}</td><td>{mark}</td></tr>")
    pattern = text.DISAGREES_NAMED if shown.paper else text.DISAGREES
    caption = pattern.format(about=shown.disagreement.about, name=shown.paper)
    return (
        f'<table class="ask-disagreement"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
