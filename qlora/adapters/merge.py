"""Merging the active adapter into 16-bit weights, saved as a checkpoint that needs nothing of ours.

The adapter was trained beside the *dequantized* weights, so it has learnt to make up for their rounding too; merging
into these gives the model that was trained. Merging into the original 16-bit weights instead gives another model, whose
weights are nearer to the original and whose adapter corrects a rounding that is not there. Merging into 4-bit weights
would round the adapter away, and is not offered.
"""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from qlora.adapters.attach import active_adapter
from qlora.errors import InputError
from qlora.folders import written_whole
from qlora.layers.lora_linear import LoraFactors, LoraLinear
from qlora.layers.quantized_linear import QuantizedLinear
from qlora.layers.trained_copy import TrainedCopy

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def merged_weight(weight: torch.Tensor, factors: LoraFactors, dtype: torch.dtype) -> torch.Tensor:
    """weight + scaling · lora_B · lora_A, computed in fp32 and rounded once.

    Args:
        weight: (out, in), as decoded to fp32.
        factors: lora_A (r, in) and lora_B (out, r).
        dtype: to round to.

    Returns:
        (out, in).
    """
    product = factors.lora_B.detach().float() @ factors.lora_A.detach().float()
    return torch.add(weight.float(), product, alpha=factors.scaling).to(dtype)


def save_merged(
    model: "PreTrainedModel",
    folder: Path,
    *,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    dtype: torch.dtype = torch.bfloat16,
    original: Path | None = None,
    shard_bytes: int = 2**30,
) -> None:
    """Write the model with its active adapter merged, as safetensors of 16 bit that plain transformers loads.

    Weights are decoded, merged and written one after the other, so that beside the 4-bit model no more than one shard
    is in memory. The model itself is not changed. The files are written to a folder beside and moved into place.

    Args:
        model: with an active adapter.
        folder: to write to; it must not exist, or be empty.
        tokenizer: saved beside.
        dtype: of all floating tensors written.
        original: folder of the model's 16-bit safetensors, to merge into these instead of the dequantized weights (the
            note above says what that means).
        shard_bytes: largest file; a tensor that is larger has a file of its own.

    Raises:
        InputError: no adapter is active, `folder` holds something, the original lacks a weight or has it in another
            shape, a value does not fit `dtype`, or the disk is full or not writable.
    """
    if active_adapter(model) is None:
        raise InputError("The model has no active adapter, so there is nothing to merge: load or switch to one first.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already: name a new folder for the merged model.")
    originals = _Originals(original, model.base_model_prefix) if original else None
    shards = _shards(list(_entries(model, _transposed(model), originals)), dtype, shard_bytes)
    try:
        with written_whole(folder) as part:
            _write(shards, part, dtype)
            _write_settings(model, part, dtype)
            if tokenizer is not None:
                tokenizer.save_pretrained(part)
    except OSError as error:
        raise InputError(f"The merged model cannot be written to {folder}: {error}") from None


@dataclass(frozen=True)
class _Entry:
    """A tensor of the checkpoint, made when it is written."""

    name: str
    numel: int
    make: Callable[[], torch.Tensor]


def _entries(model: nn.Module, transposed: set[str], originals: "_Originals | None") -> Iterator[_Entry]:
    """Every tensor of the merged model under the name it has without adapters; tied ones once."""
    seen: set[int] = set()

    def visit(module: nn.Module, name: str) -> Iterator[_Entry]:
        while isinstance(module, TrainedCopy):
            module = module.current
        factors = None
        if isinstance(module, LoraLinear):
            factors, module = module.factors, module.base
        if factors is not None or isinstance(module, QuantizedLinear):
            key = f"{name}.weight"

            def make(linear=module) -> torch.Tensor:
                if originals is not None:
                    weight = originals.read(key, (linear.out_features, linear.in_features), key in transposed)
                elif isinstance(linear, QuantizedLinear):
                    weight = linear.quantized_weight.dequantize(torch.float32)
                else:
                    weight = linear.weight.detach()
                merged = weight if factors is None else merged_weight(weight, factors, torch.float32)
                return merged.T if key in transposed else merged

            yield _Entry(key, module.in_features * module.out_features, make)
            own = [("bias", module.bias)]
        else:
            kept = module.state_dict(keep_vars=True)  # without buffers that are not saved
            own = [(k, kept[k]) for k in kept if "." not in k]
        for own_name, tensor in own:
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                yield _Entry(f"{name}.{own_name}" if name else own_name, tensor.numel(), lambda t=tensor: t.detach())
        if not isinstance(module, QuantizedLinear):
            for child_name, child in module.named_children():
                yield from visit(child, f"{name}.{child_name}" if name else child_name)

    yield from visit(model, "")


def _transposed(model: "PreTrainedModel") -> set[str]:
    """Names of the weights that the model's files hold as (in, out): those of GPT-2's Conv1D."""
    config = _plain_config(model)
    with torch.device("meta"):
        skeleton = type(model)(config)
    return {f"{name}.weight" for name, module in skeleton.named_modules() if type(module).__name__ == "Conv1D"}


def _plain_config(model: "PreTrainedModel"):
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    return config


def _shards(entries: list[_Entry], dtype: torch.dtype, shard_bytes: int) -> list[list[_Entry]]:
    shards: list[list[_Entry]] = [[]]
    filled = 0
    for entry in entries:
        size = entry.numel * dtype.itemsize
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(entry)
        filled += size
    return shards


def _write(shards: list[list[_Entry]], folder: Path, dtype: torch.dtype) -> None:
    from safetensors.torch import save_file

    where, total = {}, 0
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors" if len(shards) > 1 else "model.safetensors"
        tensors = {}
        for entry in shard:
            made = entry.make()
            tensor = made.to("cpu", dtype if made.is_floating_point() else made.dtype).contiguous()
            if not tensor.isfinite().all():
                raise InputError(f"{entry.name} holds a value beyond the range of {dtype}: merge to bfloat16.")
            # Written tensors must not share memory; one that was converted or moved is a copy already.
            tensors[entry.name] = tensor.clone() if tensor.data_ptr() == made.data_ptr() else tensor
            where[entry.name] = file
            total += tensor.nbytes
        save_file(tensors, folder / file, metadata={"format": "pt"})
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _write_settings(model: "PreTrainedModel", folder: Path, dtype: torch.dtype) -> None:
    config = _plain_config(model)
    config.dtype = dtype
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    if model.can_generate() and model.generation_config is not None:
        model.generation_config.save_pretrained(folder)


class _Originals:
    """The 16-bit weights of a checkpoint, each read when it is asked for.

    Args:
        folder: with safetensors.
        prefix: that a checkpoint of the model without its head lacks ("model", "transformer").
    """

    def __init__(self, folder: Path, prefix: str):
        from safetensors import safe_open

        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise InputError(f"There are no safetensors in {folder}: name the folder of the original model.")
        self._folder, self._prefix = folder, f"{prefix}."
        self._opened = [safe_open(file, "pt") for file in files]
        self._places = {key: file for file in self._opened for key in file.keys()}  # noqa: SIM118 (not a dict)

    def read(self, key: str, shape: tuple[int, int], transposed: bool) -> torch.Tensor:
        """The weight `key` as (out, in), which must be `shape`; the file has it transposed for a Conv1D."""
        name = key if key in self._places else key.removeprefix(self._prefix)
        if name not in self._places:
            raise InputError(f"The original model in {self._folder} has no {key}: merge into the dequantized weights.")
        weight = self._places[name].get_tensor(name)
        weight = weight.T if transposed else weight
        if not weight.is_floating_point() or tuple(weight.shape) != shape:
            got = f"{tuple(weight.shape)} of {weight.dtype}"
            raise InputError(f"{key} in {self._folder}: expected a floating weight {shape}, got {got}.")
        return weight
