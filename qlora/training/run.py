"""A run in a folder: the training loop with its log, its configuration and a way to stop it."""

import os
from collections.abc import Iterator
from pathlib import Path

from qlora import config as configuration
from qlora import events
from qlora.config import RunConfig
from qlora.errors import InputError
from qlora.training.loop import train


def run(config: RunConfig) -> Iterator[events.Event]:
    """Train and keep the log.

    `config.output` receives ``config.yaml``, ``events.jsonl`` and ``adapter/``. The folder is made when the first event
    comes, so a run that cannot begin leaves nothing. A file named ``stop`` in it ends the run after the step at hand.

    Yields:
        The events of `loop.train`, each after it is in the log. A run that fails has a `events.RunEnded` in its log
        too, and then raises.

    Raises:
        InputError: as `loop.train`, or the folder cannot be written.
    """
    folder = Path(config.output).expanduser()
    stop_file = folder / events.STOP_NAME
    writer, step = None, 0
    try:
        for event in train(config, stop_requested=stop_file.exists):
            if writer is None:
                writer = _open(folder, config)
            if isinstance(event, events.StepFinished):
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


def request_stop(folder: Path) -> None:
    """Ask the run in `folder` to end after the step at hand."""
    (folder / events.STOP_NAME).touch()


def _open(folder: Path, config: RunConfig) -> events.EventWriter:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{events.CONFIG_NAME}"
        part.write_text(configuration.to_yaml(config), encoding="utf-8")
        os.replace(part, folder / events.CONFIG_NAME)
        return events.EventWriter(folder / events.LOG_NAME)
    except OSError as error:
        raise InputError(f"The run cannot be written to {folder}: {error.strerror or error}.") from None
