"""PDF files, read with pypdfium2: characters with boxes and fonts become lines, :mod:`layout` makes blocks of them.

The order of the file's own drawing commands is kept. TeX writes a page column by column and every float in one go, so
that order survives two columns and text wrapped around a figure, where sorting by position would interleave them.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.assistant.readers.layout import Region, blocks_of_document
from app.assistant.readers.lines import Character, Line, StyledLine, Vocabulary, style
from app.assistant.readers.page import LONGEST_TITLE, UNREADABLE, Document, Page
from qlora.errors import InputError

MAX_BYTES = 64 * 2**20
"""Papers with many pictures are 20 to 40 MiB."""
MAX_PAGES = 500
"""A long thesis. What has more is a book, whose passages would drown those of a paper."""
_HYPHENS = "\x02\ufffe\u00ad"
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})

# pdfium keeps global state and must not run in two threads at once.
_pdfium_lock = threading.Lock()


@contextmanager
def open_pdf(path: Path) -> Iterator:
    """The pypdfium2 document at ``path``, closed again at the end; holds pdfium's lock meanwhile.

    Raises:
        InputError: the file is missing, empty, too large, locked by a password, or not a PDF.
    """
    import pypdfium2

    try:
        size = path.stat().st_size
        head = path.open("rb").read(1024)
    except OSError as error:
        raise InputError(f"Cannot read {path.name}: {error.strerror or error}. Choose another file.") from error
    if b"%PDF-" not in head:
        raise InputError(f"{path.name} is not a PDF file ({size:,} bytes). Choose the paper's PDF as arXiv serves it.")
    if size > MAX_BYTES:
        raise InputError(f"{path.name} is {size / 2**20:.0f} MiB; at most {MAX_BYTES // 2**20} MiB can be read.")
    with _pdfium_lock:
        try:
            document = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError as error:
            import pypdfium2.raw as pdfium

            if error.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY):
                raise InputError(
                    f"{path.name} is locked by a password. Save a copy without one and choose that."
                ) from error
            raise InputError(f"{path.name} is a damaged PDF: it cannot be opened. Get a fresh copy.") from error
        try:
            if not 0 < len(document) <= MAX_PAGES:
                raise InputError(f"{path.name} has {len(document):,} pages; expected 1 to {MAX_PAGES}.")
            yield document
        except pypdfium2.PdfiumError as error:
            reason = str(error).rstrip(".").lower()
            raise InputError(f"{path.name} is a damaged PDF ({reason}). Get a fresh copy.") from error
        finally:
            document.close()


def page_size(path: Path, pdf_page: int) -> tuple[float, float]:
    """Width and height of a page in points."""
    with open_pdf(path) as document:
        return document[pdf_page - 1].get_size()


def raw_text(path: Path, pdf_page: int) -> str:
    """The text of one page as pdfium yields it, with ligatures spelled out."""
    with open_pdf(path) as document:
        return _clean(document[pdf_page - 1].get_textpage().get_text_range())


def read_pdf(path: Path) -> list[Page]:
    """All pages of a PDF as blocks in reading order; see :func:`pdf_document`."""
    return pdf_document(path).pages


def pdf_document(path: Path) -> Document:
    """All pages of a PDF as blocks in reading order, and its title: the first page's largest type, else its metadata.

    Raises:
        InputError: the file cannot be opened as a PDF (see :func:`open_pdf`) or holds no text at all.
    """
    sizes, lines, regions, raw = [], [], [], []
    with open_pdf(path) as document:
        named = document.get_metadata_value("Title").strip()
        for page in document:
            textpage = page.get_textpage()
            width, height = page.get_size()
            sizes.append((width, height))
            lines.append([style(line) for line in _lines(_characters(textpage, height))])
            regions.append(_regions(page, width, height))
            raw.append(_clean(textpage.get_text_range()))
            textpage.close()
            page.close()
    if not any(text.strip() for text in raw):
        raise InputError(f"{path.name} has no text layer (it holds pictures of pages). Use a PDF with text in it.")
    blocks = blocks_of_document(lines, regions, sizes)
    pages = [
        Page(number, width, height, tuple(blocks[number - 1]), raw[number - 1])
        for number, (width, height) in enumerate(sizes, start=1)
    ]
    return Document("pdf", _title(lines[0], Vocabulary(lines)) or named[:LONGEST_TITLE], pages)


def _title(lines: list[StyledLine], vocabulary: Vocabulary) -> str:
    """The first run of lines in the largest type of the first page, if it reads as a title: two words or more."""
    upright = [line for line in lines if line.upright]
    largest = max((line.size for line in upright), default=0.0)
    run: list[StyledLine] = []
    for line in upright:
        if line.size > largest - 0.6:
            run.append(line)
        elif run:
            break
    text = " ".join(word.text for word in vocabulary.joined(run)).replace(UNREADABLE, "").strip()
    others = [line for line in upright if line.size <= largest - 0.6]
    return text if others and " " in text and len(text) <= LONGEST_TITLE else ""


def _clean(text: str) -> str:
    return text.translate(_LIGATURES).replace("\r\n", "\n")


def _characters(textpage, height: float) -> Iterator[Character | None]:
    """Every character of the page in drawing order; None where a space separates words."""
    import pypdfium2.raw as pdfium

    rectangle = pdfium.FS_RECTF()
    name, flags = ctypes.create_string_buffer(128), ctypes.c_int()
    for index in range(textpage.count_chars()):
        code = pdfium.FPDFText_GetUnicode(textpage, index)
        text = chr(code)
        hyphen = text in _HYPHENS or (text == "-" and pdfium.FPDFText_IsHyphen(textpage, index) == 1)
        if text.isspace():
            yield None
            continue
        pdfium.FPDFText_GetLooseCharBox(textpage, index, rectangle)
        pdfium.FPDFText_GetFontInfo(textpage, index, name, len(name), flags)
        angle = pdfium.FPDFText_GetCharAngle(textpage, index)
        yield Character(
            "-" if hyphen else text.translate(_LIGATURES) if _is_readable(text) else UNREADABLE,
            (rectangle.left, height - rectangle.top, rectangle.right, height - rectangle.bottom),
            name.value.decode("latin-1"),
            _font_size(pdfium, textpage, index),
            upright=abs(angle) < 0.1 or abs(angle) > 6.18,
        )


def _is_readable(text: str) -> bool:
    """False for control characters and a font's private ones, which the pieces of large brackets come as."""
    return text.isprintable() and not "\ue000" <= text <= "\uf8ff"


def _font_size(pdfium, textpage, index: int) -> float:
    """Size as drawn: the nominal size times the text matrix' vertical scale (TeX fonts often have nominal size 1)."""
    matrix = pdfium.FS_MATRIX()
    nominal = pdfium.FPDFText_GetFontSize(textpage, index)
    if pdfium.FPDFText_GetMatrix(textpage, index, matrix):
        return nominal * (matrix.b**2 + matrix.d**2) ** 0.5
    return nominal


def _lines(characters: Iterator[Character | None]) -> Iterator[Line]:
    line, space = Line(), False
    for character in characters:
        if character is None:
            space = True
            continue
        if line.characters and not _continues(line, character):
            yield line
            line, space = Line(), False
        if line.characters and (space or _gap(line.characters[-1], character)):
            line.breaks.add(len(line.characters))
        line.add(character)
        space = False
    if line.characters:
        yield line


def _gap(last: Character, character: Character) -> bool:
    return character.upright and character.box[0] - last.box[2] > 0.25 * max(character.size, last.size)


def _continues(line: Line, character: Character) -> bool:
    """Whether the character stands on the line that is being read: beside its end and overlapping it in height."""
    if character.upright != line.upright:
        return False
    last, box = line.characters[-1], character.box
    if not character.upright:
        return abs(box[0] - last.box[0]) < last.size and abs(box[3] - last.box[1]) < 3 * last.size
    # Sub- and superscripts leave the baseline by less than a line, and stacked ones step back a little.
    height = max(last.size, character.size)
    overlap = min(box[3], line.box[3]) - max(box[1], line.box[1])
    tall_enough = overlap > 0.2 * (box[3] - box[1]) or abs(box[3] - last.box[3]) < 0.35 * height
    return tall_enough and -2.2 * height < box[0] - last.box[2]


def _regions(page, width: float, height: float) -> list[Region]:
    """Where the page has drawings (embedded figures, pictures) and horizontal rules, from its objects."""
    import pypdfium2.raw as pdfium

    regions = []
    for item in page.get_objects(max_depth=1):
        if item.type not in (pdfium.FPDF_PAGEOBJ_FORM, pdfium.FPDF_PAGEOBJ_IMAGE, pdfium.FPDF_PAGEOBJ_PATH):
            continue
        left, bottom, right, top = item.get_bounds()
        box = (left, height - top, right, height - bottom)
        if item.type == pdfium.FPDF_PAGEOBJ_PATH:
            if right - left > 40 and top - bottom < 2:
                regions.append(Region("rule", box))
        elif 40 < right - left <= width and 30 < top - bottom < 0.9 * height:
            regions.append(Region("figure", box))
    return regions
