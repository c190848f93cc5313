"""Where the project keeps what it makes outside the repository, and how a folder of files gets to its place."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def cache_dir() -> Path:
    """Folder for what can be made again (converted demo models, the search index): ``$QLORA_CACHE``, else
    ``$XDG_CACHE_HOME/qlora``, else ``~/.cache/qlora``. The folder is not created here."""
    if explicit := os.environ.get("QLORA_CACHE"):
        return Path(explicit).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "qlora"


def runs_dir() -> Path:
    """Folder for training runs started from the page: ``$QLORA_RUNS``, else ``$XDG_DATA_HOME/qlora/runs``, else
    ``~/.local/share/qlora/runs``. Runs are a user's work, so they are never under the cache and ``make clean`` keeps
    them."""
    if explicit := os.environ.get("QLORA_RUNS"):
        return Path(explicit).expanduser()
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "qlora" / "runs"


@contextlib.contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder` to write to, which gets that name when the block ends: nobody ever finds a part
    of the files there. After an error nothing is left of it.

    Args:
        folder: to be; at the end of the block it must not exist, or be empty.

    Raises:
        OSError: it cannot be written, or there is something at the end of the block.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        yield part
        os.chmod(part, 0o755)  # a temporary folder is for its user alone
        os.rename(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)  # gone already when all went well
