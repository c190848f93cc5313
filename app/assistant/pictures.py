"""Pictures of a paper's pages, drawn when first looked at and kept in the user's cache."""

import io
import os
import tempfile
from pathlib import Path

from app.assistant.library import sha256_of
from app.assistant.readers.pdf import open_pdf
from qlora.errors import InputError
from qlora.folders import cache_dir

PIXELS_PER_POINT = 2.0
"""144 dots an inch: sharp on a telephone's screen, about 300 KiB a page."""


def page_picture(pdf: Path, pdf_page: int) -> bytes:
    """A page as PNG, :data:`PIXELS_PER_POINT` pixels a point.

    Raises:
        InputError: the PDF cannot be opened, or has no such page.
    """
    folder = cache_dir() / "pages" / sha256_of(pdf)[:16]
    target = folder / f"page-{pdf_page:03d}.png"
    if target.is_file():
        return target.read_bytes()
    with open_pdf(pdf) as document:
        if not 1 <= pdf_page <= len(document):
            raise InputError(f"{pdf.name} has pages 1 to {len(document)}, not {pdf_page}.")
        picture = document[pdf_page - 1].render(scale=PIXELS_PER_POINT).to_pil()
    buffer = io.BytesIO()
    picture.quantize(64).save(buffer, "PNG", optimize=True)
    _keep(target, buffer.getvalue())
    return buffer.getvalue()


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
