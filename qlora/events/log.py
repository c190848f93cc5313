"""The log of a run, one JSON object a line, and the names of the files beside it."""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from qlora.events.kinds import EVENT_TYPES, Event

# The files of a run, in its folder.
LOG_NAME = "events.jsonl"
CONFIG_NAME = "config.yaml"
ADAPTER_FOLDER = "adapter"
CHECKPOINTS_FOLDER = "checkpoints"
#: A file of this name asks the run to stop after the step at hand.
STOP_NAME = "stop"


def to_json(event: Event) -> str:
    """One line of JSON without the line end; `kind` comes first."""
    return json.dumps({"kind": event.kind, **dataclasses.asdict(event)})


def from_json(line: str) -> Event:
    """Undo `to_json`.

    Raises:
        ValueError: the line is not JSON, or of no kind known here, or its fields are not those of its kind.
    """
    fields = json.loads(line)
    kind = fields.pop("kind", None) if isinstance(fields, dict) else None
    if kind not in EVENT_TYPES:
        raise ValueError(f"expected an event of kind {', '.join(EVENT_TYPES)}, got {kind!r}")
    try:
        return EVENT_TYPES[kind](**fields)
    except TypeError as error:
        raise ValueError(f"the fields of a {kind!r} event are wrong: {error}") from None


class EventWriter:
    """Appends events to a log; each is on disk for a reader before the next step begins."""

    def __init__(self, path: Path):
        self._file: TextIO = path.open("a", encoding="utf-8")

    def write(self, event: Event) -> None:
        """Append one event."""
        self._file.write(to_json(event) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Flush to disk and close."""
        os.fsync(self._file.fileno())
        self._file.close()


class EventReader:
    """Reads a log that may still be written: each call returns what came since the last one.

    A last line without its line end is a write in progress (or one that was cut short) and waits for the next call.
    A finished line that cannot be read is skipped and counted in `unreadable_lines`, so that one damaged line does
    not hide the rest of a run.
    """

    def __init__(self, path: Path):
        self.path = path
        self.unreadable_lines = 0
        self._position = 0

    def read(self) -> Iterator[Event]:
        """Yield the events since the last call, in order. A log that does not exist yet has none."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                try:
                    yield from_json(line.decode("utf-8"))
                except ValueError:
                    self.unreadable_lines += 1
