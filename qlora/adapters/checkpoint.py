"""Adapters as PEFT's files: ``adapter_config.json`` and ``adapter_model.safetensors``."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import torch
from torch import nn

from qlora.adapters.attach import adapted_layers, attach
from qlora.config import AdapterConfig
from qlora.errors import InputError

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def save_adapter(model: nn.Module, folder: Path, *, base_model: str) -> None:
    """Write the adapters of `model` so that PEFT (and `load_adapter`) can load them.

    The files are written to a folder beside and moved into place, so `folder` holds the old adapter or the new one,
    never a part of one.

    Args:
        model: with adapters attached.
        folder: to write to; an adapter that is there is replaced.
        base_model: name or folder of the base model, for the configuration.

    Raises:
        InputError: the model has no adapters (the file would be empty), or the disk is full or not writable.
    """
    from safetensors.torch import save_file

    layers = dict(adapted_layers(model))
    if not layers:
        raise InputError("The model has no adapters, so there is nothing to save: attach them first.")
    first = next(iter(layers.values()))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": first.r,
        "lora_alpha": first.alpha,
        "lora_dropout": first.dropout,
        "target_modules": sorted({name.rpartition(".")[2] for name in layers}),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "use_rslora": False,
    }
    tensors = {}
    for name, layer in layers.items():
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = layer.lora_A.detach().cpu().contiguous()
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = layer.lora_B.detach().cpu().contiguous()
    part = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        (part / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file(tensors, part / WEIGHTS_NAME, metadata={"format": "pt"})
        os.chmod(part, 0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(part, folder)
    except OSError as error:
        raise InputError(f"The adapter cannot be written to {folder}: {error}") from None
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def load_adapter(model: nn.Module, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Attach the adapters in `folder` (ours or PEFT's) to a base model.

    Raises:
        InputError: a file is missing or damaged, the adapter is of another kind, or it does not fit the model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    missing = [name for name in (CONFIG_NAME, WEIGHTS_NAME) if not (folder / name).exists()]
    if missing:
        raise InputError(f"There is no adapter in {folder}: {' and '.join(missing)} missing.")
    try:
        config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS_NAME)
    except (json.JSONDecodeError, SafetensorError, UnicodeDecodeError) as error:
        raise InputError(f"The adapter in {folder} is damaged: {error}") from None
    if config.get("peft_type") != "LORA":
        raise InputError(f"The adapter in {folder} is of type {config.get('peft_type')!r}, expected 'LORA'.")
    attach(model, AdapterConfig(config["r"], config["lora_alpha"], config.get("lora_dropout", 0.0)), dtype=dtype)
    layers = dict(adapted_layers(model))
    expected = {f"{_PREFIX}{name}.lora_{side}.weight": (layer, side) for name, layer in layers.items() for side in "AB"}
    if unknown := sorted(tensors.keys() - expected.keys()):
        raise InputError(f"The adapter in {folder} does not fit the model: it has {unknown[0]}, which the model lacks.")
    if absent := sorted(expected.keys() - tensors.keys()):
        raise InputError(f"The adapter in {folder} does not fit the model: {absent[0]} is missing.")
    for key, (layer, side) in expected.items():
        parameter = layer.lora_A if side == "A" else layer.lora_B
        if parameter.shape != tensors[key].shape:
            raise InputError(
                f"The adapter in {folder} does not fit the model: {key} has shape {tuple(tensors[key].shape)}, "
                f"expected {tuple(parameter.shape)}."
            )
        parameter.data.copy_(tensors[key])
