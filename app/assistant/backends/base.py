"""What every back-end is given and what it gives back."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event as Flag
from typing import Protocol

from app.assistant.retrieval import Hit


class BackendError(RuntimeError):
    """A back-end is down, slow or answers garbage. The message is one sentence for the visitor."""


@dataclass(frozen=True)
class Token:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True)
class ToolStep:
    """The model called a tool. What it wrote before was not the answer.

    ``found`` are the numbers of the passages that came back; empty while the call runs (``done`` is false).
    """

    tool: str
    query: str
    found: tuple[int, ...] = ()
    done: bool = False


Event = Token | ToolStep


class Passages:
    """The passages that an answer may cite, numbered from 1 in the order in which they came."""

    def __init__(self, hits: Sequence[Hit] = ()):
        self.hits: list[Hit] = []
        self.add(hits)

    def add(self, hits: Sequence[Hit]) -> list[int]:
        """The passages' numbers; one that is there already keeps its own."""
        numbers = []
        for hit in hits:
            known = next((n for n, other in enumerate(self.hits, start=1) if other.chunk.id == hit.chunk.id), None)
            if known is None:
                self.hits.append(hit)
                known = len(self.hits)
            numbers.append(known)
        return numbers


@dataclass(frozen=True)
class Request:
    """A question with the passages found for it. ``history`` are earlier questions and answers, oldest first;
    ``retrieve`` finds more passages."""

    question: str
    passages: Passages
    retrieve: Callable[[str], list[Hit]]
    history: tuple[tuple[str, str], ...] = field(default=())


class Backend(Protocol):
    """A language model that answers from passages.

    ``name`` is one of :data:`NAMES`, ``model`` what it runs. ``first_token_seconds`` is how long it may think before
    its first word.
    """

    name: str
    model: str
    first_token_seconds: float

    def stream(self, request: Request, stop: Flag) -> Iterator[Event]:
        """The answer as it is written. Ends early, at its next word, once ``stop`` is set.

        Raises:
            BackendError: the model or its server fails.
            InputError: the model's name, its folder or its settings cannot be used.
        """
        ...
