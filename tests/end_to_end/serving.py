"""The page, started with its own command for as long as something looks at it."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_GIVE_UP_SECONDS = 180
_LOOK_SECONDS = 0.02


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def served(
    environment: dict[str, str] | None = None, runs: Path | None = None, log: Path | None = None
) -> Iterator[tuple[str, subprocess.Popen, float]]:
    """Start ``python -m app`` on a free port, and stop it afterwards.

    Args:
        environment: of the server; this process's without it.
        runs: folder for runs; an empty one without it.
        log: file for what the server says; standard error without it.

    Yields:
        the page's address, the server, and the seconds from its start to its first answer.

    Raises:
        RuntimeError: the server ended, or did not answer within three minutes.
    """
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "app", "--port", url.rpartition(":")[2]]
    with ExitStack() as held:
        folder = runs or held.enter_context(tempfile.TemporaryDirectory())
        output = held.enter_context(log.open("w")) if log else sys.stderr
        known = {**(os.environ if environment is None else environment), "QLORA_RUNS": str(folder)}
        began = time.monotonic()
        server = subprocess.Popen(
            command, env=known, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT if log else None
        )
        try:
            try:
                _wait(url, server, began + _GIVE_UP_SECONDS)
            except RuntimeError as error:
                error.add_note(log.read_text() if log else "")
                raise
            yield url, server, time.monotonic() - began
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait(url: str, server: subprocess.Popen, deadline: float) -> None:
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError as error:
            if server.poll() is not None:
                raise RuntimeError(f"The server ended with {server.returncode}.") from error
            if time.monotonic() > deadline:
                raise RuntimeError(f"{url} did not answer within {_GIVE_UP_SECONDS} s.") from error
            time.sleep(_LOOK_SECONDS)
