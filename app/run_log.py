"""The log of a run as the page reads it: once for all who look, and anew when a run is resumed."""

import functools
import threading
from pathlib import Path

from qlora import events as run_events

MOST_LOGS = 50
"""Logs that are kept once they were read."""


class RunLog:
    """The events of one run read so far, shared by everybody who looks at it."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._lock = threading.Lock()
        self._number: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._reader = run_events.EventReader(self._folder / run_events.LOG_NAME)
        self._events: list[run_events.Event] = []

    @property
    def unreadable_lines(self) -> int:
        """Finished lines that could not be read so far."""
        return self._reader.unreadable_lines

    def read(self, since: int) -> list[run_events.Event]:
        """The events from number `since` on, as far as the log is written."""
        with self._lock:
            # A run that is resumed puts another file in the log's place, without the steps that are done again.
            if (number := log_number(self._folder)) != self._number:
                self._number = number
                self._begin()
            self._events.extend(self._reader.read())
            return self._events[since:]


@functools.lru_cache(maxsize=MOST_LOGS)
def log_of(folder: Path) -> RunLog:
    """The log of the run in this folder, the same one for everybody who asks."""
    return RunLog(folder)


def log_number(folder: Path) -> int | None:
    """Which file the log is; another one comes in its place when a run is resumed."""
    try:
        return (folder / run_events.LOG_NAME).stat().st_ino
    except FileNotFoundError:
        return None
