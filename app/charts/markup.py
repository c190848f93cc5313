"""Small pieces of HTML that every tab sets in the same manner (classes of ``app/styles/base.css``)."""

from html import escape

from app.text import common


def origin(kind: str) -> str:
    """The mark that says where numbers come from; ``kind`` is one of the words in ``app.text.common``."""
    return f'<span class="origin">{escape(kind)}</span>'


def panel_title(text: str, *, kind: str, beside: str = "", ask: str = "") -> str:
    """A panel's heading with the mark of its numbers, and of those that stand ``beside`` them.

    ``ask`` is a question for the paper, which a button puts into the assistant's box.
    """
    marks = " ".join(origin(word) for word in (kind, beside) if word)
    return f'<h3 class="panel-title">{escape(text)} {marks}{ask_link(ask) if ask else ""}</h3>'


def ask_link(question: str) -> str:
    """A button that opens the assistant with this question filled in."""
    label = escape(common.ASK_LABEL.format(question=question))
    return (
        f' <button type="button" class="ask-link" data-ask="{escape(question)}" aria-label="{label}">'
        f"{escape(common.ASK)}</button>"
    )


def conclusion(text: str) -> str:
    """The one sentence that a panel is there to say."""
    return f'<p class="conclusion">{escape(text)}</p>'


def note(text: str) -> str:
    """A quieter sentence under a chart."""
    return f'<p class="note">{escape(text)}</p>'


def problem(text: str) -> str:
    """A clear sentence about what cannot be shown, in the place where it would stand; read out when it appears."""
    return f'<p class="problem" role="alert">{escape(text)}</p>'
