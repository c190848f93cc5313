"""The process that files from outside are opened in: ``python -m app.assistant.readers.worker``, see :mod:`guarded`.

It takes one request as JSON on its standard input, limits itself, and answers with JSON on its standard output:
``{"answer": …}``, or ``{"problem": sentence}`` when the file cannot be used.
"""

import base64
import io
import json
import os
import sys
from pathlib import Path

from app.assistant.readers.page import document_record
from app.assistant.readers.pdf import open_pdf, raw_text
from app.assistant.readers.reading import read_documents
from qlora.errors import InputError

MAX_PICTURE_PIXELS = 4000
"""Longer side of a page's picture: a sheet at 300 dots an inch, where a poster would take gigabytes."""


def read(paths: list[str], pdf_page: int | None) -> dict:
    return document_record(read_documents([Path(path) for path in paths], pdf_page))


def glance(path: str) -> list:
    with open_pdf(Path(path)) as document:
        count = len(document)
    return [count, raw_text(Path(path), 1)]


def picture(path: str, pdf_page: int, pixels_per_point: float) -> str:
    with open_pdf(Path(path)) as document:
        if not 1 <= pdf_page <= len(document):
            raise InputError(f"{Path(path).name} has pages 1 to {len(document)}, not {pdf_page}.")
        page = document[pdf_page - 1]
        scale = min(pixels_per_point, MAX_PICTURE_PIXELS / max(page.get_size()))
        drawn = page.render(scale=scale).to_pil()
    buffer = io.BytesIO()
    drawn.quantize(64).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _limit(memory_bytes: int, cpu_seconds: int) -> None:
    """Hold this process to its share. Where the system knows no such limits, the caller's clock is the only one."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    request = json.load(sys.stdin)
    # What libraries print must not get between the caller and the answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _limit(request.pop("memory_bytes"), request.pop("cpu_seconds"))
    task = {"read": read, "glance": glance, "picture": picture}[request.pop("task")]
    try:
        answer = {"answer": task(**request)}
    except InputError as error:
        answer = {"problem": str(error)}
    json.dump(answer, answers)
    answers.flush()


if __name__ == "__main__":
    main()
