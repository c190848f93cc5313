"""What a training step takes of the device, measured while it happens, and told to the pager."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from qlora.layers.quantized_linear import QuantizedLinear
from qlora.memory.measure import LiveTensorBytes
from qlora.optimizer.paged_adamw import PagedAdamW


class DevicePressure:
    """Measures the memory of forward and backward passes and makes optimizer pages leave when they need the room.

    On a GPU the allocator's count is read before each layer. On a CPU every tensor of the passes is counted as it is
    made, which is what the allocator would see; the "device" is emulated, its budget is `optimizer.device_budget_mib`.

    Attributes:
        peak: bytes by component (base_model, adapters, gradients, activations, optimizer) at the fullest moment since
            `begin_step`.
        pages_at_peak: pages on the device at that moment.
    """

    def __init__(self, model: nn.Module, optimizer: PagedAdamW):
        self._pager = optimizer.pager
        self._device = optimizer.flat.device
        adapters, gradients = optimizer.flat.nbytes, optimizer.flat_gradient.nbytes
        self._fixed = {
            "base_model": stored_bytes(model) - adapters,
            "adapters": adapters,
            "gradients": gradients,
        }
        self._fixed_bytes = sum(self._fixed.values())
        self._layers = [m for name, m in model.named_modules() if name.rpartition(".")[2].isdigit()]
        self.begin_step()

    @property
    def fixed_bytes(self) -> dict[str, int]:
        """Bytes that are on the device all the time: base_model, adapters and gradients."""
        return dict(self._fixed)

    def begin_step(self) -> None:
        """Forget the peak and tell the pager that no activation is alive."""
        self.peak: dict[str, int] = {}
        self.pages_at_peak = 0
        self._peak_bytes = -1
        self._settle(0)

    @contextmanager
    def passes(self) -> Iterator[None]:
        """Around one forward and backward pass."""
        if self._device.type == "cpu":
            with LiveTensorBytes(on_growth=self._settle):
                yield
        else:
            hooks = [layer.register_forward_pre_hook(lambda *_: self._read_allocator()) for layer in self._layers]
            try:
                yield
            finally:
                for hook in hooks:
                    hook.remove()
            self._read_allocator(torch.cuda.max_memory_allocated(self._device))
            torch.cuda.reset_peak_memory_stats(self._device)
        self._settle(0)

    def after_update(self) -> None:
        """After the optimizer's step, when no activation is alive but more pages may be on the device."""
        self._settle(0)

    def _read_allocator(self, allocated: int | None = None) -> None:
        if allocated is None:
            allocated = torch.cuda.memory_allocated(self._device)
        self._settle(max(0, allocated - self._fixed_bytes - self._pager.resident_bytes))

    def _settle(self, activations: int) -> None:
        self._pager.set_other_bytes(self._fixed_bytes + activations)
        total = self._fixed_bytes + activations + self._pager.resident_bytes
        if total > self._peak_bytes:
            self._peak_bytes = total
            self.peak = {**self._fixed, "activations": activations, "optimizer": self._pager.resident_bytes}
            self.pages_at_peak = len(self._pager.resident_pages)


def stored_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers of `model`, each storage counted once (tied weights, shared codebooks)."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def parameter_count(model: nn.Module) -> int:
    """Parameters of `model`, a quantized weight counted by its weights and not by its bytes."""
    packed = {id(m.weight): m.in_features * m.out_features for m in model.modules() if isinstance(m, QuantizedLinear)}
    return sum(packed.get(id(p), p.numel()) for p in model.parameters())
