"""The page, started with its own command for as long as something looks at it."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.end_to_end.conftest import REPOSITORY, free_port

_GIVE_UP_SECONDS = 180
_LOOK_SECONDS = 0.02


@contextmanager
def served(environment: dict[str, str] | None = None) -> Iterator[tuple[str, subprocess.Popen, float]]:
    """Start ``python -m app`` on a free port with an empty folder for runs, and stop it afterwards.

    Args:
        environment: of the server; this process's without it.

    Yields:
        the page's address, the server, and the seconds from its start to its first answer.

    Raises:
        RuntimeError: the server ended, or did not answer within three minutes.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as runs:
        known = {**(os.environ if environment is None else environment), "QLORA_RUNS": runs}
        began = time.monotonic()
        command = [sys.executable, "-m", "app", "--port", str(port)]
        server = subprocess.Popen(command, env=known, cwd=REPOSITORY, stdout=sys.stderr)
        url = f"http://127.0.0.1:{port}"
        try:
            _wait(url, server, began + _GIVE_UP_SECONDS)
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
