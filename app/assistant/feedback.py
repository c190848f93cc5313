"""What visitors leave behind: votes on key points and answers, their questions with the answers, and the tries at a
paper's overview; kept in one file, see :mod:`feedback_file`.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.assistant.feedback_file import FeedbackFile
from qlora.errors import InputError
from qlora.folders import cache_dir

RETRY_SCORE = -10
"""At this score of one of its key points an overview is offered for a new try with another back-end."""
KEY_POINT, ANSWER = "key point", "answer"

HISTORY_KEPT = 50
"""Questions kept for one visitor."""
HISTORY_KEPT_IN_ALL = 20_000
LONGEST_ID = 200
LONGEST_QUESTION = 2_000
LONGEST_ANSWER = 8_000
LARGEST_RECORD = 256 * 1024
"""Characters of an answer's record as JSON; a larger one is not kept, its text is."""


@dataclass(frozen=True)
class Item:
    """What is voted on. ``kind`` is :data:`KEY_POINT` or :data:`ANSWER`; ``attempt`` is the overview's, for key
    points."""

    kind: str
    paper: str
    id: str
    attempt: int = 1


@dataclass(frozen=True)
class Score:
    """``ups`` minus ``downs`` is the score; ``own`` is the asking visitor's vote: 1, -1, or 0 for none."""

    ups: int = 0
    downs: int = 0
    own: int = 0

    @property
    def value(self) -> int:
        return self.ups - self.downs


@dataclass(frozen=True)
class Try:
    """The current try at a paper's overview: its number, its back-end (empty for the first one, which quotes the
    paper), the score of its worst key point, and whether a new one is ``offered``."""

    paper: str
    attempt: int
    backend: str
    score: int
    offered: bool


@dataclass(frozen=True)
class Asked:
    """A question of a visitor with the answer's text; ``record`` is all of the answer, None when it was too large."""

    question: str
    answer: str
    record: dict | None
    at: float


class Feedback:
    """Votes, tries and history; usable from several threads, and from several processes at once.

    Args:
        file: ``feedback.sqlite3`` in the user's cache if left out; ``make clean`` leaves it alone.
    """

    def __init__(self, file: Path | None = None):
        self._file = FeedbackFile(file or cache_dir() / "feedback.sqlite3")

    @property
    def problem(self) -> str:
        """A sentence after a damaged file was set aside, else empty."""
        return self._file.problem

    def vote(self, visitor: str, item: Item, value: int) -> Score:
        """Set the visitor's one vote on the item to 1 or -1, or take it back with 0; returns the new score.

        Raises:
            InputError: the vote is another number, a name is empty or too long, or the file cannot be written.
        """
        if value not in (-1, 0, 1):
            raise InputError(f"A vote is 1, -1 or 0, not {value!r}.")
        if item.kind not in (KEY_POINT, ANSWER):
            raise InputError(f"There are votes on a {KEY_POINT} or an {ANSWER}, not on {item.kind!r}.")
        if not isinstance(item.attempt, int) or item.attempt < 1:
            raise InputError(f"Tries are counted from 1, not {item.attempt!r}.")
        names = _named(visitor=visitor, item=item.id, paper=item.paper)

        def work(connection: sqlite3.Connection) -> Score:
            if value:
                connection.execute(
                    "INSERT INTO votes (visitor, item, paper, kind, attempt, value, at) VALUES (?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (visitor, item) DO UPDATE SET value = excluded.value, "
                    "attempt = excluded.attempt, at = excluded.at",
                    (*names, item.kind, item.attempt, value, time.time()),
                )
            else:
                connection.execute("DELETE FROM votes WHERE visitor = ? AND item = ?", names[:2])
            return _scores(connection, [item.id], visitor)[item.id]

        return self._file.do(work)

    def scores(self, items: Iterable[str], visitor: str = "") -> dict[str, Score]:
        """Item's id -> its score, with the visitor's own vote."""
        wanted = list(dict.fromkeys(items))
        return self._file.do(lambda connection: _scores(connection, wanted, visitor)) if wanted else {}

    def current_try(self, paper: str) -> Try:
        """Which try at the paper's overview is shown, and whether its votes ask for a new one."""
        return self._file.do(lambda connection: _current_try(connection, paper))

    def record_try(self, paper: str, attempt: int, backend: str) -> bool:
        """Note that overview number ``attempt`` has been made; call it when the overview is there to be shown.

        Returns:
            False when it was not the next one: another process was faster, and its overview is the current one.

        Raises:
            InputError: a name is empty or too long, or the file cannot be written.
        """
        names = _named(paper=paper, backend=backend)

        def work(connection: sqlite3.Connection) -> bool:
            if attempt != _current_try(connection, paper).attempt + 1:
                return False
            connection.execute("INSERT INTO tries VALUES (?, ?, ?, ?)", (names[0], attempt, names[1], time.time()))
            return True

        return self._file.do(work)

    def remember(self, visitor: str, question: str, answer: str, record: Mapping | None = None) -> None:
        """Add a question with its answer to the visitor's history, of which the last :data:`HISTORY_KEPT` stay.

        Args:
            visitor: who asked.
            question, answer: cut at :data:`LONGEST_QUESTION` and :data:`LONGEST_ANSWER` characters.
            record: JSON values to show the answer again, such as ``Answer.record()``.

        Raises:
            InputError: the visitor's name is empty or too long, or the file cannot be written.
        """
        (name,) = _named(visitor=visitor)
        whole = None if record is None else json.dumps(record, ensure_ascii=False)
        whole = whole if whole and len(whole) <= LARGEST_RECORD else None
        row = (name, _cut(question, LONGEST_QUESTION), _cut(answer, LONGEST_ANSWER), _cut(whole), time.time())

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO history (visitor, question, answer, record, at) VALUES (?, ?, ?, ?, ?)", row
            )
            connection.execute(
                "DELETE FROM history WHERE visitor = ? AND id NOT IN "
                "(SELECT id FROM history WHERE visitor = ? ORDER BY id DESC LIMIT ?)",
                (name, name, HISTORY_KEPT),
            )
            connection.execute(
                "DELETE FROM history WHERE id <= (SELECT id FROM history ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (HISTORY_KEPT_IN_ALL,),
            )

        self._file.do(work)

    def history(self, visitor: str, count: int = HISTORY_KEPT) -> list[Asked]:
        """The visitor's last ``count`` questions, oldest first."""
        select = "SELECT question, answer, record, at FROM history WHERE visitor = ? ORDER BY id DESC LIMIT ?"
        rows = self._file.do(lambda connection: connection.execute(select, (visitor, max(count, 0))).fetchall())
        return [
            Asked(question, answer, json.loads(text) if text else None, at) for question, answer, text, at in rows[::-1]
        ]

    def forget(self, visitor: str) -> None:
        """Remove the visitor's questions; votes stay, since they count for others."""
        self._file.do(lambda connection: connection.execute("DELETE FROM history WHERE visitor = ?", (visitor,)))


def _scores(connection: sqlite3.Connection, items: list[str], visitor: str) -> dict[str, Score]:
    select = (
        "SELECT item, SUM(value = 1), SUM(value = -1), SUM(CASE WHEN visitor = ? THEN value ELSE 0 END) "
        "FROM votes WHERE item IN (SELECT value FROM json_each(?)) GROUP BY item"
    )
    found = {item: Score(*counts) for item, *counts in connection.execute(select, (visitor, json.dumps(items)))}
    return {item: found.get(item, Score()) for item in items}


def _current_try(connection: sqlite3.Connection, paper: str) -> Try:
    select = "SELECT attempt, backend FROM tries WHERE paper = ? ORDER BY attempt DESC LIMIT 1"
    attempt, backend = connection.execute(select, (paper,)).fetchone() or (1, "")
    select = (
        "SELECT MIN(score) FROM (SELECT SUM(value) AS score FROM votes WHERE paper = ? AND kind = ? AND attempt = ? "
        "GROUP BY item)"
    )
    score = connection.execute(select, (paper, KEY_POINT, attempt)).fetchone()[0] or 0
    return Try(paper, attempt, backend, score, offered=score <= RETRY_SCORE)


def _named(**names: str) -> tuple[str, ...]:
    for what, name in names.items():
        if not isinstance(name, str) or not name or len(name) > LONGEST_ID:
            raise InputError(f"The name of the {what} must have 1 to {LONGEST_ID} characters.")
    return tuple(_cut(name) for name in names.values())


def _cut(text: str | None, length: int | None = None) -> str | None:
    """Text that SQLite can hold: of bounded length, without halves of surrogate pairs and null characters."""
    if text is None:
        return None
    kept = text if length is None or len(text) <= length else text[: length - 1] + "…"
    return kept.encode("utf-8", "replace").decode().replace("\0", "")
