"""Files that are there whole or not at all, and what they hash to."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from qlora.errors import InputError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary file beside ``target`` that takes its place when all went well and is removed when not.

    Raises:
        InputError: the folder cannot be written to, or there is no room in it.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.stem, suffix=".part")
    except OSError as error:
        raise not_written(target.parent, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise not_written(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def not_written(target: Path, error: OSError) -> InputError:
    return InputError(f"Cannot write {target}: {error.strerror or error}. Free space or set QLORA_CACHE.")


def sha256_of(path: Path) -> str:
    """What the file's bytes hash to; a file is read again only when its size or time of change differ."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
