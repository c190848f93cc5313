"""Key points in a language model's words, for another try at an overview (:mod:`app.assistant.overview`)."""

import re
import threading

from app.assistant.backends import Backend, BackendError, Limits, Passages, Request, Token, watched
from app.assistant.index import Index
from app.assistant.overview import Rewrite
from app.assistant.retrieval import Hit
from qlora.errors import InputError

_REQUEST = (
    "Say this point of the paper in one plain sentence of your own, with its numbers and names, and nothing else: "
    "“{point}”"
)
_CITED = re.compile(r"\s*\[\d+(?:\s*,\s*\d+)*\]")


def rewrite_with(backend: Backend, index: Index, stop: threading.Event, limits: Limits | None = None) -> Rewrite:
    """A function that puts a key point in the back-end's words. It is given the passage of the point and no other.

    Args:
        backend: writes the words (:func:`app.assistant.backends.make`).
        index: of the paper, which the points' passages are from.
        stop: ends the writing.
        limits: time-outs of the back-end.
    """
    by_text = {chunk.text: Hit(chunk, number, 1.0) for number, chunk in enumerate(index.chunks)}

    def rewrite(point: str, passage: str) -> str:
        request = Request(_REQUEST.format(point=point), Passages([by_text[passage]]), lambda query: [])
        text = ""
        try:
            for event in watched(backend, request, stop, limits or Limits()):
                text = text + event.text if isinstance(event, Token) else ""
        except BackendError as error:
            raise InputError(str(error)) from error
        return _CITED.sub("", text).strip()

    return rewrite
