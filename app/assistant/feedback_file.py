"""The SQLite file with votes and history, safe for several processes.

Every piece of work opens the file, runs in one transaction and closes it, so that a process that dies loses at most the
work it was in. A file that is damaged or not ours is set aside under another name, never deleted, and a new one is
begun. A lock beside it is shared by all who work and taken alone by the one who begins or sets aside a file.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from qlora.errors import InputError

SCHEMA_VERSION = 1
_APPLICATION = 0x514C4F52  # "QLOR" in the file's header
_WAIT_SECONDS = 20
_SCHEMA = """
CREATE TABLE votes (
    visitor TEXT NOT NULL, item TEXT NOT NULL, kind TEXT NOT NULL, paper TEXT NOT NULL, attempt INTEGER NOT NULL,
    value INTEGER NOT NULL CHECK (value IN (-1, 1)), at REAL NOT NULL, PRIMARY KEY (visitor, item)
) WITHOUT ROWID;
CREATE INDEX votes_by_item ON votes (item);
CREATE INDEX votes_by_paper ON votes (paper, kind, attempt);
CREATE TABLE tries (
    paper TEXT NOT NULL, attempt INTEGER NOT NULL, backend TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (paper, attempt)
) WITHOUT ROWID;
CREATE TABLE history (
    id INTEGER PRIMARY KEY AUTOINCREMENT, visitor TEXT NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL,
    record TEXT, at REAL NOT NULL
);
CREATE INDEX history_by_visitor ON history (visitor, id);
"""
_TABLES = {"votes", "tries", "history"}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_ERROR}
_Result = TypeVar("_Result")


class FeedbackFile:
    """The file at ``path``. ``problem`` is a sentence after a damaged one was set aside, else empty."""

    def __init__(self, path: Path):
        self.path, self.problem = path, ""
        self._is_begun = False

    def do(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """What ``work`` returns; all that it writes is kept, or nothing.

        Raises:
            InputError: the file cannot be written, or is of a newer version.
        """
        problem: Exception = OSError("it is damaged again and again")
        try:
            for _ in range(3):
                if not (self._is_begun and self.path.exists()):
                    self._begin()
                try:
                    with self._lock(fcntl.LOCK_SH):
                        if self.path.exists():
                            return self._in_transaction(work)
                except sqlite3.DatabaseError as error:
                    if not _may_be_damage(error):
                        raise
                    problem = error
                self._is_begun = False
        except (sqlite3.Error, OSError) as error:
            problem = error
        raise InputError(
            f"Votes and history cannot be kept in {self.path}: {problem}. Try again; if it stays so, free some disk "
            "space or set QLORA_CACHE to another folder."
        ) from problem

    def _in_transaction(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                return work(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")  # what was counted survives a power cut too
        return connection

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        """Shared (``LOCK_SH``) or alone (``LOCK_EX``); ends with the process."""
        with self.path.with_suffix(".lock").open("a") as file:
            fcntl.flock(file, kind)
            yield

    def _begin(self) -> None:
        """See to it that the file is there, whole and ours."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(fcntl.LOCK_EX):
            if self.path.exists() and (wrong := self._what_is_wrong()):
                self._set_aside(wrong)
            with closing(self._connect()) as connection:
                if not _tables(connection):
                    connection.execute("PRAGMA journal_mode = WAL")
                    connection.executescript(
                        f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {_APPLICATION}; "
                        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                    )
        self._is_begun = True

    def _what_is_wrong(self) -> str:
        """Why the file cannot be used; empty when it can, or is still empty."""
        log = Path(f"{self.path}-wal")
        if not self.path.stat().st_size and log.exists() and log.stat().st_size:
            return "it is empty, its log is not"  # SQLite would delete the log
        try:
            with closing(self._connect()) as connection:
                tables = _tables(connection)
                if not tables:
                    return ""
                if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
                    return "it is not from this program"
                if connection.execute("PRAGMA user_version").fetchone()[0] > SCHEMA_VERSION:
                    raise InputError(
                        f"{self.path} was written by a newer version of this program. Update it, or set QLORA_CACHE to "
                        "another folder."
                    )
                if not tables >= _TABLES:
                    return "a table is missing"
                found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
                return "" if found == "ok" else found
        except sqlite3.DatabaseError as error:
            if not _may_be_damage(error):
                raise
            return str(error)

    def _set_aside(self, why: str) -> None:
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 1_000_000_000:09d}"
        aside = self.path.with_name(f"{self.path.stem}.damaged-{stamp}{self.path.suffix}")
        for ending in ("", "-wal", "-shm"):
            if (part := Path(f"{self.path}{ending}")).exists():
                os.replace(part, f"{aside}{ending}")
        self.problem = (
            f"The file with votes and history was damaged ({why}). It was kept as {aside.name}, and a new one is used."
        )


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _may_be_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file should be looked over: its bytes make no sense, or a table or column is not there."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED
