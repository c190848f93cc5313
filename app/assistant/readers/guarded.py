"""Files from outside, opened in a process of their own: whatever is in them, the app goes on.

A PDF can crash the library that reads it, ask for gigabytes, or never end. The process that opens it has limits on
time and memory, and pages and bytes are counted before anything is kept; what goes over ends in one sentence. What
comes back is plain data.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from app.assistant.readers.page import Document, document_from
from qlora.errors import InputError

CPU_SECONDS = 120
"""500 dense pages take a minute on one core of a small server."""
SECONDS = 300
"""On the clock, since that core may be busy with something else."""
MEMORY_BYTES = 2**30
"""500 pages of text take about 300 MiB. A page that inflates to more than the rest of this is a trap."""
AT_ONCE = 2
"""Files opened at the same time; more wait, so that many visitors cannot take all memory together."""

_SLOW = "{name} takes longer than {seconds} seconds to read. Choose a smaller file."
_ROOT = Path(__file__).resolve().parents[3]
_free = threading.BoundedSemaphore(AT_ONCE)


def read_guarded(paths: Sequence[Path], pdf_page: int | None = None) -> Document:
    """The pages of one paper, as :func:`app.assistant.readers.reading.read_documents` reads them.

    Raises:
        InputError: as there; or the file takes more than :data:`CPU_SECONDS`, :data:`SECONDS` or
            :data:`MEMORY_BYTES`, or cannot be read for another reason.
    """
    return document_from(_ask(paths[0].name, task="read", paths=[str(path) for path in paths], pdf_page=pdf_page))


def glance_guarded(path: Path) -> tuple[int, str]:
    """How many pages a PDF has, and the text of the first.

    Raises:
        InputError: as :func:`read_guarded`.
    """
    count, text = _ask(path.name, task="glance", path=str(path))
    return count, text


def draw_guarded(path: Path, pdf_page: int, pixels_per_point: float) -> bytes:
    """A page of a PDF as PNG; very large pages get fewer pixels a point.

    Raises:
        InputError: there is no such page, or as :func:`read_guarded`.
    """
    answer = _ask(path.name, task="picture", path=str(path), pdf_page=pdf_page, pixels_per_point=pixels_per_point)
    return base64.b64decode(answer)


def _ask(name: str, **request):
    request |= {"memory_bytes": MEMORY_BYTES, "cpu_seconds": CPU_SECONDS}
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    with _free:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.assistant.readers.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        try:
            out, errors = process.communicate(json.dumps(request).encode(), timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise InputError(_SLOW.format(name=name, seconds=SECONDS)) from error
        finally:
            process.kill()
            process.wait()
    if process.returncode == 0:
        answer = json.loads(out)
        if "problem" in answer:
            raise InputError(answer["problem"])
        return answer["answer"]
    if process.returncode == -signal.SIGXCPU:
        raise InputError(_SLOW.format(name=name, seconds=CPU_SECONDS))
    said = errors.decode(errors="replace")
    if process.returncode < 0 or "MemoryError" in said:
        raise InputError(
            f"{name} cannot be read: it is damaged, or needs more than {MEMORY_BYTES // 2**20} MiB of memory. "
            "Get a fresh copy."
        )
    raise InputError(
        f"{name} cannot be read ({(said.strip() or 'no reason given').splitlines()[-1]})."
    ) from RuntimeError(said)
