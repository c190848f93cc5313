"""What transformers runs on each tensor that it reads from a checkpoint, and what is written into one.

Transformers catches what an operation raises, logs it and then fails without naming the tensor. So a tensor that
cannot be used is noted in ``problems``, and the quantizer raises them all once the files are read.
"""

from pathlib import Path

import torch
from torch import nn
from transformers.core_model_loading import ConversionOps, WeightConverter
from transformers.quantizers.quantizers_utils import get_module_from_name

from qlora.errors import InputError
from qlora.layers.lora_linear import LoraLinear
from qlora.layers.quantized_linear import QuantizedLinear
from qlora.layers.trained_copy import TrainedCopy
from qlora.quantization.bitsandbytes_format import CONSTANTS, DESCRIPTIONS, from_checkpoint, to_checkpoint
from qlora.quantization.weight import QuantizedWeight, quantize

_DESCRIPTION = "quant_state"


class QuantizeOnArrival(ConversionOps):
    """Quantizes the weight of a `QuantizedLinear` as it is read.

    Args:
        transposed: names of weights that the file holds as (in, out): those of GPT-2's Conv1D.
        problems: where to note a weight that cannot be used.
    """

    def __init__(self, transposed: set[str], problems: list[str]):
        self._transposed, self._problems = transposed, problems

    def convert(self, input_dict, model=None, **kwargs):
        """{name: weight in 16 or 32 bit} -> {name: codes}; the constants go to the module."""
        converted = {}
        for name, value in input_dict.items():
            value = value[0] if isinstance(value, list) else value
            module, _ = get_module_from_name(model, name)
            if not isinstance(module, QuantizedLinear):  # another part of a matrix that transformers has split
                converted[name] = value
                continue
            try:
                quantized = quantize(
                    value.T if name in self._transposed else value,
                    module.quant_type,
                    block_size=module.block_size,
                    double_quantization=module.double_quantization,
                    name=name,
                )
                converted[name] = _fill(module, quantized, name)
            except ValueError as error:
                self._problems.append(str(error))
        return converted


class ReadQuantized(ConversionOps):
    """Puts the tensors of one quantized weight together; other weights pass through.

    Args:
        problems: where to note a weight that cannot be used.
    """

    def __init__(self, problems: list[str]):
        self._problems = problems

    def __deepcopy__(self, memo):
        return self  # transformers copies its operations for each tensor; what they note must stay in one place

    def convert(self, input_dict, model=None, full_layer_name=None, **kwargs):
        """{pattern of `quantized_weight_reader`: [tensor]} -> {name: codes, or the weight in the model's dtype}."""
        name = full_layer_name
        parts = {_PATTERNS[pattern]: tensors for pattern, tensors in input_dict.items()}
        state = {name + suffix: tensors[0] for suffix, tensors in parts.items()}
        module, _ = get_module_from_name(model, name)
        if not isinstance(module, QuantizedLinear):
            if list(state) == [name]:
                # Read as the file has it, because whether a tensor holds codes is only known here.
                return {name: state[name].to(model.get_parameter_or_buffer(name).dtype)}
            self._problems.append(
                f"{name}: expected a weight that is not quantized ({type(module).__name__}, or named in config.json's "
                f"llm_int8_skip_modules), got one with {', '.join(key for key in state if key != name)}"
            )
            return {}
        try:
            if list(state) == [name] and state[name].shape == module.weight.shape:
                raise ValueError(
                    f"{name}: expected 4-bit codes with their constants, got a tensor of shape "
                    f"{tuple(state[name].shape)} alone: name the layer in config.json's llm_int8_skip_modules"
                )
            return {name: _fill(module, from_checkpoint(state, name), name)}
        except ValueError as error:
            self._problems.append(str(error))
            return {}


# Anchored, because transformers looks for a pattern anywhere in a name; longest first, because it takes the first.
_PATTERNS = {
    **{rf"\bweight\.{start}[\w-]*$".replace("quant_state.", r"quant_state\."): f".{start}" for start in DESCRIPTIONS},
    **{rf"\bweight\.{constant}$": f".{constant}" for constant in CONSTANTS},
    r"\bweight$": "",
}


def quantized_weight_reader(problems: list[str]) -> WeightConverter:
    """What collects a weight's codes, constants and description from the files for `ReadQuantized`."""
    return WeightConverter(list(_PATTERNS), "weight", [ReadQuantized(problems)])


def drop_conversions_of_quantized_weights(model: nn.Module) -> None:
    """Make `save_pretrained` write quantized weights under the model's own names.

    Transformers saves in the layout of the original checkpoint, by undoing what it did while loading. Splitting or
    joining matrices cannot be undone on codes, so those conversions are forgotten; loading finds the model's names.
    """
    names = [f"{name}.weight" for name, module in model.named_modules() if isinstance(module, QuantizedLinear)]

    def undoable(conversion) -> bool:
        if not isinstance(conversion, WeightConverter):
            return True
        if any(isinstance(operation, ReadQuantized) for operation in conversion.operations):
            return False
        reverse = conversion.reverse_transform()
        return not any(reverse.rename_source_key(name)[1] is not None for name in names)

    model._weight_conversions = [c for c in getattr(model, "_weight_conversions", None) or [] if undoable(c)]


def checkpoint_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's state dict with quantized weights under the keys of `bitsandbytes_format`.

    Raises:
        InputError: an adapter is attached; its base layers have other names than the model's.
    """
    adapted = next(
        (name for name, module in model.named_modules() if isinstance(module, LoraLinear | TrainedCopy)), None
    )
    if adapted is not None:
        raise InputError(
            f"{adapted} carries an adapter, which is saved on its own (qlora.adapters.checkpoint): save the base model "
            "before an adapter is attached, or after it is deleted, or merge it."
        )
    state = model.state_dict()
    for name, module in model.named_modules():
        if isinstance(module, QuantizedLinear):
            prefix = f"{name}."
            for key in [key for key in state if key.startswith(prefix) and key != f"{prefix}bias"]:
                del state[key]
            state |= to_checkpoint(module.quantized_weight, f"{prefix}weight")
    return state


def check_expert_layout(model: nn.Module, files: list[str]) -> None:
    """Refuse checkpoints whose experts were quantized one by one, where the model holds them as one tensor.

    Raises:
        InputError: so it is; a tensor is named.
    """
    from safetensors import safe_open

    modules = {name for name, _ in model.named_modules()}
    for file in files:
        if not Path(file).name.endswith(".safetensors"):
            continue
        with safe_open(file, "pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118 (not a dict)
                layer, found, _ = key.partition(f".weight.{_DESCRIPTION}.")
                if found and ".experts." in layer and not any(layer.endswith(name) for name in modules if name):
                    raise InputError(
                        f"{layer}.weight in {Path(file).name} is one expert quantized on its own; expected experts "
                        "in 16 bit, because transformers joins them into one tensor: take the 16-bit model."
                    )


def _fill(module: QuantizedLinear, quantized: QuantizedWeight, name: str) -> nn.Parameter:
    expected = (module.out_features, module.in_features)
    if tuple(quantized.shape) != expected:
        raise ValueError(f"{name}: expected a weight of shape {expected}, got {tuple(quantized.shape)}")
    module.quantized_weight = quantized
    module._is_hf_initialized = True
    return module.weight
