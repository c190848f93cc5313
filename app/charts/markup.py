"""Small pieces of HTML that every tab sets in the same manner (classes of ``app/styles/base.css``)."""

from html import escape


def origin(kind: str) -> str:
    """The mark that says where numbers come from; ``kind`` is one of the words in ``app.text.common``."""
    return f'<span class="origin">{escape(kind)}</span>'


def panel_title(text: str, *, kind: str, beside: str = "") -> str:
    """A panel's heading with the mark of its numbers, and of those that stand ``beside`` them."""
    marks = " ".join(origin(word) for word in (kind, beside) if word)
    return f'<h3 class="panel-title">{escape(text)} {marks}</h3>'


def conclusion(text: str) -> str:
    """The one sentence that a panel is there to say."""
    return f'<p class="conclusion">{escape(text)}</p>'


def note(text: str) -> str:
    """A quieter sentence under a chart."""
    return f'<p class="note">{escape(text)}</p>'


def problem(text: str) -> str:
    """A clear sentence about what cannot be shown, in the place where it would stand; read out when it appears."""
    return f'<p class="problem" role="alert">{escape(text)}</p>'
