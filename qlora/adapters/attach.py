"""Putting adapters on every linear layer of a model."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from qlora.config import AdapterConfig
from qlora.errors import InputError
from qlora.layers.lora_linear import LoraLinear
from qlora.layers.quantized_linear import QuantizedLinear


def attach(model: nn.Module, config: AdapterConfig, *, dtype: torch.dtype, seed: int = 0) -> list[str]:
    """Freeze `model` and put a LoRA adapter on each of its linear layers but the output head.

    All linear layers, because that is what the paper found necessary to match full finetuning (section 4, figure 2).

    Args:
        model: changed in place.
        config: rank, alpha and dropout.
        dtype: of the adapters.
        seed: of lora_A's initial values.

    Returns:
        The names of the layers that got one, in the order of the model.

    Raises:
        InputError: the model has no linear layer to put one on, or has adapters already.
    """
    if any(True for _ in adapted_layers(model)):
        raise InputError("The model has adapters already: load the base model again to start from a fresh one.")
    head = getattr(model, "get_output_embeddings", lambda: None)()
    names = [
        name
        for name, module in model.named_modules()
        if (isinstance(module, QuantizedLinear) or type(module) is nn.Linear) and module is not head
    ]
    if not names:
        raise InputError(f"{type(model).__name__} has no linear layer that an adapter could be put on.")
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name in names:
        adapted = LoraLinear(
            model.get_submodule(name),
            config.r,
            config.alpha,
            dropout=config.dropout,
            dtype=dtype,
            generator=generator,
        )
        model.set_submodule(name, adapted)
    return names


def adapted_layers(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """Names and modules of the layers that carry an adapter."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, LoraLinear))


def adapter_parameters(model: nn.Module) -> list[nn.Parameter]:
    """lora_A and lora_B of every layer, in the order of the model."""
    return [p for _, layer in adapted_layers(model) for p in (layer.lora_A, layer.lora_B)]


@contextmanager
def adapters_disabled(model: nn.Module) -> Iterator[None]:
    """Inside, the model is the base model; adapters are as before afterwards."""
    layers = [layer for _, layer in adapted_layers(model)]
    before = [layer.enabled for layer in layers]
    for layer in layers:
        layer.enabled = False
    try:
        yield
    finally:
        for layer, enabled in zip(layers, before, strict=True):
            layer.enabled = enabled
