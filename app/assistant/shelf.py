"""Where added papers are kept: ``library/<id>/`` under the user's cache, with the files as they came in ``source/`` and
a record ``paper.json``.

A folder is filled beside its place and moved there when complete, and one process at a time changes the shelf: a crash
or a full disk loses nothing that was there, and what is half done is never seen.
"""

import json
import os
import re
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from app.assistant.files import not_written
from app.assistant.paper import Paper
from app.assistant.readers.reading import kind_of
from qlora.errors import InputError
from qlora.folders import cache_dir

_RECORD, _SOURCE = "paper.json", "source"
_LONGEST_ID, _LONGEST_NAME = 48, 100
_LOCK_SECONDS = 60
_ABANDONED_SECONDS = 24 * 3600
"""A folder that was being filled or emptied so long ago was left by a process that is gone."""


def library_folder() -> Path:
    return cache_dir() / "library"


def added_papers() -> list[Paper]:
    """The papers on the shelf, oldest first. One whose record cannot be read is known by its folder and its files."""
    places = [place for place in library_folder().glob("[!.]*") if (place / _SOURCE).is_dir()]
    return sorted(map(_read, places), key=lambda paper: (paper.added, paper.id))


def _read(place: Path) -> Paper:
    try:
        record = json.loads((place / _RECORD).read_text(encoding="utf-8"))
        return replace(Paper.from_record(record, place / _SOURCE), id=place.name)
    except (OSError, ValueError, KeyError, TypeError):
        files = tuple(sorted((place / _SOURCE).iterdir()))
        added = datetime.fromtimestamp(place.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
        return Paper(place.name, place.name.replace("-", " "), files=files, made_from=_kind(files), added=added)


def _kind(files: Sequence[Path]) -> str:
    try:
        return kind_of(files[0]) if files else "pdf"
    except InputError:
        return "pdf"


@contextmanager
def locked() -> Iterator[None]:
    """Inside, no other thread or process changes the shelf.

    Raises:
        InputError: the shelf cannot be written to, or another process has held it for a minute.
    """
    from filelock import FileLock, Timeout

    try:
        library_folder().mkdir(parents=True, exist_ok=True)
        with FileLock(library_folder() / ".lock", timeout=_LOCK_SECONDS):
            yield
    except Timeout as error:
        raise InputError("Another process has been changing the library for a minute. Try again.") from error
    except OSError as error:
        raise not_written(library_folder(), error) from error


@contextmanager
def staging() -> Iterator[Path]:
    """An empty folder to put a paper's files in; gone afterwards unless :func:`place` has moved it to the shelf.

    Raises:
        InputError: there is no room for it.
    """
    folder = None
    try:
        library_folder().mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=library_folder(), prefix=".adding-"))
        (folder / _SOURCE).mkdir()
        yield folder / _SOURCE
    except OSError as error:
        raise not_written(library_folder(), error) from error
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def copy_in(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Copies of the files under their own names, as far as these are safe and differ."""
    copies = []
    for number, path in enumerate(paths, start=1):
        name = re.sub(r"[^\w.\- ]+", "_", unicodedata.normalize("NFKC", path.name)).strip(". ")[-_LONGEST_NAME:]
        target = folder / (name or "file")
        if target.exists():
            target = folder / f"{number}-{target.name}"
        shutil.copyfile(path, target)
        copies.append(target)
    return copies


def place(paper: Paper, source: Path, taken: Collection[str]) -> Paper:
    """Move a filled folder of :func:`staging` to the shelf under a new identifier, made of the title. The caller holds
    :func:`locked`.

    Args:
        paper: the record without ``id`` and with ``files`` in ``source``.
        source: what :func:`staging` gave.
        taken: identifiers of papers that are not on the shelf.
    """
    _forget_abandoned()
    paper = replace(paper, id=_free_id(paper.title, taken))
    record = json.dumps(paper.record(), ensure_ascii=False, indent=1)
    (source.parent / _RECORD).write_text(record + "\n", encoding="utf-8")
    target = library_folder() / paper.id
    os.replace(source.parent, target)
    return replace(paper, files=tuple(target / _SOURCE / path.name for path in paper.files))


def take_away(paper: Paper) -> None:
    """Remove a paper with its files. The caller holds :func:`locked`."""
    leaving = Path(tempfile.mkdtemp(dir=library_folder(), prefix=".removing-"))
    os.replace(library_folder() / paper.id, leaving)
    shutil.rmtree(leaving, ignore_errors=True)


def _free_id(title: str, taken: Collection[str]) -> str:
    letters = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    wished = re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:_LONGEST_ID].rstrip("-") or "paper"
    paper_id, number = wished, 2
    while paper_id in taken or (library_folder() / paper_id).exists():
        paper_id, number = f"{wished}-{number}", number + 1
    return paper_id


def _forget_abandoned() -> None:
    for pattern in (".adding-*", ".removing-*"):
        for folder in library_folder().glob(pattern):
            if time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
