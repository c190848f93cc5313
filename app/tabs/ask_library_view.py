"""The list of papers as HTML. Titles and file names come from visitors' files and are escaped here."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from app.charts import markup
from app.text import ask_library as text

if TYPE_CHECKING:
    from app.assistant.library import Entry

_KIB, _MIB = 2**10, 2**20


def papers(entries: Sequence["Entry"], ticked: Sequence[str] = (), removing: str = "", focused: str = "") -> str:
    """The papers, each with a box to tick and with what can be done to it.

    Args:
        ticked: identifiers of those that questions are put to.
        removing: of the one that is asked about whether to remove it.
        focused: of the one whose box has the focus when the list is drawn.
    """
    items = "".join(
        _item(entry, entry.paper.id in ticked, entry.paper.id == removing, entry.paper.id == focused)
        for entry in entries
    )
    return (
        f'<fieldset class="library-choice"><legend>{escape(text.CHOICE)} <span>{escape(text.CHOICE_INFO)}</span>'
        f'</legend><ul class="library">{items}</ul></fieldset>'
    )


def _item(entry: "Entry", ticked: bool, removing: bool, focused: bool) -> str:
    paper = entry.paper
    facts = [text.MADE_FROM[entry.made_from]]
    if entry.pages:
        facts.append(text.PAGES_ONE if entry.pages == 1 else text.PAGES.format(count=entry.pages))
    facts.append(size(entry.size_bytes))
    if paper.arxiv:
        facts.append(text.ARXIV_NUMBER.format(number=paper.arxiv_name))
    facts.append(text.ADDED_ON.format(date=entry.added[:10]) if entry.added else text.COMES_WITH)
    facts.append(text.INDEXED if entry.indexed else text.NOT_INDEXED)
    said = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
    if removing:
        actions = (
            f'<div class="library-sure" role="alertdialog" aria-label="{escape(text.REMOVE)}">'
            f"<p>{escape(text.REMOVE_QUESTION.format(title=paper.title))}</p>"
            + _button("confirm", paper.id, text.REMOVE_YES, paper.title, "library-danger")
            + _button("keep", paper.id, text.REMOVE_NO, paper.title, focus=True)
            + "</div>"
        )
    else:
        actions = f'<div class="library-actions">{_button("reindex", paper.id, text.REINDEX, paper.title)}' + (
            _button("remove", paper.id, text.REMOVE, paper.title) if entry.removable else ""
        )
        actions += "</div>"
    return (
        f'<li class="library-paper" data-paper="{escape(paper.id)}"><h4><label class="library-tick">'
        f'<input type="checkbox" data-tick="{escape(paper.id)}"{" checked" if ticked else ""}'
        f"{' data-focus' if focused else ''}><span>{escape(paper.title)}</span></label></h4>"
        f'<ul class="library-facts">{said}</ul>{actions}</li>'
    )


def _button(action: str, paper_id: str, words: str, title: str, kind: str = "", focus: bool = False) -> str:
    label = text.ACTION_LABEL.format(action=words, title=title)
    return (
        f'<button type="button" class="small-button {kind}" data-action="{action}" data-of="{escape(paper_id)}" '
        f'aria-label="{escape(label)}"{" data-focus" if focus else ""}>{escape(words)}</button>'
    )


def size(count: int) -> str:
    """Bytes in the unit that suits them."""
    if count < _MIB:
        return text.SIZE_KIB.format(size=max(1, count / _KIB))
    return text.SIZE_MIB.format(size=count / _MIB)


def progress(label: str, share: float) -> str:
    """A sentence about work under way, with a bar once its share is known."""
    percent = f" {text.PERCENT.format(percent=round(100 * share))}" if share else ""
    bar = f'<progress max="1" value="{share:.3f}"></progress>' if share else "<progress></progress>"
    return f'<div class="library-work" role="status"><p>{escape(label)}{escape(percent)}</p>{bar}</div>'


def said(sentence: str) -> str:
    """What has been done, read out when it appears."""
    return f'<p class="library-said" role="status">{escape(sentence)}</p>'


def limits() -> str:
    """What may be added, before anything is."""
    from app.assistant.readers.pdf import MAX_BYTES, MAX_PAGES
    from app.assistant.readers.reading import MAX_TEXT_BYTES

    return markup.note(text.LIMITS.format(pdf_mib=MAX_BYTES // _MIB, pages=MAX_PAGES, text_mib=MAX_TEXT_BYTES // _MIB))
