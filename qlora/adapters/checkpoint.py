"""Adapters as PEFT's files: ``adapter_config.json`` and ``adapter_model.safetensors``."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qlora.adapters import peft_config, source
from qlora.adapters.attach import (
    active_adapter,
    adapter_names,
    add_adapter,
    check_name,
    delete_adapter,
    factors_of,
    linear_layers,
    trained_copies,
)
from qlora.adapters.peft_config import CONFIG_NAME, PICKLE_NAME, WEIGHTS_NAME
from qlora.errors import InputError
from qlora.folders import written_whole
from qlora.layers.lora_linear import DEFAULT_NAME

_PREFIX = "base_model.model."


def save_adapter(
    model: nn.Module, folder: Path, *, base_model: str, name: str | None = None, task: str = "causal"
) -> None:
    """Write one adapter of `model` so that PEFT (and `load_adapter`) can load it.

    The files are written to a folder beside and moved into place, so `folder` holds the old adapter or the new one,
    never a part of one.

    Args:
        model: with adapters attached.
        folder: to write to; an adapter that is there is replaced.
        base_model: name or folder of the base model, for the configuration.
        name: of the adapter; None is the active one. The files do not hold it, so it may be loaded under another.
        task: "causal", "seq2seq" or "classification", for the configuration.

    Raises:
        InputError: the model has no such adapter (the file would be empty), `folder` holds something else, or the disk
            is full or not writable.
    """
    from safetensors.torch import save_file

    name = name or active_adapter(model)
    tensors = adapter_tensors(model, name) if name else {}
    if not tensors:
        known = adapter_names(model)
        why = f"no adapter {name!r}, only {', '.join(known)}" if known else "no adapters"
        raise InputError(f"The model has {why}, so there is nothing to save: attach them first.")
    if folder.exists() and any(folder.iterdir()) and not (folder / CONFIG_NAME).exists():
        raise InputError(f"The folder {folder} holds something other than an adapter: name another folder.")
    config = peft_config.written(
        factors_of(model, name),
        target_modules=_target_modules(model, name),
        modules_to_save=[module for module, _ in trained_copies(model, name)],
        base_model=base_model,
        task=task,
    )
    try:
        with written_whole(folder) as part:
            (part / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            save_file(tensors, part / WEIGHTS_NAME, metadata={"format": "pt"})
            if folder.exists():
                shutil.rmtree(folder)
    except OSError as error:
        raise InputError(f"The adapter cannot be written to {folder}: {error}") from None


def load_adapter(
    model: nn.Module, adapter: Path | str, *, dtype: torch.dtype = torch.float32, name: str = DEFAULT_NAME
) -> None:
    """Put an adapter (ours or PEFT's) on a model, under a name, and make it the active one.

    Which layers it is for is read from the tensors, so every way of PEFT to choose layers is understood.

    Args:
        model: the base model, with or without other adapters; unchanged when an error is raised.
        adapter: its folder; a text may also name one on the hub (``owner/adapter``).
        dtype: of the adapter's parameters.
        name: to give it.

    Raises:
        InputError: as `source.locate`; a file is missing or damaged, or a pickle; the adapter is of another kind, or
            uses an option of PEFT that we do not have (it is named); it does not fit the model; the name is taken.
    """
    check_name(model, name)
    folder = source.locate(adapter)
    config, tensors = _read(folder)
    settings, whole = peft_config.read(config, folder)
    tensors = {key.removeprefix(_PREFIX): tensor for key, tensor in tensors.items()}
    layers = {key.rpartition(".lora_")[0] for key in tensors if key.endswith((".lora_A.weight", ".lora_B.weight"))}
    known = linear_layers(model)
    # PEFT takes every module whose name ends in one of these, and a copy of the outermost where they nest.
    copied: list[str] = []
    for module, _ in model.named_modules():
        if module.endswith(tuple(whole)) and not module.startswith(tuple(f"{outer}." for outer in copied)):
            copied += [module] if any(key.startswith(f"{module}.") for key in tensors) else []
    inside = tuple(f"{module}." for module in copied)
    for key in sorted(tensors):
        if key.rpartition(".lora_")[0] not in known and not key.startswith(inside):
            raise _misfit(folder, f"it has {_PREFIX}{key}, which the model lacks")
    add_adapter(model, [n for n in known if n in layers], copied, settings, dtype=dtype, name=name)
    try:
        _copy(tensors, adapter_tensors(model, name, prefix=""), folder)
    except InputError:
        delete_adapter(model, name)
        raise


def adapter_tensors(model: nn.Module, name: str, prefix: str = _PREFIX) -> dict[str, torch.Tensor]:
    """The tensors of the adapter `name` by their keys in PEFT's file; empty without such an adapter.

    Returns:
        lora_A (r, in) and lora_B (out, r) of each layer, and the parameters of each module that is trained whole. They
        are on their device and share memory with the model.
    """
    tensors = {}
    for layer_name, factors in factors_of(model, name).items():
        tensors[f"{prefix}{layer_name}.lora_A.weight"] = factors.lora_A.detach()
        tensors[f"{prefix}{layer_name}.lora_B.weight"] = factors.lora_B.detach()
    for module_name, module in trained_copies(model, name):
        tensors |= {f"{prefix}{module_name}.{key}": tensor for key, tensor in module.state_dict().items()}
    return tensors


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    missing = [file for file in (CONFIG_NAME, WEIGHTS_NAME) if not (folder / file).exists()]
    if WEIGHTS_NAME in missing and (folder / PICKLE_NAME).exists():
        raise InputError(
            f"{folder / PICKLE_NAME} is a pickle file, which can run code when it is read: save the adapter as "
            f"{WEIGHTS_NAME}, with PEFT's save_pretrained, where you trust it."
        )
    if missing:
        raise InputError(f"There is no adapter in {folder}: {' and '.join(missing)} missing.")
    try:
        config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS_NAME)
    except (json.JSONDecodeError, SafetensorError, UnicodeDecodeError) as error:
        raise InputError(f"The adapter in {folder} is damaged: {error}") from None
    if not isinstance(config, dict):
        raise InputError(f"The adapter in {folder} is damaged: {CONFIG_NAME} must hold an object.")
    if not tensors:
        raise InputError(f"The adapter in {folder} is empty: {WEIGHTS_NAME} holds no tensor, so nothing was trained.")
    return config, tensors


def _copy(tensors: dict[str, torch.Tensor], targets: dict[str, torch.Tensor], folder: Path) -> None:
    if unknown := sorted(tensors.keys() - targets.keys()):
        raise _misfit(folder, f"it has {_PREFIX}{unknown[0]}, which the model lacks")
    if absent := sorted(targets.keys() - tensors.keys()):
        raise _misfit(folder, f"{_PREFIX}{absent[0]} is missing")
    for key, target in targets.items():
        got, expected = tuple(tensors[key].shape), tuple(target.shape)
        if got != expected:
            raise _misfit(folder, f"{_PREFIX}{key} has shape {got}, expected {expected}")
        if not tensors[key].isfinite().all():
            raise InputError(f"The adapter in {folder} is damaged: {_PREFIX}{key} holds values that are not finite.")
    for key, target in targets.items():
        target.copy_(tensors[key])


def _misfit(folder: Path, reason: str) -> InputError:
    return InputError(f"The adapter in {folder} does not fit the model: {reason}.")


def _target_modules(model: nn.Module, name: str) -> list[str]:
    """What PEFT finds the adapted layers by: the last parts of their names, or the whole names where a last part also
    fits another module."""
    adapted = set(factors_of(model, name))
    ends = {layer.rpartition(".")[2] for layer in adapted}
    whole = tuple(f"{module}." for module, _ in trained_copies(model, name))
    fitting = {n for n, _ in model.named_modules() if n.rpartition(".")[2] in ends and not n.startswith(whole)}
    return sorted(ends if fitting == adapted else adapted)
