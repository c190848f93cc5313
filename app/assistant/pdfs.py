"""The PDFs of the manifest's papers: where they are looked for, and how one that is missing comes in."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from app.assistant import arxiv
from app.assistant.files import replacing, sha256_of
from app.assistant.paper import PAPERS_FOLDER, Paper
from app.assistant.readers.guarded import glance_guarded
from app.assistant.readers.page import bare
from app.assistant.readers.pdf import MAX_BYTES
from app.assistant.readers.reading import kind_of
from qlora.errors import InputError
from qlora.folders import cache_dir


@dataclass(frozen=True)
class FoundPdf:
    """The PDF of a paper, or why there is none: ``problem`` is a sentence when a file is there but cannot be used."""

    path: Path | None
    problem: str = ""


def search_folders(folder: Path = PAPERS_FOLDER) -> Iterator[Path]:
    """Where PDFs are looked for, in this order: ``papers/``, ``$QLORA_PAPERS``, the cache (downloads and uploads)."""
    yield folder
    if named := os.environ.get("QLORA_PAPERS"):
        yield Path(named).expanduser()
    yield download_folder()


def download_folder() -> Path:
    return cache_dir() / "papers"


def find_pdf(paper: Paper, folder: Path = PAPERS_FOLDER) -> FoundPdf:
    """The PDF of this paper; nothing is requested from the network.

    An added paper has its own file or, made from something else, none. For a paper of the manifest it is the first
    file in the search folders that counts: its bytes are the manifest's, or its name holds the arXiv number and its
    content is checked (:func:`check_pdf`). One that is named like the paper but is not it is reported, not passed over
    in silence.
    """
    if paper.is_added:
        if not paper.files or not all(path.is_file() for path in paper.files):
            return FoundPdf(None, f"The files of “{paper.title}” are no longer there. Remove it and add it again.")
        return FoundPdf(paper.files[0] if paper.made_from == "pdf" else None)
    problem = ""
    for place in search_folders(folder):
        for path in sorted(place.glob("*.pdf")) if place.is_dir() else []:
            if paper.sha256 and path.stat().st_size <= MAX_BYTES and sha256_of(path) == paper.sha256:
                return FoundPdf(path)
            if paper.arxiv and paper.arxiv in path.name:
                try:
                    check_pdf(paper, path)
                    return FoundPdf(path)
                except InputError as error:
                    problem = problem or str(error)
    return FoundPdf(None, problem)


def check_pdf(paper: Paper, path: Path) -> None:
    """Raise unless the file is this paper: the very same bytes, or as many pages under the same title.

    Raises:
        InputError: it is not a PDF, or not this paper in this version.
    """
    if path.is_file() and path.stat().st_size <= MAX_BYTES and sha256_of(path) == paper.sha256:
        return
    kind_of(path)
    status = path.stat()
    if problem := _problem(paper, path, status.st_size, status.st_mtime_ns):
        raise InputError(problem)


@lru_cache(maxsize=64)
def _problem(paper: Paper, path: Path, size: int, changed: int) -> str:
    """Why the file is not this paper, or an empty string; found once for a file that stays as it is."""
    try:
        count, text = glance_guarded(path)
    except InputError as error:
        return str(error)
    if is_text_of(paper, count, text):
        return ""
    return (
        f"{path.name} is a PDF of {count} pages, but not “{paper.title}” with {paper.pages} pages. "
        f"Get version {paper.version} from {paper.abstract_url}."
    )


def is_text_of(paper: Paper, page_count: int, first_page: str) -> bool:
    """Whether a PDF of so many pages, whose first page reads so, is this paper."""
    return page_count == paper.pages and bare(paper.title).lower() in bare(first_page).lower()


def add_pdf(paper: Paper, upload: Path) -> Path:
    """Keep a copy of the visitor's own PDF of this paper of the manifest.

    Raises:
        InputError: it is not this paper (see :func:`check_pdf`), or there is no room for it.
    """
    check_pdf(paper, upload)
    with replacing(download_folder() / paper.file_name) as temporary:
        shutil.copyfile(upload, temporary)
    return download_folder() / paper.file_name


def download_pdf(paper: Paper, progress: Callable[[float], None] = lambda fraction: None) -> Path:
    """Get the PDF of a paper of the manifest from arXiv. Called only when the visitor asks for it.

    ``progress`` is called with the share that has arrived, 0 to 1.

    Raises:
        InputError: there is no network, arXiv does not serve the file, or what came is not this paper.
    """
    target = download_folder() / paper.file_name
    instead = "Answers come from our notes until you add your own copy of the PDF."
    with replacing(target) as temporary:
        arxiv.download(paper.pdf_url, temporary, progress, instead)
        check_pdf(paper, temporary)
    return target
