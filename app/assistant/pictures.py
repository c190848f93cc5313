"""Pictures of a paper's pages, drawn when first looked at and kept in the user's cache."""

import io
import os
import shutil
import tempfile
from pathlib import Path

from app.assistant.files import sha256_of
from app.assistant.readers.guarded import draw_guarded
from app.assistant.readers.page import Box
from app.assistant.readers.reading import kind_of
from qlora.folders import cache_dir

PIXELS_PER_POINT = 2.0
"""144 dots an inch: sharp on a telephone's screen, about 300 KiB a page. A poster's page gets fewer."""

PART_PIXELS = 800
"""Width of a table's or figure's picture in a gallery: sharp where two stand side by side, 20 to 60 KiB each."""


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


def part_picture(source: Path | None, pdf_page: int, box: Box, width: float) -> bytes | None:
    """What is inside ``box`` of a page, as WebP at most :data:`PART_PIXELS` wide; None where there is no picture.

    Args:
        source: the file with the page.
        pdf_page: its number.
        box: left, top, right and bottom in points from the page's upper left corner.
        width: of the page in points.

    Raises:
        InputError: as :func:`page_picture`.
    """
    from PIL import Image

    picture = page_picture(source, pdf_page)
    if picture is None:
        return None
    with Image.open(io.BytesIO(picture)) as page:
        scale = page.width / width
        left, top, right, bottom = (round(scale * edge) for edge in box)
        left, top = max(0, left), max(0, top)
        inside = (left, top, max(left + 1, min(page.width, right)), max(top + 1, min(page.height, bottom)))
        part = page.convert("RGB").crop(inside)
    part.thumbnail((PART_PIXELS, 4 * PART_PIXELS), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    part.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


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
