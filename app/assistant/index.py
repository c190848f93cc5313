"""The search index of one paper: passages with their vectors in an embedded Chroma database under the user's cache.

It can always be made again. A manifest beside it says what it was made from (paper, notes, embedding model, chunker);
an index that says something else, or does not answer, is thrown away and rebuilt. It is built in a folder of its own
and moved into place when complete, so a crash or a full disk leaves nothing half-written.
"""

import errno
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.assistant.chunking import CHUNKER_VERSION, Chunk, chunk_pages
from app.assistant.embedding import MiniLM
from app.assistant.library import Paper
from app.assistant.readers.notes import read_notes
from app.assistant.readers.page import Page
from app.assistant.readers.pdf import read_pdf
from app.assistant.terms import abbreviations
from app.assistant.vectors import rewordings as find_rewordings
from app.assistant.vectors import sentences_to_embed, vectors_of
from qlora.errors import InputError
from qlora.folders import cache_dir

NEEDED_BYTES = 64 * 2**20
"""Free space asked for before building: an index of one paper takes about 10 MiB."""
_KEPT = 4
_LOCK_SECONDS = 300
_clients: dict[Path, object] = {}
_clients_lock = threading.Lock()


@dataclass
class Index:
    """Passages and the means to search them.

    ``sentence_chunk[i]`` is the number of the passage that sentence vector ``i`` speaks for: its own, or, for a
    sentence of the notes that only says in other words what the paper says, the paper's passage.
    """

    paper: Paper
    chunks: list[Chunk]
    abbreviations: dict[str, str]
    has_pdf: bool
    rewordings: dict[int, list[int]]
    sentence_chunk: list[int]
    sentence_of: list[tuple[int, int]]
    client: object
    folder: Path

    def nearest(self, collection: str, vector: np.ndarray, count: int) -> list[tuple[int, float]]:
        """The nearest entries of a collection (``passages`` or ``sentences``) as (number, cosine), best first."""
        if not count:
            return []
        answer = self.client.get_collection(collection, embedding_function=None).query(
            query_embeddings=[vector.tolist()], n_results=count, include=["distances"]
        )
        return [
            (int(key), 1.0 - distance) for key, distance in zip(answer["ids"][0], answer["distances"][0], strict=True)
        ]

    def vectors(self, collection: str) -> np.ndarray:
        """All vectors of a collection (``passages`` or ``sentences``) in order: (entries, 384) fp32 of length 1."""
        stored = self.client.get_collection(collection, embedding_function=None).get(include=["embeddings"])
        vectors = np.zeros((len(stored["ids"]), MiniLM.dimension), dtype=np.float32)
        for key, vector in zip(stored["ids"], stored["embeddings"], strict=True):
            vectors[int(key)] = vector
        return vectors


def index_folder() -> Path:
    return cache_dir() / "index"


def fingerprint(paper: Paper, pdf: Path | None, embedder: MiniLM) -> dict:
    """What an index is made from; two indexes with the same fingerprint are the same."""
    notes = hashlib.sha256()
    for path in sorted([*paper.notes.glob("*.md"), *paper.notes.glob("*.csv")]):
        notes.update(path.name.encode() + path.read_bytes())
    return {
        "paper": paper.id,
        "pdf_sha256": hashlib.sha256(pdf.read_bytes()).hexdigest() if pdf else None,
        "notes_sha256": notes.hexdigest(),
        "embedder_sha256": embedder.sha256,
        "chunker": CHUNKER_VERSION,
    }


def open_index(
    paper: Paper, pdf: Path | None, embedder: MiniLM, progress: Callable[[float], None] = lambda fraction: None
) -> Index:
    """The paper's index, built first where there is none that fits.

    ``progress`` is called with the share of the vectors that are computed, 0 to 1; not at all when nothing is built.

    Raises:
        InputError: the PDF or the notes cannot be read, or there is no room for the index.
    """
    from filelock import FileLock, Timeout

    made_from = fingerprint(paper, pdf, embedder)
    key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    try:
        index_folder().mkdir(parents=True, exist_ok=True)
        with FileLock(index_folder() / f"{paper.id}.lock", timeout=_LOCK_SECONDS):
            index = None
            for folder in index_folder().glob(f"{paper.id}-{key}-*"):
                if index := index or _load(folder, paper, made_from):
                    continue
                shutil.rmtree(folder, ignore_errors=True)
            if index is None:
                # A name of its own each time: Chroma remembers a folder whose database it once failed to open.
                folder = index_folder() / f"{paper.id}-{key}-{uuid.uuid4().hex[:8]}"
                _build(folder, paper, pdf, embedder, made_from, progress)
                index = _load(folder, paper, made_from)
                if index is None:
                    raise RuntimeError(f"the index just built in {folder} does not answer")
            os.utime(index.folder)
            _forget_old(paper, index.folder)
            return index
    except Timeout as error:
        raise InputError(
            "Another process has been building the index for minutes. Stop it, or wait and ask again."
        ) from error
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> InputError:
    if error.errno == errno.ENOSPC:
        return InputError(
            f"There is no disk space left for the index in {index_folder()}. Free some, or set QLORA_CACHE."
        )
    return InputError(
        f"The index cannot be kept in {index_folder()}: {error.strerror}. Set QLORA_CACHE to another folder."
    )


def _load(folder: Path, paper: Paper, made_from: dict) -> Index | None:
    """The index in ``folder``, or None when it was made from something else or does not answer."""
    try:
        if json.loads((folder / "manifest.json").read_text(encoding="utf-8")) != made_from:
            return None
        stored = json.loads((folder / "passages.json").read_text(encoding="utf-8"))
        chunks = [Chunk.from_record(record) for record in stored["passages"]]
        index = Index(
            paper,
            chunks,
            stored["abbreviations"],
            made_from["pdf_sha256"] is not None,
            {int(key): value for key, value in stored["rewordings"].items()},
            stored["sentence_chunk"],
            [tuple(pair) for pair in stored["sentence_of"]],
            _client(folder / "chroma"),
            folder,
        )
        probe = np.zeros(MiniLM.dimension, dtype=np.float32)
        probe[0] = 1.0
        counts = [
            index.client.get_collection(name, embedding_function=None).count() for name in ("passages", "sentences")
        ]
        index.nearest("sentences", probe, 1)
        index.nearest("passages", probe, 1)
        return index if counts == [len(chunks), len(index.sentence_of)] else None
    except Exception:  # whatever is wrong with a disposable index, the cure is the same: build it again
        _close(folder / "chroma")
        return None


def _client(path: Path):
    """The process' one client for this folder; Chroma allows no second one with other settings."""
    import chromadb

    with _clients_lock:
        if path not in _clients:
            if not (path / "chroma.sqlite3").is_file():
                raise FileNotFoundError(path)
            _clients[path] = chromadb.PersistentClient(path, settings=chromadb.Settings(anonymized_telemetry=False))
        return _clients[path]


def _close(path: Path) -> None:
    with _clients_lock:
        if client := _clients.pop(path, None):
            client.close()


def read_sources(paper: Paper, pdf: Path | None) -> tuple[list[Page], list[Page]]:
    """Pages of the paper (none without a PDF) and of the notes."""
    return (read_pdf(pdf) if pdf else []), read_notes(paper.notes)


def _build(folder: Path, paper: Paper, pdf: Path | None, embedder: MiniLM, made_from: dict, progress) -> None:
    import chromadb
    from chromadb.errors import ChromaError

    free = shutil.disk_usage(index_folder()).free
    if free < NEEDED_BYTES:
        raise InputError(
            f"The index needs {NEEDED_BYTES // 2**20} MiB in {index_folder()}, and {free // 2**20} MiB are free. "
            "Free some disk space, or set QLORA_CACHE to another folder."
        )
    paper_pages, notes_pages = read_sources(paper, pdf)
    chunks = chunk_pages(paper_pages, paper.id) + chunk_pages(notes_pages, paper.id)
    sentence_of = sentences_to_embed(chunks, has_pdf=bool(pdf))
    passages, sentences = vectors_of(chunks, sentence_of, embedder, progress)
    rewordings = find_rewordings(chunks, passages, {page.pdf_page: page.raw_text for page in paper_pages})
    target = {note: chunk for chunk, notes in rewordings.items() for note in notes}
    temporary = Path(tempfile.mkdtemp(dir=index_folder(), prefix=".building-"))
    try:
        client = chromadb.PersistentClient(temporary / "chroma", settings=chromadb.Settings(anonymized_telemetry=False))
        for name, rows in (("passages", passages), ("sentences", sentences)):
            collection = client.create_collection(
                name, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
            )
            for start in range(0, len(rows), 1000):
                piece = rows[start : start + 1000]
                collection.add(ids=[str(start + i) for i in range(len(piece))], embeddings=piece)
        client.close()
        stored = {
            "passages": [chunk.record() for chunk in chunks],
            "abbreviations": abbreviations(" ".join(chunk.text for chunk in chunks)),
            "rewordings": rewordings,
            "sentence_chunk": [target.get(number, number) for number, _ in sentence_of],
            "sentence_of": sentence_of,
        }
        (temporary / "passages.json").write_text(json.dumps(stored, ensure_ascii=False), encoding="utf-8")
        (temporary / "manifest.json").write_text(json.dumps(made_from, indent=1), encoding="utf-8")
        os.replace(temporary, folder)
    except (sqlite3.Error, ChromaError) as error:
        raise InputError(
            f"The index cannot be written to {index_folder()}: {error}. Free some disk space, or set QLORA_CACHE."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _forget_old(paper: Paper, current: Path) -> None:
    """Indexes of earlier copies of the paper: a few are kept, since a PDF may come and go."""
    others = [path for path in index_folder().glob(f"{paper.id}-*") if path.is_dir() and path != current]
    for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT - 1 :]:
        _close(path / "chroma")
        shutil.rmtree(path, ignore_errors=True)
