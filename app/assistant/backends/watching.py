"""A back-end under watch: time-outs, stop at any time, and a look at whether what comes is an answer at all."""

import atexit
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from weakref import WeakKeyDictionary

from app.assistant.backends.base import Backend, BackendError, Event, Request, Token, ToolStep
from app.assistant.checking.claims import pieces
from qlora.errors import InputError

MAX_CHARACTERS = 6000
LOCAL = "local"
"""The back-end that computes in this process, which then waits for it when it ends."""
_POLL_SECONDS = 0.05
_LOOP_WORDS = 90
_LOOP_SHARE = 0.35
_UNREADABLE_SHARE = 0.02
_computing: "WeakKeyDictionary[threading.Thread, threading.Event]" = WeakKeyDictionary()


@dataclass(frozen=True)
class Limits:
    """How long a back-end may take, in seconds: to its first word (its own limit if None), between words, in all."""

    first_token_seconds: float | None = None
    between_seconds: float = 30.0
    total_seconds: float = 180.0


def watched(backend: Backend, request: Request, stop: threading.Event, limits: Limits) -> Iterator[Event]:
    """The back-end's events, from a thread of its own, so that it can be left behind when it hangs.

    Ends when the back-end does, when ``stop`` is set, and after :data:`MAX_CHARACTERS`. What stands between
    ``<think>`` marks is not passed on. A text that begins to run in circles is ended there.

    Raises:
        BackendError: it fails, takes longer than ``limits`` allow, or says nothing that can be read.
    """
    events: SimpleQueue[Event | BaseException | None] = SimpleQueue()
    left = threading.Event()

    def run() -> None:
        try:
            for event in backend.stream(request, left):
                events.put(event)
                if left.is_set():
                    break
            events.put(None)
        except BaseException as error:  # raised again where the events are read
            events.put(error)

    thread = threading.Thread(target=run, name=f"answer from {backend.name}", daemon=True)
    thread.start()
    if backend.name == LOCAL:
        _computing[thread] = left
    visible = _Visible()
    start = heard = time.monotonic()
    first = limits.first_token_seconds or backend.first_token_seconds
    text, spoken = "", False
    try:
        while not stop.is_set():
            now = time.monotonic()
            if now - start > limits.total_seconds:
                raise BackendError(f"{_who(backend)} did not finish within {limits.total_seconds:g} seconds.")
            if now - heard > (limits.between_seconds if spoken else first):
                what = "went silent for" if spoken else "did not begin to answer within"
                raise BackendError(f"{_who(backend)} {what} {limits.between_seconds if spoken else first:g} seconds.")
            try:
                event = events.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            if event is None:
                break
            if isinstance(event, (InputError, BackendError)):
                raise BackendError(str(event)) from event
            if isinstance(event, BaseException):
                raise event
            heard = time.monotonic()
            if isinstance(event, ToolStep):
                text, spoken, visible = "", False, _Visible()
                yield event
                continue
            spoken = True
            if shown := visible.add(event.text):
                text += shown
                yield Token(shown)
            if len(text) > MAX_CHARACTERS or runs_in_circles(text):
                break
    finally:
        left.set()
    if not stop.is_set() and (fault := fault_of(text)):
        raise BackendError(f"{_who(backend)} {fault}.")


@atexit.register
def _wait_for_those_that_compute() -> None:
    """A thread inside torch must not be cut off when the interpreter ends; it ends at its next word."""
    for thread, left in list(_computing.items()):
        left.set()
        thread.join()


def _who(backend: Backend) -> str:
    return f"The model {backend.model}" if backend.model else f"The back-end {backend.name}"


class _Visible:
    """Leaves out what a reasoning model writes between ``<think>`` marks, also when a mark comes in pieces."""

    def __init__(self) -> None:
        self._held, self._thinking = "", False

    def add(self, piece: str) -> str:
        shown, self._held = "", self._held + piece
        while self._held:
            mark = "</think>" if self._thinking else "<think>"
            place = self._held.find(mark)
            if place >= 0:
                shown += "" if self._thinking else self._held[:place]
                self._held, self._thinking = self._held[place + len(mark) :], not self._thinking
                continue
            # The end may be the beginning of a mark.
            kept = next((n for n in range(len(mark) - 1, 0, -1) if self._held.endswith(mark[:n])), 0)
            cut = len(self._held) - kept
            shown += "" if self._thinking else self._held[:cut]
            self._held = self._held[cut:]
            break
        return shown


def runs_in_circles(text: str) -> bool:
    """Whether the last words only repeat themselves."""
    words = text.lower().split()[-_LOOP_WORDS:]
    if len(words) < _LOOP_WORDS:
        return False
    runs = [tuple(words[n : n + 3]) for n in range(len(words) - 2)]
    return len(set(runs)) < _LOOP_SHARE * len(runs)


def without_repetition(text: str) -> str:
    """The text without sentences that it has said before."""
    seen: set[str] = set()
    kept, end = [], 0
    for piece in pieces(text):
        said = re.sub(r"\W+", " ", piece.text).strip().lower()
        if said not in seen:
            kept.append(text[end : piece.end])
        seen.add(said)
        end = piece.end
    return "".join([*kept, text[end:]]).strip()


def fault_of(text: str) -> str:
    """What is wrong with a finished answer, in words that follow "The model …"; "" when it can be read."""
    if not any(character.isalpha() for character in text):
        return "answered without a word"
    strange = sum(c == "\N{REPLACEMENT CHARACTER}" or not (c.isprintable() or c.isspace()) for c in text)
    if strange > _UNREADABLE_SHARE * len(text):
        return "answered with characters that cannot be read"
    words = text.lower().split()
    if len(words) >= 12 and len(set(words)) <= max(3, 0.1 * len(words)):
        return "only repeated itself"
    return ""
