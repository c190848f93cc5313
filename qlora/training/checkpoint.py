"""Checkpoints of a run: all that it needs to go on exactly where it was.

A checkpoint is a folder ``checkpoints/step-40`` of the run's:

    adapter/               PEFT's files, as at the end of a run
    state.safetensors      trained parameters, optimizer state, states of the random generators
    state.json             step, place in the data, which optimizer pages were on the device

It is written under another name and moved into place when all of it is on the disk: a folder of that name is whole.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qlora.adapters.checkpoint import save_adapter
from qlora.config import ModelConfig
from qlora.data.batches import Batches
from qlora.errors import InputError
from qlora.events import CHECKPOINTS_FOLDER
from qlora.optimizer.paged_adamw import PagedAdamW
from qlora.training.randomness import generator_states, set_generator_states

_NAME = "step-"
_PART = ".part-"
_TENSORS = "state.safetensors"
_STATE = "state.json"
_GENERATORS = ("generator.cpu", "generator.cuda")


def save(
    run: Path,
    *,
    step: int,
    model: nn.Module,
    model_config: ModelConfig,
    optimizer: PagedAdamW,
    batches: Batches,
    progress: dict[str, Any],
    keep: int,
) -> Path:
    """Write the checkpoint of `step` and remove all but the newest `keep`.

    Args:
        run: folder of the run.
        step: finished steps.
        model: with its adapter attached.
        model_config: for the adapter's files.
        optimizer, batches: whose state to keep.
        progress: whatever else the loop counts; plain data.
        keep: at least 1.

    Returns:
        The checkpoint's folder.

    Raises:
        InputError: the disk is full or not writable. Earlier checkpoints are as they were.
    """
    from safetensors.torch import save_file

    place = run / CHECKPOINTS_FOLDER / f"{_NAME}{step}"
    part = run / CHECKPOINTS_FOLDER / f"{_PART}{step}"
    saved = optimizer.state_dict()
    tensors = {f"optimizer.{name}": tensor for name, tensor in saved.pop("tensors").items()}
    tensors["parameters"] = optimizer.flat.detach().cpu()
    tensors.update(zip(_GENERATORS, generator_states(optimizer.flat.device), strict=False))
    state = {"step": step, "optimizer": saved, "batches": batches.state(), "progress": progress}
    try:
        _clear(run)
        part.mkdir(parents=True)
        save_adapter(model, part / "adapter", base_model=model_config.name, task=model_config.task)
        save_file(tensors, part / _TENSORS)
        (part / _STATE).write_text(json.dumps(state), encoding="utf-8")
        for file in [*part.rglob("*"), part]:
            _to_disk(file)
        if place.exists():
            shutil.rmtree(place)
        os.rename(part, place)
        _to_disk(place.parent)
        for old in _steps(run)[:-keep]:
            shutil.rmtree(run / CHECKPOINTS_FOLDER / f"{_NAME}{old}")
    except OSError as error:
        raise InputError(f"The checkpoint cannot be written to {place}: {error.strerror or error}.") from None
    return place


def latest(run: Path) -> Path | None:
    """The newest checkpoint of the run in `run`, or None."""
    steps = _steps(run)
    return run / CHECKPOINTS_FOLDER / f"{_NAME}{steps[-1]}" if steps else None


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix(_NAME))


def restore(checkpoint: Path, *, optimizer: PagedAdamW, batches: Batches) -> tuple[int, dict[str, Any]]:
    """Take up a checkpoint: trained parameters, optimizer state and pages, random generators, place in the data.

    Args:
        checkpoint: folder that `save` returned.
        optimizer: over the same parameters.
        batches: of the same data.

    Returns:
        The finished steps, and `progress` as it was given to `save`.

    Raises:
        InputError: a file is missing or damaged, or belongs to another adapter or to other data.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(checkpoint / _TENSORS)
        state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
        parameters = tensors["parameters"]
        step, saved, progress = state["step"], state["optimizer"], state["progress"]
        position = state["batches"]
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise InputError(
            f"The checkpoint {checkpoint} is damaged ({error}): remove that folder to resume from the one before it."
        ) from None
    if parameters.shape != optimizer.flat.shape or parameters.dtype != optimizer.flat.dtype:
        raise InputError(
            f"The checkpoint {checkpoint} holds {parameters.numel()} trained values of {parameters.dtype}, this run "
            f"{optimizer.flat.numel()} of {optimizer.flat.dtype}: resume with the settings of the first run."
        )
    batches.restore(position)
    optimizer.load_state_dict({**saved, "tensors": _of("optimizer.", tensors)})
    with torch.no_grad():
        optimizer.flat.copy_(parameters)
    set_generator_states(optimizer.flat.device, [tensors[name] for name in _GENERATORS if name in tensors])
    return step, progress


def _of(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _steps(run: Path) -> list[int]:
    names = [path.name.removeprefix(_NAME) for path in (run / CHECKPOINTS_FOLDER).glob(f"{_NAME}*")]
    return sorted(int(name) for name in names if name.isdigit())


def _clear(run: Path) -> None:
    """Remove what a write that was cut short has left."""
    for part in (run / CHECKPOINTS_FOLDER).glob(f"{_PART}*"):
        shutil.rmtree(part)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
