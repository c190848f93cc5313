"""The papers: those of the manifest, whose PDF is looked for (:mod:`pdfs`), and those that the visitor added, which are
kept (:mod:`shelf`)."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from app.assistant import arxiv, shelf
from app.assistant.files import sha256_of
from app.assistant.paper import PAPERS_FOLDER, Paper, manifest_papers
from app.assistant.pdfs import FoundPdf, add_pdf, check_pdf, download_pdf, find_pdf, is_text_of
from app.assistant.readers.guarded import read_guarded
from app.assistant.readers.page import LONGEST_TITLE, Document
from app.assistant.readers.pdf import MAX_BYTES, MAX_PAGES
from app.assistant.readers.reading import kind_of
from qlora.errors import InputError

if TYPE_CHECKING:
    from app.assistant.embedding import MiniLM
    from app.assistant.index import Index

__all__ = [
    "PAPERS_FOLDER", "Added", "Entry", "FoundPdf", "Paper", "add", "add_arxiv", "add_pdf", "catalogue", "check_pdf",
    "download_pdf", "find_pdf", "paper_of", "papers", "reindex", "remove",
]  # fmt: skip


class Added(NamedTuple):
    """A paper and whether it is new to the library; a file that was there before gives the paper it made then."""

    paper: Paper
    is_new: bool


@dataclass(frozen=True)
class Entry:
    """A line of the library's list.

    ``made_from`` is ``"pdf"``, ``"ocr"``, ``"markdown"``, or ``"notes"`` for a paper of the manifest without its PDF.
    ``added`` is empty for papers of the manifest, which can also not be removed.
    """

    paper: Paper
    made_from: str
    pages: int
    size_bytes: int
    added: str
    indexed: bool
    removable: bool


def papers(folder: Path = PAPERS_FOLDER) -> list[Paper]:
    """The papers of the manifest in ``folder``, then those that the visitor added, oldest first.

    Raises:
        InputError: the manifest cannot be used.
    """
    return manifest_papers(folder) + shelf.added_papers()


def paper_of(paper_id: str, folder: Path = PAPERS_FOLDER) -> Paper:
    """The paper with this identifier.

    Raises:
        InputError: there is none.
    """
    known = {paper.id: paper for paper in papers(folder)}
    if paper_id not in known:
        raise InputError(f"There is no paper “{paper_id}” in the library. It has: {', '.join(known)}.")
    return known[paper_id]


def catalogue(folder: Path = PAPERS_FOLDER) -> list[Entry]:
    """Every paper with what it is made from and whether its index is there."""
    from app.assistant.embedding_package import MODEL_SHA256
    from app.assistant.index_folders import is_indexed

    entries = []
    for paper in papers(folder):
        pdf = find_pdf(paper, folder).path
        sources = paper.files or ((pdf,) if pdf else tuple(paper.notes.iterdir()) if paper.notes else ())
        entries.append(
            Entry(
                paper,
                paper.made_from if paper.is_added or pdf else "notes",
                paper.pages,
                sum(path.stat().st_size for path in sources if path.is_file()),
                paper.added,
                is_indexed(paper, pdf, MODEL_SHA256),
                removable=paper.is_added,
            )
        )
    return entries


def add(
    files: Path | Sequence[Path],
    title: str | None = None,
    pdf_page: int | None = None,
    folder: Path = PAPERS_FOLDER,
) -> Added:
    """Add a paper from the visitor's file, which is copied. Its index is built when it is first opened.

    Args:
        files: a PDF, OCR layout records, Markdown or plain text; or several of the last three, the pages of one paper.
        title: what to call it; else the title in it, else the file's name.
        pdf_page: the number of the first page of OCR records or Markdown, where they do not say it themselves.
        folder: of the manifest. A PDF that is one of its papers becomes that paper's PDF.

    Raises:
        InputError: the file cannot be used (see :func:`app.assistant.readers.guarded.read_guarded`), or there is no
            room for it. The library is then what it was.
    """
    paths = [files] if isinstance(files, Path) else list(files)
    if not 1 <= len(paths) <= MAX_PAGES:
        raise InputError(f"A paper comes in 1 to {MAX_PAGES} files, not {len(paths)}.")
    for path in paths:
        kind_of(path)
    if sum(path.stat().st_size for path in paths) > MAX_BYTES:
        raise InputError(f"The files are more than {MAX_BYTES // 2**20} MiB together. Choose fewer.")
    with shelf.staging() as source:
        return _keep(shelf.copy_in(paths, source), title or "", pdf_page, folder)


def add_arxiv(
    id_or_url: str,
    progress: Callable[[float], None] = lambda fraction: None,
    folder: Path = PAPERS_FOLDER,
) -> Added:
    """Add a paper from arXiv, which is asked for its PDF unless the library has it; title and pages are the PDF's own.

    ``progress`` is called with the share that has arrived, 0 to 1.

    Raises:
        InputError: this is no arXiv number (see :func:`app.assistant.arxiv.parse_id`), there is no network, arXiv has
            no such paper, or as :func:`add`.
    """
    number, version = arxiv.parse_id(id_or_url)
    for paper in papers(folder):
        if paper.arxiv == number and version in (0, paper.version):
            if paper.is_added or find_pdf(paper, folder).path:
                return Added(paper, is_new=False)
            download_pdf(paper, progress)
            return Added(paper, is_new=True)
    wanted = Paper("", number, arxiv=number, version=version)
    with shelf.staging() as source:
        target = source / wanted.file_name
        arxiv.download(wanted.pdf_url, target, progress, "Get the PDF elsewhere and add it as a file.")
        if kind_of(target) != "pdf":
            raise InputError(f"arXiv did not send a PDF of {wanted.arxiv_name}. Try later, or add your own copy.")
        return _keep([target], "", None, folder, wanted)


def _keep(files: list[Path], title: str, pdf_page: int | None, folder: Path, wanted: Paper | None = None) -> Added:
    """Put staged files on the shelf, unless they make a paper that is known."""
    sha256 = _sha256_of_all(files)
    if known := next((paper for paper in shelf.added_papers() if paper.sha256 == sha256), None):
        return Added(known, is_new=False)
    of_manifest = manifest_papers(folder)
    known = next((paper for paper in of_manifest if paper.sha256 == sha256), None)
    if known is None:
        document = read_guarded(files, pdf_page)
        first = document.pages[0].raw_text
        is_pdf = document.kind == "pdf"
        known = next((p for p in of_manifest if is_pdf and is_text_of(p, len(document.pages), first)), None)
    if known:
        missing = find_pdf(known, folder).path is None
        if missing:
            add_pdf(known, files[0])
        return Added(known, is_new=missing)
    number, version, year = arxiv.stamp(first) if is_pdf else ("", 0, 0)
    if wanted:
        number, version = wanted.arxiv, wanted.version or version
    paper = Paper(
        id="",
        title=_title(title, document, files[0]),
        arxiv=number,
        version=version,
        year=year,
        sha256=sha256,
        pages=len(document.pages),
        files=tuple(files),
        made_from=document.kind,
        added=datetime.now(UTC).isoformat(timespec="milliseconds"),
        first_page=pdf_page,
    )
    with shelf.locked():
        if known := next((paper for paper in shelf.added_papers() if paper.sha256 == sha256), None):
            return Added(known, is_new=False)
        return Added(shelf.place(paper, files[0].parent, {paper.id for paper in of_manifest}), is_new=True)


def _sha256_of_all(files: Sequence[Path]) -> str:
    """One file's own, or what the files' hashes hash to in whatever order they came."""
    found = sorted(sha256_of(path) for path in files)
    return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()


def _title(given: str, document: Document, file: Path) -> str:
    for title in (given, document.title, file.stem.replace("_", " ")):
        printable = "".join(letter if letter.isprintable() else " " for letter in title)
        if tidy := " ".join(printable.split())[:LONGEST_TITLE]:
            return tidy
    return "Untitled"


def remove(paper_id: str, folder: Path = PAPERS_FOLDER) -> None:
    """Remove an added paper with its file, index and page pictures.

    Raises:
        InputError: there is no such paper, or it is one of the manifest.
    """
    from app.assistant.index import forget_index
    from app.assistant.pictures import forget_pictures

    paper = paper_of(paper_id, folder)
    if not paper.is_added:
        raise InputError(f"“{paper.title}” comes with the project and stays. Papers that you added can be removed.")
    with shelf.locked():
        shelf.take_away(paper)
    forget_pictures(paper.sha256)
    forget_index(paper)


def reindex(
    paper_id: str,
    embedder: "MiniLM | None" = None,
    progress: Callable[[float], None] = lambda fraction: None,
    folder: Path = PAPERS_FOLDER,
) -> "Index":
    """Build the paper's index anew, whether the one that is there fits or not. Who has that one open goes on with it
    until they open the paper again.

    Raises:
        InputError: there is no such paper, or as :func:`app.assistant.index.open_index`.
    """
    from app.assistant.embedding import MiniLM
    from app.assistant.index import open_index

    paper = paper_of(paper_id, folder)
    return open_index(paper, find_pdf(paper, folder).path, embedder or MiniLM(), progress, anew=True)
