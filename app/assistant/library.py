"""The papers: what the manifest says about them, where their PDF is, and how to get it when the visitor asks."""

import hashlib
import os
import shutil
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.assistant.readers.page import bare
from app.assistant.readers.pdf import MAX_BYTES, page_count, raw_text
from qlora.errors import InputError
from qlora.folders import cache_dir

PAPERS_FOLDER = Path(__file__).resolve().parents[2] / "papers"
_TIMEOUT_SECONDS = 20
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Paper:
    """One paper of the manifest. ``sha256`` and ``pages`` describe the PDF that the notes' page numbers refer to."""

    id: str
    title: str
    authors: tuple[str, ...]
    arxiv: str
    version: int
    year: int
    licence: str
    sha256: str
    pages: int
    notes: Path

    @property
    def file_name(self) -> str:
        return f"{self.arxiv}v{self.version}.pdf"

    @property
    def pdf_url(self) -> str:
        return f"https://arxiv.org/pdf/{self.arxiv}v{self.version}"

    @property
    def abstract_url(self) -> str:
        return f"https://arxiv.org/abs/{self.arxiv}v{self.version}"


@dataclass(frozen=True)
class FoundPdf:
    """The PDF of a paper, or why there is none: ``problem`` is a sentence when a file is there but cannot be used."""

    path: Path | None
    problem: str = ""


def papers(folder: Path = PAPERS_FOLDER) -> list[Paper]:
    """The papers named in ``manifest.toml``.

    Raises:
        InputError: the manifest is missing, is not TOML, or lacks a field.
    """
    manifest = folder / "manifest.toml"
    try:
        entries = tomllib.loads(manifest.read_text(encoding="utf-8"))["paper"]
        return [
            Paper(**{**entry, "authors": tuple(entry["authors"]), "notes": folder / entry["notes"]})
            for entry in entries
        ]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{manifest.name} cannot be used: {error}. Restore it from the project.") from error


def search_folders(folder: Path = PAPERS_FOLDER) -> Iterator[Path]:
    """Where PDFs are looked for, in this order: ``papers/``, ``$QLORA_PAPERS``, the cache (downloads and uploads)."""
    yield folder
    if named := os.environ.get("QLORA_PAPERS"):
        yield Path(named).expanduser()
    yield download_folder()


def download_folder() -> Path:
    return cache_dir() / "papers"


def find_pdf(paper: Paper, folder: Path = PAPERS_FOLDER) -> FoundPdf:
    """The first file in the search folders that is this paper; nothing is requested from the network.

    A file counts when its bytes are the manifest's, or when its name holds the arXiv number and its content is checked
    (:func:`check_pdf`). One that is named like the paper but is not it is reported, not passed over in silence.
    """
    problem = ""
    for place in search_folders(folder):
        for path in sorted(place.glob("*.pdf")) if place.is_dir() else []:
            if path.stat().st_size <= MAX_BYTES and sha256_of(path) == paper.sha256:
                return FoundPdf(path)
            if paper.arxiv in path.name:
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
    count = page_count(path)
    if sha256_of(path) == paper.sha256:
        return
    if count != paper.pages or bare(paper.title).lower() not in bare(raw_text(path, 1)).lower():
        raise InputError(
            f"{path.name} is a PDF of {count} pages, but not “{paper.title}” with {paper.pages} pages. "
            f"Get version {paper.version} from {paper.abstract_url}."
        )


def add_pdf(paper: Paper, upload: Path) -> Path:
    """Keep a copy of the visitor's own PDF of this paper.

    Raises:
        InputError: it is not this paper (see :func:`check_pdf`), or there is no room for it.
    """
    check_pdf(paper, upload)
    with _replacing(download_folder() / paper.file_name) as temporary:
        shutil.copyfile(upload, temporary)
    return download_folder() / paper.file_name


def download_pdf(paper: Paper, progress: Callable[[float], None] = lambda fraction: None) -> Path:
    """Get the paper's PDF from arXiv. Called only when the visitor asks for it.

    ``progress`` is called with the share that has arrived, 0 to 1.

    Raises:
        InputError: there is no network, arXiv does not serve the file, or what came is not this paper.
    """
    target = download_folder() / paper.file_name
    request = urllib.request.Request(paper.pdf_url, headers={"User-Agent": "qlora-explainer (one paper, on request)"})
    with _replacing(target) as temporary:
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response, temporary.open("wb") as file:
                expected = int(response.headers.get("Content-Length") or 0)
                received = 0
                while piece := response.read(_PIECE_BYTES):
                    received += len(piece)
                    if received > MAX_BYTES:
                        raise InputError(
                            f"arXiv sent more than {MAX_BYTES // 2**20} MiB for {paper.file_name}. Try later."
                        )
                    file.write(piece)
                    progress(min(1.0, received / expected) if expected else 0.0)
        except urllib.error.HTTPError as error:
            raise InputError(
                f"arXiv answered {error.code} for {paper.pdf_url}. Try later, or add your own copy."
            ) from error
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise InputError(
                "arXiv cannot be reached from here. Answers come from our notes until you add your own copy of the PDF."
            ) from error
        if expected and received != expected:
            raise InputError(f"The download stopped after {received:,} of {expected:,} bytes. Try again.")
        check_pdf(paper, temporary)
    return target


class _replacing:
    """A temporary file beside ``target`` that takes its place when all went well and is removed when not."""

    def __init__(self, target: Path):
        self.target = target

    def __enter__(self) -> Path:
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.target.parent, prefix=self.target.stem, suffix=".part")
        except OSError as error:
            raise InputError(
                f"Cannot write to {self.target.parent}: {error.strerror}. Free space or set QLORA_CACHE."
            ) from error
        os.close(handle)
        self.temporary = Path(name)
        return self.temporary

    def __exit__(self, kind, error, trace) -> None:
        if kind is None:
            os.replace(self.temporary, self.target)
            return
        self.temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(
                f"Cannot write {self.target.name}: {error.strerror}. Free space or set QLORA_CACHE."
            ) from error


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
