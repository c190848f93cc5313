"""Recorded runs: logs of the product's own trainer, kept so that a page can replay them where nothing can be run.

A recording is one file, ``NAME.jsonl.gz``: a line that says what was recorded where, when, with what and why, then the
run's events as they stood in its log; for one step its memory after every operator instead. They are made with
``python -m app.recordings record`` (`app.recordings.record`).
"""

import gzip
import json
import zlib
from dataclasses import dataclass, fields
from pathlib import Path

from qlora import events
from qlora.errors import InputError

FOLDER = Path(__file__).parent
SUFFIX = ".jsonl.gz"
#: All recordings together may take this much of the repository.
MOST_BYTES = 2_000_000
_HEADER_KIND = "recording"
_STEP_KIND = "memory_of_a_step"


@dataclass(frozen=True)
class Header:
    """What a recording says of itself.

    Attributes:
        name: of the recording and its file.
        reason: why it was made, in a sentence.
        date: of the day, as 2026-11-22.
        device: name; `emulated_device` says that there was no GPU: pages moved between two areas of main memory.
        threads: that the computation had on a CPU.
        versions: of python, torch, transformers and qlora.
        command: that made it.
    """

    name: str
    reason: str
    date: str
    device: str
    emulated_device: bool
    threads: int
    versions: dict[str, str]
    command: str


@dataclass(frozen=True)
class StepMemory:
    """The memory of one step, after every operator.

    Attributes:
        tokens: of the step's batch.
        operators: that ran in the step.
        phases: name ("forward", "backward", "update") -> number of its first operator, in order.
        samples: (operator, activation bytes, bytes of pages on the device); of neighbouring operators the fullest one.
    """

    tokens: int
    operators: int
    phases: dict[str, int]
    samples: list[tuple[int, int, int]]


@dataclass(frozen=True)
class Recording:
    """One recording.

    Attributes:
        log: events in order; for one step `events.RunStarted` alone.
        step: the memory of a step, or None.
        unreadable_lines: finished lines that could not be read.
        cut: the file ends before its end, so that the last events are missing.
    """

    header: Header
    log: list[events.Event]
    step: StepMemory | None = None
    unreadable_lines: int = 0
    cut: bool = False


def names(folder: Path = FOLDER) -> list[str]:
    """All recordings that are there, by name."""
    return sorted(file.name.removesuffix(SUFFIX) for file in folder.glob(f"*{SUFFIX}"))


def path(name: str, folder: Path = FOLDER) -> Path:
    """The file of a recording, whether it is there or not."""
    return folder / f"{name}{SUFFIX}"


def read(name: str, folder: Path = FOLDER) -> Recording:
    """One recording, as far as its file can be read: what is damaged is passed over and counted.

    Args:
        name: as `names` has it.
        folder: of the recordings.

    Raises:
        InputError: there is no such recording, or it does not even say what it is.
    """
    if name not in names(folder):
        raise InputError(f"The recording {name} is missing: it comes with the repository, so run from a clone of it.")
    text, cut = _unpacked(path(name, folder))
    first, *lines = text.split("\n")
    try:
        header = _header(first)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"The recording {name} is damaged, its first line says nothing of it ({error}): get the file again from "
            "the repository."
        ) from None
    log, step, unreadable = [], None, 0
    cut = cut or bool(lines and lines[-1])
    for line in lines[:-1]:
        try:
            if line.startswith(f'{{"kind": "{_STEP_KIND}"'):
                step = _step(line)
            else:
                log.append(events.from_json(line))
        except (ValueError, TypeError):
            unreadable += 1
    return Recording(header, log, step, unreadable, cut)


def pack(header: Header, lines: list[str]) -> bytes:
    """The file of a recording.

    Args:
        header: its first line.
        lines: the others: events as in a run's log, or `step_line`.
    """
    text = "\n".join([json.dumps({"kind": _HEADER_KIND, **vars(header)}), *lines]) + "\n"
    return gzip.compress(text.encode(), mtime=0)


def step_line(step: StepMemory) -> str:
    """The memory of a step as a line of a recording."""
    return json.dumps({"kind": _STEP_KIND, **vars(step)})


def _unpacked(file: Path) -> tuple[str, bool]:
    """The text as far as it goes, and whether the file is cut or damaged there."""
    reader = zlib.decompressobj(wbits=31)  # 31: gzip's frame
    try:
        text = reader.decompress(file.read_bytes())
    except zlib.error:
        return "", True
    return text.decode("utf-8", errors="replace"), not reader.eof


def _header(line: str) -> Header:
    values = json.loads(line)
    if not isinstance(values, dict) or values.pop("kind", None) != _HEADER_KIND:
        raise ValueError("it is no recording")
    return Header(**{field.name: values.get(field.name) for field in fields(Header)})


def _step(line: str) -> StepMemory:
    values = json.loads(line)
    samples = [tuple(map(int, sample)) for sample in values["samples"]]
    return StepMemory(int(values["tokens"]), int(values["operators"]), dict(values["phases"]), samples)
