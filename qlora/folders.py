"""Where the project keeps what it makes outside the repository."""

import os
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
