"""What the Paging tab can show: recorded runs, and those of this machine."""

import dataclasses
import datetime

from app import recordings, runs
from app.tabs.paging_replay import Replay, replay
from app.text import paging as text
from qlora import events
from qlora.errors import InputError

_RECORDING, _RUN = "recording:", "run:"
_RUNS_LISTED = 6


@dataclasses.dataclass(frozen=True)
class Source:
    """One run to show.

    Attributes:
        id: as `choices` has it.
        log: its events.
        run: the replay, or None when its log says nothing of pages (yet).
        header: of a recording; None for a run of this machine.
        status: of a run of this machine; None for a recording.
        remarks: sentences about what could not be read.
    """

    id: str
    log: list[events.Event]
    run: Replay | None
    header: recordings.Header | None
    status: runs.Status | None
    remarks: list[str]

    @property
    def live(self) -> bool:
        """Whether more may come."""
        return self.status is not None and self.status.live

    @property
    def started(self) -> events.RunStarted | None:
        """Its first event."""
        return next((event for event in self.log if isinstance(event, events.RunStarted)), None)


def choices() -> list[tuple[str, str]]:
    """(label, id) of everything that can be shown: recordings of runs, those of a GPU first, then this machine's latest
    runs."""
    told = [
        (text.SOURCE_RECORDED.format(title=text.RECORDINGS[name].title), _RECORDING + name)
        for name in run_recordings()
    ]  # fmt: skip
    for run in runs.list_runs()[:_RUNS_LISTED]:
        state = text.SOURCE_LIVE if runs.status(run).live else ""
        told.append((text.SOURCE_RUN.format(when=_when(run), state=state), _RUN + run.id))
    return told


def run_recordings() -> list[str]:
    """Names of the recordings of whole runs that are there: those of a GPU first, those under a budget first."""
    there = [name for name in recordings.names() if name in text.RECORDINGS and not name.endswith("-step")]
    return sorted(there, key=lambda name: ("cuda" not in name, name))


def step_recording() -> str | None:
    """Name of the recording of one step, that of a GPU before others."""
    there = [name for name in recordings.names() if name in text.RECORDINGS and name.endswith("-step")]
    return min(there, key=lambda name: ("cuda" not in name, name), default=None)


def run_id(run: runs.Run) -> str:
    """The id of a run of this machine."""
    return _RUN + run.id


def shown_run(source_id: str | None) -> runs.Run | None:
    """The run of this machine that an id stands for."""
    return runs.find(source_id.removeprefix(_RUN)) if source_id and source_id.startswith(_RUN) else None


def load(source_id: str) -> Source:
    """Read what there is of a source.

    Raises:
        InputError: there is no such recording or run, or nothing of it can be read.
    """
    if source_id.startswith(_RECORDING):
        recording = recordings.read(source_id.removeprefix(_RECORDING))
        remarks = _unreadable(recording.unreadable_lines) + ([text.CUT] if recording.cut else [])
        return Source(source_id, recording.log, replay(recording.log), recording.header, None, remarks)
    run = shown_run(source_id)
    if run is None:
        raise InputError(text.SOURCE_GONE)
    status = runs.status(run)
    log = runs.events(run)
    return Source(source_id, log, replay(log), None, status, _unreadable(runs.unreadable_lines(run)))


def _unreadable(count: int) -> list[str]:
    return [text.UNREADABLE.format(count=count)] if count else []


def _when(run: runs.Run) -> str:
    try:
        return text.STARTED_AT.format(when=datetime.datetime.strptime(run.id, runs.ID_FORMAT))
    except ValueError:
        return run.id
