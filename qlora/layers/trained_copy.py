"""A module that an adapter trains whole."""

import copy
from typing import Any

import torch
from torch import nn

from qlora.layers.lora_linear import LoraLinear
from qlora.layers.quantized_linear import QuantizedLinear


class TrainedCopy(nn.Module):
    """A module of which each adapter trains a copy of its own, as PEFT does for its ``modules_to_save``.

    It is for what low rank does not suit: the head of a classifier, which starts at random.

    Args:
        base: copied for each adapter and frozen itself; it holds no quantized weight and no adapter.
        name: of the first adapter, which becomes the active one.
        dtype: of the copies; the output keeps the dtype of `base`'s.

    Attributes:
        base: the frozen module.
        adapters: copies by the name of their adapter.
        active: as in `LoraLinear`.

    Raises:
        ValueError: `base` holds a quantized weight, which cannot be trained, or an adapter.
    """

    def __init__(self, base: nn.Module, name: str, dtype: torch.dtype):
        super().__init__()
        if any(isinstance(module, QuantizedLinear) for module in base.modules()):
            raise ValueError("base: it is quantized, and a quantized weight cannot be trained")
        if any(isinstance(module, LoraLinear) for module in base.modules()):
            raise ValueError("base: another adapter has low-rank factors inside it")
        self.base = base.requires_grad_(False)
        self.adapters = nn.ModuleDict()
        self.active: str | None = name
        self.add(name, dtype)

    def add(self, name: str, dtype: torch.dtype) -> None:
        """Put a fresh copy for another adapter beside; the active one stays active.

        Raises:
            ValueError: there is a copy of this name.
        """
        if name in self.adapters:
            raise ValueError(f"name: this module has a copy for the adapter {name!r} already")
        self.adapters[name] = copy.deepcopy(self.base).to(dtype).requires_grad_(True)

    @property
    def current(self) -> nn.Module:
        """The active adapter's copy, or the frozen module where it has none."""
        return self.adapters[self.active] if self.active in self.adapters else self.base  # noqa: SIM401 (no `get`)

    @property
    def weight(self) -> torch.Tensor:
        """Of the module in use, where it has one; some models look at the weight of their head or embeddings."""
        return self.current.weight

    def forward(self, x: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        """What the module in use makes of x (…), computed in that module's dtype, in x's dtype."""
        parameter = next(self.current.parameters())
        if x.is_floating_point() and parameter.dtype != x.dtype:
            return self.current(x.to(parameter.dtype), *arguments, **options).to(x.dtype)
        return self.current(x, *arguments, **options)
