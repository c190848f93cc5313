"""Where a paper disagrees with itself: an answer about such a value shows every statement with its page.

The places are found by people, and written down in the file ``disagreements.toml`` beside the notes on the paper.
"""

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from app.assistant.readers.page import bare
from app.assistant.terms import stem, words
from qlora.errors import InputError

FILE_NAME = "disagreements.toml"


@dataclass(frozen=True)
class Statement:
    """One of the contradicting statements: ``says`` in our words, and where it can be seen: ``quote`` in the paper's
    words, or ``row``, the beginning of a row of the table that is the ``place``."""

    page: int
    place: str
    says: str
    quote: str = ""
    row: str = ""

    def stands_in(self, label: str, text: str, is_row: bool) -> bool:
        """Whether this sentence or row, of the table with this label, makes the statement."""
        if is_row:
            return bool(self.row) and label == self.place and bare(text).startswith(bare(self.row))
        return bool(self.quote) and bare(self.quote) in bare(text)


@dataclass(frozen=True)
class Disagreement:
    """Statements of one paper about one thing that cannot all be right. ``heading`` is its section in the notes.

    A question is about it when it has a word of each group of ``asks`` and none of ``excluded`` (stems).
    """

    heading: str
    about: str
    statements: tuple[Statement, ...]
    asks: tuple[frozenset[str], ...]
    excluded: frozenset[str] = frozenset()

    def concerns(self, question: str) -> bool:
        stems = {stem(word) for word in words(question)}
        return not stems & self.excluded and all(group & stems for group in self.asks)


def disagreements(notes: Path | None) -> tuple[Disagreement, ...]:
    """The paper's known disagreements, from the folder of its notes; none where there is no such file.

    Raises:
        InputError: the file is not TOML or lacks a field.
    """
    path = notes / FILE_NAME if notes else None
    return _read(path, path.stat().st_mtime_ns) if path and path.is_file() else ()


@lru_cache(maxsize=16)
def _read(path: Path, changed: int) -> tuple[Disagreement, ...]:
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["disagreement"]
        return tuple(
            Disagreement(
                entry["heading"],
                entry["about"],
                tuple(Statement(**statement) for statement in entry["statements"]),
                tuple(_stems(group) for group in entry["asks"]),
                _stems(entry.get("except", ())),
            )
            for entry in entries
        )
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path.name} cannot be used: {error}. Restore it from the project.") from error


def _stems(group: list[str]) -> frozenset[str]:
    return frozenset(stem(part) for word in group for part in words(word))


def about(question: str, notes: Path | None) -> tuple[Disagreement, ...]:
    """The disagreements that a question touches."""
    return tuple(item for item in disagreements(notes) if item.concerns(question))
