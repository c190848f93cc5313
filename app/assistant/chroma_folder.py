"""Chroma's database in one folder: its client, opened late and closed when nobody holds it, and what it stores."""

import sqlite3
import threading
import weakref
from contextlib import closing
from functools import cached_property
from pathlib import Path

_clients: "dict[Path, Client]" = {}
_clients_lock = threading.Lock()


def entries_of(path: Path) -> dict[str, int]:
    """Name of a collection -> how many entries it has, from Chroma's own file.

    Raises:
        sqlite3.Error: the file is missing or damaged.
    """
    with closing(sqlite3.connect(f"{(path / 'chroma.sqlite3').as_uri()}?mode=ro", uri=True)) as database:
        ((sound,),) = database.execute("PRAGMA quick_check(1)")
        if sound != "ok":
            raise sqlite3.DatabaseError(sound)
        return dict(
            database.execute(
                "SELECT collections.name, count(embeddings.id) FROM collections "
                "JOIN segments ON segments.collection = collections.id AND segments.scope = 'METADATA' "
                "LEFT JOIN embeddings ON embeddings.segment_id = segments.id GROUP BY collections.name"
            )
        )


class Client:
    """Chroma's client of one folder, opened with the first question. It is closed when nobody holds it any more, so
    that a question under way still gets its answer from an index that has just been replaced or removed."""

    def __init__(self, path: Path):
        self._path = path
        self._opening = threading.Lock()

    def get_collection(self, name: str, embedding_function: None):
        with self._opening:
            chroma = self._chroma
        return chroma.get_collection(name, embedding_function=embedding_function)

    @cached_property
    def _chroma(self):
        import chromadb

        chroma = chromadb.PersistentClient(self._path, settings=chromadb.Settings(anonymized_telemetry=False))
        weakref.finalize(self, chroma.close).atexit = False
        return chroma


def client_of(path: Path) -> Client:
    """The process' one client for this folder; Chroma allows no second one with other settings."""
    with _clients_lock:
        if path not in _clients:
            _clients[path] = Client(path)
        return _clients[path]


def let_go(path: Path) -> None:
    with _clients_lock:
        _clients.pop(path, None)
