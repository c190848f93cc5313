"""Generated text held against the passages of several papers."""

from collections.abc import Mapping, Sequence

from app.assistant.checking.checker import VERDICTS, Checker, Checking, Judged
from app.assistant.chunking import Chunk
from app.assistant.retrieval import Hit


class SeveralCheckers(Checking):
    """A sentence is supported where one of the papers supports it: the words of two papers, put together, do not.

    Args:
        checkers: one a paper, by the paper's identifier.
        names: what the papers are called, by identifier.
    """

    def __init__(self, checkers: Mapping[str, Checker], names: Mapping[str, str]):
        self.checkers, self.names = checkers, names

    def found(self, text: str) -> list[Hit]:
        return [hit for checker in self.checkers.values() for hit in checker.found(text)]

    def judged(self, text: str, hits: Sequence[Hit]) -> Judged | None:
        by_paper = [
            checker.judged(text, [hit for hit in hits if hit.chunk.paper == paper])
            for paper, checker in self.checkers.items()
        ]
        found = [judged for judged in by_paper if judged]
        return min(found, key=lambda judged: (VERDICTS.index(judged[0]), -judged[2].merit), default=None)

    def page(self, chunk: Chunk) -> str:
        return f"page {chunk.pdf_page} of “{self.names[chunk.paper]}”"
