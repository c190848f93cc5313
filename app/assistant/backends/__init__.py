"""Who writes the answer: the passages' own sentences (default), or a language model over the passages.

A back-end streams :class:`Token` and :class:`ToolStep` events for a :class:`Request`; :func:`watched` adds time-outs,
stop and a look at what comes. :func:`make` finds one by name; its model is loaded or called with the first question.
"""

from app.assistant.backends.base import Backend, BackendError, Event, Passages, Request, Token, ToolStep
from app.assistant.backends.choice import EXTRACTIVE, NAMES, make
from app.assistant.backends.watching import Limits, watched

__all__ = [
    "EXTRACTIVE",
    "NAMES",
    "Backend",
    "BackendError",
    "Event",
    "Limits",
    "Passages",
    "Request",
    "Token",
    "ToolStep",
    "make",
    "watched",
]
