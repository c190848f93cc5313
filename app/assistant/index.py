"""The search index of one paper: passages with their vectors in an embedded Chroma database under the user's cache.

It can always be made again. A manifest beside it says what it was made from (the paper's files, notes, embedding model,
reader, chunker); an index that says something else, or does not answer, is thrown away and rebuilt. It is built in a
folder of its own and moved into place when complete, so a crash or a full disk leaves nothing half-written. Every paper
has an index of its own, so that one can come and go without the others.
"""

import json
import os
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.assistant.alignment import Pieces
from app.assistant.chroma_folder import Client, client_of, entries_of, let_go
from app.assistant.chunking import Chunk, chunk_pages
from app.assistant.embedding import MiniLM
from app.assistant.index_folders import (
    clear_up,
    fingerprint,
    folders_of,
    index_folder,
    key_of,
    locked,
    sources_of,
)
from app.assistant.paper import Paper
from app.assistant.readers.guarded import read_guarded
from app.assistant.readers.notes import read_notes
from app.assistant.readers.page import Page
from app.assistant.terms import abbreviations
from app.assistant.vectors import Known, known_vectors, sentences_to_embed, vectors_of
from app.assistant.vectors import rewordings as find_rewordings
from qlora.errors import InputError

NEEDED_BYTES = 64 * 2**20
"""Free space asked for before building: an index of one paper takes about 30 MiB."""
_KEPT = 4


@dataclass
class Index:
    """Passages and the means to search them.

    ``sentence_chunk[i]`` is the number of the passage that sentence vector ``i`` speaks for: its own, or, for a
    sentence of the notes that only says in other words what the paper says, the paper's passage. ``has_paper`` is False
    for a paper that only its notes speak for. ``page_sizes`` are the width and height in points of the paper's pages,
    where it has any: boxes count from a page's upper left corner.
    """

    paper: Paper
    chunks: list[Chunk]
    abbreviations: dict[str, str]
    has_paper: bool
    page_sizes: dict[int, tuple[float, float]]
    rewordings: dict[int, list[int]]
    sentence_chunk: list[int]
    sentence_of: list[tuple[int, int]]
    pieces: Pieces
    client: Client
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


def forget_index(paper: Paper) -> None:
    """Remove every index of the paper. Who has one open can go on asking it."""
    with locked(paper):
        for folder in list(folders_of(paper)):
            _remove(folder)


def open_index(
    paper: Paper,
    pdf: Path | None,
    embedder: MiniLM,
    progress: Callable[[float], None] = lambda fraction: None,
    anew: bool = False,
    ask: bool = True,
) -> Index:
    """The paper's index, built first where there is none that fits.

    Args:
        paper: one of the manifest or one that was added.
        pdf: of a paper of the manifest; an added paper has its own files.
        embedder: makes the vectors.
        progress: called with the share of the vectors that are computed, 0 to 1; not at all when nothing is built.
        anew: build it even where one fits, which then is removed; who has that one open can go on asking it.
        ask: see whether one that fits answers; without it, whether its database is whole, which takes no import of
            Chroma (most of a second).

    Raises:
        InputError: the paper or its notes cannot be read, or there is no room for the index.
    """
    with locked(paper):
        for path in sources_of(paper, pdf):
            if not path.is_file():
                raise InputError(f"The file of “{paper.title}” is no longer there. Remove the paper and add it again.")
        made_from = fingerprint(paper, pdf, embedder.sha256)
        key = key_of(made_from)
        earlier = list(folders_of(paper, key))
        index = None if anew else next((i for folder in earlier if (i := _load(folder, paper, made_from, ask))), None)
        if index is None:
            # A name of its own each time: Chroma remembers a folder whose database it once failed to open.
            folder = index_folder() / f"{paper.id}-{key}-{uuid.uuid4().hex[:8]}"
            _build(folder, paper, pdf, embedder, made_from, progress, {} if anew else _known(paper, embedder))
            index = _load(folder, paper, made_from, ask=True)
            if index is None:
                raise RuntimeError(f"the index just built in {folder} does not answer")
        for folder in earlier:
            if folder != index.folder:
                _remove(folder)
        os.utime(index.folder)
        _forget_old(paper, index.folder)
        return index


def _load(folder: Path, paper: Paper, made_from: dict, ask: bool) -> Index | None:
    """The index in ``folder``, or None when it was made from something else, is not whole or, if asked, does not
    answer."""
    try:
        if json.loads((folder / "manifest.json").read_text(encoding="utf-8")) != made_from:
            return None
        stored = json.loads((folder / "passages.json").read_text(encoding="utf-8"))
        chunks = [Chunk.from_record(record) for record in stored["passages"]]
        index = Index(
            paper,
            chunks,
            stored["abbreviations"],
            bool(made_from["paper_sha256"]),
            {int(key): tuple(size) for key, size in stored["page_sizes"].items()},
            {int(key): value for key, value in stored["rewordings"].items()},
            stored["sentence_chunk"],
            [tuple(pair) for pair in stored["sentence_of"]],
            Pieces.load(folder),
            client_of(folder / "chroma"),
            folder,
        )
        entries = len(index.sentence_of)
        expected = {"passages": len(chunks), "sentences": entries}
        if len(index.pieces.ends) != entries or entries_of(folder / "chroma") != expected:
            return None
        probe = np.zeros(MiniLM.dimension, dtype=np.float32)
        probe[0] = 1.0
        for name, count in expected.items() if ask else ():
            index.nearest(name, probe, min(1, count))
        return index
    except Exception:  # whatever is wrong with a disposable index, the cure is the same: build it again
        let_go(folder / "chroma")
        return None


def read_sources(paper: Paper, pdf: Path | None) -> tuple[list[Page], list[Page]]:
    """Pages of the paper (none without a file of it) and of the notes (none where it has no notes)."""
    sources = sources_of(paper, pdf)
    pages = read_guarded(sources, paper.first_page).pages if sources else []
    return pages, read_notes(paper.notes) if paper.notes else []


def _known(paper: Paper, embedder: MiniLM) -> Known:
    """Vectors of the sentences in the paper's latest index with this embedding model: of its notes, where its PDF has
    just come; of all that a new reading has left as it was."""
    for folder in sorted(folders_of(paper), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            made_from = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(made_from, dict) and made_from.get("embedder_sha256") == embedder.sha256:
            index = _load(folder, paper, made_from, ask=True)
            if index is not None:
                return known_vectors(index.chunks, index.sentence_of, index.vectors("sentences"), index.pieces)
    return {}


def _build(
    folder: Path,
    paper: Paper,
    pdf: Path | None,
    embedder: MiniLM,
    made_from: dict,
    progress: Callable[[float], None],
    known: Known,
) -> None:
    import chromadb
    from chromadb.errors import ChromaError

    clear_up(paper)
    free = shutil.disk_usage(index_folder()).free
    if free < NEEDED_BYTES:
        raise InputError(
            f"The index needs {NEEDED_BYTES // 2**20} MiB in {index_folder()}, and {free // 2**20} MiB are free. "
            "Free some disk space, or set QLORA_CACHE to another folder."
        )
    with ThreadPoolExecutor(1) as other:  # reading is another process' work, and takes as long as loading the model
        reading = other.submit(read_sources, paper, pdf)
        embedder.load()
        paper_pages, notes_pages = reading.result()
    chunks = chunk_pages(paper_pages, paper.id) + chunk_pages(notes_pages, paper.id)
    if not chunks:
        raise InputError(f"There is no passage in “{paper.title}” that could be found. Add the paper in another form.")
    sentence_of = sentences_to_embed(chunks)
    passages, sentences, pieces = vectors_of(chunks, sentence_of, embedder, progress, known)
    rewordings = find_rewordings(chunks, passages, {page.pdf_page: page.raw_text for page in paper_pages})
    target = {note: chunk for chunk, notes in rewordings.items() for note in notes}
    temporary = Path(tempfile.mkdtemp(dir=index_folder(), prefix=f".building-{paper.id}-"))
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
            "page_sizes": {page.pdf_page: (page.width, page.height) for page in paper_pages if page.width},
            "abbreviations": abbreviations(" ".join(chunk.text for chunk in chunks)),
            "rewordings": rewordings,
            "sentence_chunk": [target.get(number, number) for number, _ in sentence_of],
            "sentence_of": sentence_of,
        }
        pieces.save(temporary)
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
    others = [path for path in folders_of(paper) if path != current]
    for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT - 1 :]:
        _remove(path)


def _remove(folder: Path) -> None:
    let_go(folder / "chroma")
    shutil.rmtree(folder, ignore_errors=True)
