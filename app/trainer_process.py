"""The trainer as a process that is watched: how it is started, what it printed, and how it ended.

In the folder of its run it leaves ``stderr.txt`` and ``stdout.txt``, and ``exit_status`` if the app saw its end.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

_COMMAND_NAME = "qlora: "
_STDERR_NAME = "stderr.txt"
_EXIT_STATUS_NAME = "exit_status"


def launch(command: Sequence[str], folder: Path, lock: int) -> None:
    """Start the trainer; its process id comes to stand in the lock's file.

    Args:
        command: program and arguments.
        folder: of the run.
        lock: descriptor of the run's locked file, which the process keeps open.

    Raises:
        OSError: the program is not there, or the folder cannot be written; nothing is running then.
    """
    with (folder / _STDERR_NAME).open("wb") as stderr, (folder / "stdout.txt").open("wb") as stdout:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            pass_fds=(lock,),
        )
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(process.pid).encode(), 0)
    except OSError:
        process.kill()
        process.wait()
        raise
    threading.Thread(target=_reap, args=(process, folder), name=f"reap {folder.name}", daemon=True).start()


def _reap(process: subprocess.Popen, folder: Path) -> None:
    """Wait for the process, so that it does not stay as a zombie, and note how it ended."""
    exit_status = process.wait()
    with contextlib.suppress(OSError):
        (folder / _EXIT_STATUS_NAME).write_text(str(exit_status))


def how_it_ended(folder: Path) -> str:
    """Half a sentence about the exit status; empty where nobody saw it."""
    try:
        exit_status = int((folder / _EXIT_STATUS_NAME).read_text())
    except (OSError, ValueError):
        return ""
    if exit_status >= 0:
        return f", with exit status {exit_status}"
    hint = ", as the system does when memory runs out" if exit_status == -signal.SIGKILL else ""
    return f", ended by {signal.Signals(-exit_status).name}{hint}"


def last_words(folder: Path) -> str:
    """What the trainer said last on its standard error, where it puts one sentence (or a traceback) and ends."""
    try:
        text = (folder / _STDERR_NAME).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return last_sentence(text)


def last_sentence(text: str) -> str:
    """What the command line says last in its error output: its own sentence, without its name in front, else the last
    line (of a traceback)."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith(_COMMAND_NAME)]
    return (own or lines or [""])[-1].removeprefix(_COMMAND_NAME)
