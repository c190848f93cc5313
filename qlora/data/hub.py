"""Data files of a dataset on the Hugging Face hub."""

import fnmatch
import re
from pathlib import Path

from qlora import hub
from qlora.errors import InputError

_NAME = re.compile(r"(?P<dataset>[\w.-]+/[\w.-]+)(?::(?P<files>.+))?")
_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
# Descriptions of a dataset that lie beside its data.
_NOT_DATA = ("dataset_infos.json", "dataset_dict.json", "state.json", "config.json")


def is_hub_name(path: str) -> bool:
    """Whether `path` has the form ``owner/dataset`` or ``owner/dataset:file`` and is not plainly a local file."""
    match = _NAME.fullmatch(path)
    return bool(match) and not path.startswith(".") and Path(match["dataset"]).suffix.lower() not in _SUFFIXES


def download(name: str) -> list[Path]:
    """Fetch the data files of a dataset into the hub's own cache; its code, if it has any, is never run.

    Args:
        name: ``owner/dataset`` takes the files of its training split: those with "train" in their path, or its only
            data file. ``owner/dataset:file`` takes one file, ``owner/dataset:data/*.parquet`` those that match.

    Returns:
        The files on this machine, in the order of their names.

    Raises:
        InputError: no network, no such dataset or file, or more than one candidate; one sentence says which.
    """
    import huggingface_hub
    from huggingface_hub import errors

    match = _NAME.fullmatch(name)
    dataset, wanted = match["dataset"], match["files"]
    online = hub.reachable()
    with hub.in_words("dataset", dataset, "file"):
        if wanted is not None and not any(c in wanted for c in "*?["):
            chosen = [wanted]  # not listed first: a file that is in the cache needs no network
        elif online:
            files = huggingface_hub.HfApi().list_repo_files(dataset, repo_type="dataset")
            chosen = choose_files(dataset, files, wanted)
        else:
            raise hub.no_network("dataset", dataset, "file")
        try:
            return [
                Path(huggingface_hub.hf_hub_download(dataset, file, repo_type="dataset", local_files_only=not online))
                for file in chosen
            ]
        except errors.RemoteEntryNotFoundError:
            raise InputError(f"The dataset {dataset} has no file {wanted}.") from None


def choose_files(dataset: str, files: list[str], pattern: str | None) -> list[str]:
    """Which of a dataset's `files` to train on; see `download`.

    Raises:
        InputError: none, or it cannot be told which.
    """
    files = sorted(f for f in files if f.lower().endswith(_SUFFIXES) and Path(f).name not in _NOT_DATA)
    shown = ", ".join(files[:6]) + (", …" if len(files) > 6 else "")
    if pattern is not None:
        chosen = fnmatch.filter(files, pattern)
        if not chosen:
            raise InputError(f"No data file of {dataset} matches {pattern}: it has {shown or 'none'}.")
        return chosen
    if not files:
        raise InputError(f"The dataset {dataset} has no JSONL, JSON, CSV or Parquet file.")
    training = [f for f in files if re.search(r"(?<![a-z])train", f.lower())]
    chosen = training or files
    parts = {re.sub(r"-\d{5}-of-\d{5}", "", f) for f in chosen}  # the pieces of one split count once
    if len(parts) > 1:
        raise InputError(
            f"The dataset {dataset} has several data files ({shown}): name one, as in {dataset}:{chosen[0]}."
        )
    return chosen
