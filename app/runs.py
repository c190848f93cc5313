"""A training run as a process with an event log: start, watch, stop, find again.

A run lives in a folder of its own under `qlora.folders.runs_dir`, so that a page reload, a second browser and a
restart of the app find it again. Beside what the trainer writes there (``config.yaml``, ``events.jsonl``,
``adapter/``) the folder holds:

- ``requested.yaml``: the configuration that the run was started with;
- ``process.lock``: the process id of the trainer, which holds an exclusive ``flock`` on this file for as long as it
  lives. The lock goes with the process, however that ends, so a process id that the system gave to somebody else
  is never taken for the run;
- ``resumed``: which log was there when the run was last resumed, so that its old end is not taken for the new one;
- what :mod:`app.trainer_process` writes down of the trainer.
"""

import contextlib
import dataclasses
import datetime
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from app.run_log import MOST_LOGS, log_number, log_of
from app.trainer_process import how_it_ended, last_words, launch
from qlora import config as configuration
from qlora import events as run_events
from qlora.errors import InputError
from qlora.folders import runs_dir
from qlora.process_lock import held_lock, is_held, one_at_a_time

TRAIN_COMMAND = (sys.executable, "-m", "qlora", "train")
RESUME_COMMAND = (sys.executable, "-m", "qlora", "resume")
REQUESTED_NAME = "requested.yaml"
INSTRUCTIONS_NAME = "instructions.jsonl"
LISTED = MOST_LOGS
"""Runs that a list names at most: of more, each log would be read again whenever the list is made."""
ID_FORMAT = "%Y%m%d-%H%M%S-%f"
_LOCK_NAME = "process.lock"
_RESUMED_NAME = "resumed"


@dataclasses.dataclass(frozen=True)
class Run:
    """A run by its folder; its state is always read from there."""

    folder: Path

    @property
    def id(self) -> str:
        """The folder's name: the time of the start in UTC, down to the microsecond."""
        return self.folder.name


@dataclasses.dataclass(frozen=True)
class Status:
    """Where a run stands.

    Attributes:
        state: "starting" (no event yet), "running", "finished", "stopped", "failed", or "lost" (the process is gone
            and its log says nothing of an end).
        message: one sentence for a person; empty while the run is live.
        stopping_seconds: since when a live run has been asked to stop, or None.
    """

    state: str
    message: str = ""
    stopping_seconds: float | None = None

    @property
    def live(self) -> bool:
        """Whether more events may come."""
        return self.state in ("starting", "running")


def start(
    config: configuration.RunConfig, *, instructions: Path | None = None, command: Sequence[str] = TRAIN_COMMAND
) -> Run:
    """Start a run in a process of its own session, in a new folder under `runs_dir`.

    Args:
        config: `output` is replaced by the new folder.
        instructions: file that is copied into the folder and trained on in place of `config.data.path`, for uploads,
            which do not stay where they are.
        command: program and arguments that go before the configuration's path.

    Raises:
        InputError: another run is live, or the folder cannot be written.
    """
    root = runs_dir()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(root / ".starting"):
            _require_none_live()
            name = datetime.datetime.now(datetime.UTC).strftime(ID_FORMAT)
            # The folder gets its name only when the lock is held: a run that can be seen is live from the beginning.
            folder, hidden = root / name, root / f".{name}"
            try:
                hidden.mkdir()
                with held_lock(hidden / _LOCK_NAME) as lock:
                    _write_request(hidden, folder, config, instructions)
                    hidden.rename(folder)
                    launch([*command, str(folder / REQUESTED_NAME)], folder, lock)
            except BaseException:
                shutil.rmtree(hidden, ignore_errors=True)
                shutil.rmtree(folder, ignore_errors=True)
                raise
    except OSError as error:
        raise InputError(
            f"A run cannot be started in {root}: {error.strerror or error}. Free some space there, or set QLORA_RUNS "
            "to a folder that can be written."
        ) from None
    return Run(folder)


def resume(run: Run, *, command: Sequence[str] = RESUME_COMMAND) -> None:
    """Go on with a run from its newest checkpoint, in a process of its own.

    Raises:
        InputError: it has no checkpoint, a run is live, or its folder cannot be written.
    """
    try:
        with one_at_a_time(runs_dir() / ".starting"):
            _require_none_live()
            if not can_resume(run):
                raise InputError(
                    f"Run {run.id} cannot be resumed: it has no checkpoint with steps left. Start a new run instead."
                )
            # A trainer that has said its last word may take a moment to be gone: this waits for it.
            with held_lock(run.folder / _LOCK_NAME) as lock:
                (run.folder / _RESUMED_NAME).write_text(str(log_number(run.folder)))
                launch([*command, str(run.folder)], run.folder, lock)
    except OSError as error:
        raise InputError(f"Run {run.id} cannot be resumed: {error.strerror or error}.") from None


def can_resume(run: Run) -> bool:
    """Whether steps of the run are left and it has a checkpoint to go on from."""
    log = events(run)
    steps = max((event.step for event in log if isinstance(event, run_events.StepFinished)), default=0)
    planned = next((event.steps for event in log if isinstance(event, run_events.RunStarted)), 0)
    saved = any((run.folder / run_events.CHECKPOINTS_FOLDER).glob("[!.]*"))
    return saved and steps < planned


def _require_none_live() -> None:
    if (other := live_run()) is not None:
        raise InputError(
            f"Run {other.id} is still going on, and one run at a time is as much as this machine is asked to "
            "do: stop it, or wait for its end, then start again."
        )


def status(run: Run) -> Status:
    """Where the run stands now, from its lock and its log."""
    # The lock before the log: a run that ends in between has by then written its last event.
    alive = is_held(run.folder / _LOCK_NAME)
    log = events(run)
    if log and _resuming(run):
        if alive:
            return Status("starting", stopping_seconds=_stopping_seconds(run))
        if words := last_words(run.folder):
            return Status("failed", words)
    if log and isinstance(log[-1], run_events.RunEnded):
        return Status(log[-1].outcome, log[-1].message)
    if alive:
        return Status("running" if log else "starting", stopping_seconds=_stopping_seconds(run))
    words = last_words(run.folder)
    if not log:
        return Status("failed", words or f"The trainer ended before its first event{how_it_ended(run.folder)}.")
    last_step = max((e.step for e in log if isinstance(e, run_events.StepFinished)), default=0)
    message = f"The trainer is gone without a last word, after step {last_step}{how_it_ended(run.folder)}."
    return Status("lost", f"{message} It printed: {words}" if words else message)


def stop(run: Run) -> None:
    """Ask the run to stop: the trainer looks at every step, saves the adapter and ends. Nothing happens to one that
    has ended.

    Raises:
        InputError: the run's folder cannot be written.
    """
    if not is_held(run.folder / _LOCK_NAME):
        return
    try:
        (run.folder / run_events.STOP_NAME).touch()
    except OSError as error:
        raise InputError(f"Run {run.id} cannot be told to stop: {error.strerror or error}.") from None


def kill(run: Run) -> None:
    """End the run's process at once, for a trainer that does not answer `stop`; what was not saved is lost."""
    # Whoever holds the lock is the process whose id stands in the file, so the id cannot be somebody else's.
    if is_held(run.folder / _LOCK_NAME):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int((run.folder / _LOCK_NAME).read_text()), signal.SIGKILL)


def events(run: Run, since: int = 0) -> list[run_events.Event]:
    """The run's events from number `since` on (the first is 0), as far as its log is written."""
    return log_of(run.folder).read(since)


def unreadable_lines(run: Run) -> int:
    """Finished lines of the log that could not be read, as far as `events` has come."""
    return log_of(run.folder).unreadable_lines


def list_runs() -> list[Run]:
    """All runs that were started from here, the latest first."""
    root = runs_dir()
    if not root.is_dir():
        return []
    names = (entry.name for entry in root.iterdir() if (entry / _LOCK_NAME).is_file() and entry.name[0] != ".")
    return [Run(root / name) for name in sorted(names, reverse=True)]


def latest() -> Run | None:
    """The run that was started last, or None."""
    return next(iter(list_runs()), None)


def live_run() -> Run | None:
    """The run that is going on, or None."""
    # The lock first: the logs of all the runs that have ended need not be read.
    return next((run for run in list_runs() if is_held(run.folder / _LOCK_NAME) and status(run).live), None)


def find(run_id: str) -> Run | None:
    """The run with this id, or None when its folder is gone."""
    return next((run for run in list_runs() if run.id == run_id), None)


def config_of(run: Run) -> configuration.RunConfig:
    """The configuration that the run was started with."""
    return configuration.load(run.folder / REQUESTED_NAME)


def has_adapter(run: Run) -> bool:
    """Whether the run has saved an adapter that can answer."""
    return any((run.folder / run_events.ADAPTER_FOLDER).glob("*.safetensors"))


def _resuming(run: Run) -> bool:
    """Whether the run was resumed and its log is still the one that ended before."""
    try:
        return (run.folder / _RESUMED_NAME).read_text() == str(log_number(run.folder))
    except FileNotFoundError:
        return False


def _stopping_seconds(run: Run) -> float | None:
    try:
        return max(0.0, time.time() - (run.folder / run_events.STOP_NAME).stat().st_mtime)
    except FileNotFoundError:
        return None


def _write_request(hidden: Path, folder: Path, config: configuration.RunConfig, instructions: Path | None) -> None:
    data = config.data
    if instructions is not None:
        shutil.copyfile(instructions, hidden / INSTRUCTIONS_NAME)
        data = dataclasses.replace(data, path=str(folder / INSTRUCTIONS_NAME))
    config = dataclasses.replace(config, data=data, output=str(folder))
    (hidden / REQUESTED_NAME).write_text(configuration.to_yaml(config), encoding="utf-8")
