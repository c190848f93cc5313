"""One question of one visitor while it is answered: in a thread of its own, so that the page can look at it and stop it
at any time."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.tabs.ask_session import Work, run

if TYPE_CHECKING:
    from app.assistant.answering import Answer
    from app.assistant.asking import Asking
    from app.assistant.backends import Backend, ToolStep


class Turn(Work):
    """A question under way: what is written of its answer so far, the searches made for it, and the flag that ends it.

    ``answer`` is there when it is done, unless ``problem`` says what went wrong. A turn is ``dropped`` when the visitor
    has begun a new conversation meanwhile.
    """

    def __init__(self, question: str) -> None:
        super().__init__()
        self.question = question
        self.stop = threading.Event()
        self.written = ""
        self.steps: tuple[ToolStep, ...] = ()
        self.answer: Answer | None = None
        self.dropped = False

    def start(
        self, assistant: "Asking", history: Sequence[tuple[str, str]] = (), backend: "Backend | None" = None
    ) -> None:
        """Answer in the background."""
        task = threading.Thread(target=run, args=(self, lambda: self._follow(assistant, history, backend)), daemon=True)
        task.start()

    def _follow(self, assistant, history, backend) -> None:
        from app.assistant.backends import Token, ToolStep

        for event in assistant.stream(self.question, history, backend, self.stop):
            if isinstance(event, Token):
                self.written += event.text
            elif isinstance(event, ToolStep):
                self.written = ""
                running = [step for step in self.steps if step.done]
                self.steps = (*running, event)
            else:
                self.answer = event.answer


class Turns:
    """The turns under way, at most one for each open page."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, Turn] = {}

    @contextmanager
    def begin(self, page: str, question: str) -> Iterator[Turn | None]:
        """A turn of this page, or None while it has another. Leaving the context stops what is still written."""
        with self._lock:
            turn = None if page in self._running else Turn(question)
            if turn:
                self._running[page] = turn
        try:
            yield turn
        finally:
            if turn:
                turn.stop.set()
                with self._lock:
                    del self._running[page]

    def stop(self, page: str, drop: bool = False) -> None:
        """End the page's turn where it is, and with ``drop`` forget it."""
        with self._lock:
            if turn := self._running.get(page):
                turn.dropped = drop
                turn.stop.set()


TURNS = Turns()
