"""Where an adapter is: a folder, or a repository on the hub of which the adapter's two files alone are fetched."""

from pathlib import Path

from qlora import hub
from qlora.adapters.peft_config import CONFIG_NAME, PICKLE_NAME, WEIGHTS_NAME
from qlora.errors import InputError


def locate(adapter: Path | str) -> Path:
    """The folder of an adapter.

    Args:
        adapter: a folder, or as a text also ``owner/adapter`` on the hub. A `Path` is never looked for there, so that
            the adapter of a run that has none is not taken from a stranger of the same name.

    Raises:
        InputError: there is no such folder or repository, no network, or the repository lacks a file.
    """
    folder = Path(adapter).expanduser()
    if isinstance(adapter, Path) or folder.exists() or not hub.is_name(adapter):
        return folder
    import huggingface_hub

    with hub.in_words("adapter", adapter, "folder"):
        fetched = huggingface_hub.snapshot_download(
            adapter, allow_patterns=[CONFIG_NAME, WEIGHTS_NAME], local_files_only=not hub.reachable()
        )
    missing = [name for name in (CONFIG_NAME, WEIGHTS_NAME) if not (Path(fetched) / name).exists()]
    if missing:
        raise InputError(
            f"The repository {adapter} on the hub is no adapter that can be used: it has no {' and no '.join(missing)} "
            f"({PICKLE_NAME}, a pickle file, which can run code when it is read, is never fetched)."
        )
    return Path(fetched)
