"""Where a paper's indexes are, what each was made from, and the lock under which they change."""

import errno
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.assistant.chunking import CHUNKER_VERSION
from app.assistant.files import sha256_of
from app.assistant.paper import Paper
from app.assistant.readers.page import READER_VERSION
from qlora.errors import InputError
from qlora.folders import cache_dir

_LOCK_SECONDS = 300


def index_folder() -> Path:
    return cache_dir() / "index"


def fingerprint(paper: Paper, pdf: Path | None, embedder_sha256: str) -> dict:
    """What an index is made from; two indexes with the same fingerprint are the same."""
    notes = hashlib.sha256()
    if paper.notes:
        for path in sorted([*paper.notes.glob("*.md"), *paper.notes.glob("*.csv")]):
            notes.update(path.name.encode() + path.read_bytes())
    return {
        "paper": paper.id,
        "paper_sha256": [sha256_of(path) for path in sources_of(paper, pdf)],
        "first_page": paper.first_page,
        "notes_sha256": notes.hexdigest(),
        "embedder_sha256": embedder_sha256,
        "reader": READER_VERSION,
        "chunker": CHUNKER_VERSION,
    }


def sources_of(paper: Paper, pdf: Path | None) -> tuple[Path, ...]:
    """The files that the paper's own passages come from: those that were added with it, else its PDF."""
    return paper.files or ((pdf,) if pdf else ())


def key_of(made_from: dict) -> str:
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]


def folders_of(paper: Paper, key: str = "[0-9a-f]{16}") -> Iterator[Path]:
    """The paper's index folders, ``<id>-<key>-<8 letters>``; one paper's identifier may begin another's."""
    name = re.compile(rf"{re.escape(paper.id)}-{key}-[0-9a-f]{{8}}")
    return (path for path in index_folder().glob("*") if name.fullmatch(path.name) and path.is_dir())


def is_indexed(paper: Paper, pdf: Path | None, embedder_sha256: str) -> bool:
    """Whether there is an index of just this state of the paper; it is not opened."""
    if not all(path.is_file() for path in sources_of(paper, pdf)):
        return False
    key = key_of(fingerprint(paper, pdf, embedder_sha256))
    return any((folder / "manifest.json").is_file() for folder in folders_of(paper, key))


@contextmanager
def locked(paper: Paper) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        index_folder().mkdir(parents=True, exist_ok=True)
        with FileLock(index_folder() / f"{paper.id}.lock", timeout=_LOCK_SECONDS):
            yield
    except Timeout as error:
        raise InputError(
            "Another process has been building the index for minutes. Stop it, or wait and ask again."
        ) from error
    except OSError as error:
        raise no_room(error) from error


def no_room(error: OSError) -> InputError:
    if error.errno == errno.ENOSPC:
        return InputError(
            f"There is no disk space left for the index in {index_folder()}. Free some, or set QLORA_CACHE."
        )
    return InputError(
        f"The index cannot be kept in {index_folder()}: {error.strerror}. Set QLORA_CACHE to another folder."
    )


def clear_up(paper: Paper) -> None:
    """Remove what a process that was killed while building has left. The caller holds the paper's lock."""
    name = re.compile(rf"\.building-{re.escape(paper.id)}-[a-z0-9_]{{8}}")
    for path in index_folder().glob(".building-*"):
        if name.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
