"""One way from a file to its pages, whatever it is; what it is, is seen from its content."""

import re
from collections.abc import Sequence
from pathlib import Path

from app.assistant.readers.markdown import markdown_document
from app.assistant.readers.ocr_layout import ocr_document
from app.assistant.readers.page import Document, Page
from app.assistant.readers.pdf import MAX_BYTES, MAX_PAGES, pdf_document
from qlora.errors import InputError

MAX_TEXT_BYTES = 16 * 2**20
"""OCR records and Markdown: a page of records is about 20 KiB, so this is a paper of 800 pages."""
MAX_WORDS = 600_000
"""500 pages of two narrow columns; indexing that many takes some minutes."""

_HEAD_BYTES = 4096


def kind_of(path: Path) -> str:
    """What a file is: ``"pdf"``, ``"ocr"`` (lines of JSON objects) or ``"markdown"`` (any other text).

    Raises:
        InputError: the file is missing, empty, too large, or none of these.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise InputError(f"Cannot read {path.name}: {error.strerror or error}. Choose another file.") from error
    if not size:
        raise InputError(f"{path.name} is empty. Choose another file.")
    kind = "pdf" if b"%PDF-" in head[:1024] else "ocr" if _begins_an_object(head) else "markdown"
    most = MAX_BYTES if kind == "pdf" else MAX_TEXT_BYTES
    if size > most:
        raise InputError(f"{path.name} is {size / 2**20:.0f} MiB; at most {most // 2**20} MiB can be read.")
    if b"\x00" in head and kind != "pdf":
        raise InputError(f"{path.name} is neither a PDF nor text. Choose a PDF, OCR records (JSONL) or Markdown.")
    return kind


def _begins_an_object(head: bytes) -> bool:
    """Whether the text opens with a JSON object that has a first field, or an empty one."""
    return bool(re.match(rb"(?:\xef\xbb\xbf)?\s*\{\s*(?:\"|\})", head))


def read_document(path: Path, pdf_page: int | None = None, otherwise: int = 1) -> Document:
    """A file's pages and title.

    Args:
        path: a PDF, a file of OCR layout records, Markdown or plain text.
        pdf_page: the number of the file's first page, where the caller knows it. A PDF's pages always count from 1.
        otherwise: the number of the first page where neither the caller nor the file says one.

    Raises:
        InputError: the file cannot be read, holds no text, or more pages or words than :data:`MAX_PAGES` and
            :data:`MAX_WORDS`.
    """
    kind = kind_of(path)
    if kind == "pdf":
        document = pdf_document(path)
    elif kind == "ocr":
        document = ocr_document(path, pdf_page, otherwise)
    else:
        document = markdown_document(path, pdf_page or otherwise)
    if len(document.pages) > MAX_PAGES:
        raise InputError(f"{path.name} has {len(document.pages):,} pages; at most {MAX_PAGES} can be read.")
    words = sum(len(page.raw_text.split()) for page in document.pages)
    if words > MAX_WORDS:
        raise InputError(f"{path.name} has {words:,} words; at most {MAX_WORDS:,} can be read. Choose a part of it.")
    return document


def read_documents(paths: Sequence[Path], pdf_page: int | None = None) -> Document:
    """The pages of one paper that comes in several files of one kind, in the order of their numbers.

    Raises:
        InputError: as :func:`read_document`; or the files are of several kinds, several PDFs, or two have one page.
    """
    if len(paths) == 1:
        return read_document(paths[0], pdf_page)
    kinds = {kind_of(path) for path in paths}
    if len(kinds) > 1 or "pdf" in kinds:
        raise InputError("Several files make one paper only when all are OCR pages or all are Markdown.")
    pages: dict[int, Page] = {}
    title = ""
    for path in paths:
        document = read_document(path, otherwise=max(pages, default=0) + 1)
        for page in document.pages:
            if page.pdf_page in pages:
                raise InputError(
                    f"{path.name} has a page {page.pdf_page}, and so has a file before it. Put the page's number in "
                    f"the field “page”, or in the file's name (page_{page.pdf_page}.jsonl)."
                )
            pages[page.pdf_page] = page
        title = title or document.title
    if len(pages) > MAX_PAGES:
        raise InputError(f"The files have {len(pages):,} pages; at most {MAX_PAGES} can be read.")
    return Document(kinds.pop(), title, [pages[number] for number in sorted(pages)])
