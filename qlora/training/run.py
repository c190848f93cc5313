"""A run in a folder: the training loop with its log, its configuration and ways to stop it and to go on with it.

Whoever trains holds a lock on the folder's ``run.lock`` for as long as the process lives, so that no two write there.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from qlora import config as configuration
from qlora import events
from qlora.config import RunConfig
from qlora.errors import InputError
from qlora.process_lock import held_lock
from qlora.training import checkpoint, preflight
from qlora.training.loop import train

_LOCK_NAME = "run.lock"


def run(config: RunConfig) -> Iterator[events.Event]:
    """Train and keep the log.

    `config.output` receives ``config.yaml``, ``events.jsonl``, ``adapter/`` and ``checkpoints/``. The folder is made
    when the first event comes, so a run that cannot begin leaves nothing. A file named ``stop`` in it ends the run
    after the step at hand.

    Yields:
        The events of `loop.train`, each after it is in the log. A run that fails has a `events.RunEnded` in its log
        too, and then raises.

    Raises:
        InputError: as `loop.train`, or the folder cannot be written, or another process has begun a run in it.
    """
    return _logged(config, resuming=False)


def resume(folder: Path, changes: Mapping[str, str] | None = None) -> Iterator[events.Event]:
    """Go on with a run from its newest checkpoint, as if it had not been interrupted.

    What the log holds of steps after the checkpoint, which are done again, moves to ``events.superseded.jsonl``.

    Args:
        folder: of the run.
        changes: other values for keys of its configuration, for example more steps; see `config.with_changes`.

    Yields:
        As `run`, with `events.RunResumed` first.

    Raises:
        InputError: there is no run or no checkpoint in `folder`, the run is going on in another process, or as
            `loop.train`.
    """
    if not (folder / events.CONFIG_NAME).is_file():
        raise InputError(f"There is no run in {folder}: {events.CONFIG_NAME} is missing.")
    config = replace(configuration.load(folder / events.CONFIG_NAME), output=str(folder))
    if checkpoint.latest(folder) is None:
        raise InputError(
            f"The run in {folder} has no checkpoint to go on from: runs write them when training.checkpoint_steps is "
            "set. Start it again under another output."
        )
    changed = configuration.with_changes(config, changes or {})
    if changed.output != config.output:
        raise InputError(f"A run goes on in its own folder: leave output as it is, {folder}, or copy the folder first.")
    return _logged(changed, resuming=True)


def _logged(config: RunConfig, resuming: bool) -> Iterator[events.Event]:
    folder = Path(config.output).expanduser()
    stop_file = folder / events.STOP_NAME
    writer, step, from_checkpoint = None, 0, None
    with contextlib.ExitStack() as held:
        if resuming:
            held.enter_context(_lock(folder))
            stop_file.unlink(missing_ok=True)  # it was for a process that is gone
            from_checkpoint = checkpoint.latest(folder)
        try:
            for event in train(config, stop_requested=stop_file.exists, resume=from_checkpoint):
                if writer is None:
                    if resuming:
                        _cut_log(folder, checkpoint.step_of(from_checkpoint))
                    else:
                        held.enter_context(_lock(folder))
                        preflight.check_output(folder)  # again: another run may have begun there meanwhile
                    writer = _open(folder, config)
                if isinstance(event, (events.StepFinished, events.RunResumed)):
                    step = event.step
                writer.write(event)
                yield event
        except GeneratorExit:
            raise
        except BaseException as error:
            if writer is not None:
                interrupted = isinstance(error, KeyboardInterrupt)
                message = "Interrupted." if interrupted else str(error) or type(error).__name__
                writer.write(events.RunEnded(outcome="failed", step=step, message=message))
            raise
        finally:
            if writer is not None:
                writer.close()
                stop_file.unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Make the folder and be the one who trains there; the system lets go of it when the process ends in any way.

    Raises:
        InputError: another process trains there, or the folder cannot be written.
    """
    with contextlib.ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(held_lock(folder / _LOCK_NAME, wait=False))
        except BlockingIOError:
            raise InputError(
                f"The run in {folder} is going on in another process: wait for its end, or stop it with Ctrl-C there."
            ) from None
        except OSError as error:
            raise _unwritable(folder, error) from None
        yield


def _cut_log(folder: Path, step: int) -> None:
    """Leave in the log what happened until the checkpoint of `step`, and move the rest to a file beside it."""
    log = folder / events.LOG_NAME
    if not log.exists():
        return
    lines = log.read_bytes().splitlines(keepends=True)
    kept = 0
    for number, line in enumerate(lines, 1):
        try:
            event = events.from_json(line.decode("utf-8"))
        except ValueError:
            continue  # a line that a kill cut short
        # By step and not by the checkpoint's own line: the kill may have come between the two.
        if getattr(event, "step", 0) <= step and not isinstance(event, events.RunEnded):
            kept = number
    with (folder / "events.superseded.jsonl").open("ab") as rest:
        rest.writelines(lines[kept:])
    part = folder / f".{events.LOG_NAME}"
    part.write_bytes(b"".join(lines[:kept]))
    os.replace(part, log)


def request_stop(folder: Path) -> None:
    """Ask the run in `folder` to end after the step at hand."""
    (folder / events.STOP_NAME).touch()


def _open(folder: Path, config: RunConfig) -> events.EventWriter:
    try:
        part = folder / f".{events.CONFIG_NAME}"
        part.write_text(configuration.to_yaml(config), encoding="utf-8")
        os.replace(part, folder / events.CONFIG_NAME)
        return events.EventWriter(folder / events.LOG_NAME)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(f"The run cannot be written to {folder}: {error.strerror or error}.")
