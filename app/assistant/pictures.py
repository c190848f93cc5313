"""Pictures of a paper's pages, drawn when first looked at and kept in the user's cache."""

import os
import shutil
import tempfile
from pathlib import Path

from app.assistant.files import sha256_of
from app.assistant.readers.guarded import draw_guarded
from app.assistant.readers.reading import kind_of
from qlora.folders import cache_dir

PIXELS_PER_POINT = 2.0
"""144 dots an inch: sharp on a telephone's screen, about 300 KiB a page. A poster's page gets fewer."""


def page_picture(source: Path | None, pdf_page: int) -> bytes | None:
    """A page as PNG, :data:`PIXELS_PER_POINT` pixels a point; None where there is no picture of it: without a file, and
    for OCR records and Markdown.

    Raises:
        InputError: the PDF cannot be opened, or has no such page.
    """
    if source is None or kind_of(source) != "pdf":
        return None
    target = _folder(sha256_of(source)) / f"page-{pdf_page:03d}.png"
    if target.is_file():
        return target.read_bytes()
    picture = draw_guarded(source, pdf_page, PIXELS_PER_POINT)
    _keep(target, picture)
    return picture


def forget_pictures(sha256: str) -> None:
    """Remove the pictures that were kept of the PDF with this hash."""
    shutil.rmtree(_folder(sha256), ignore_errors=True)


def _folder(sha256: str) -> Path:
    return cache_dir() / "pages" / sha256[:16]


def _keep(target: Path, data: bytes) -> None:
    """Write the picture. Without room it is drawn again the next time, so a full disk is no error here."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, target)
    except OSError:
        Path(name).unlink(missing_ok=True)
