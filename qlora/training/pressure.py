"""What a training step takes of the device, measured while it happens, and told to the pager."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from qlora import events
from qlora.layers.quantized_linear import QuantizedLinear
from qlora.memory.measure import LiveTensorBytes
from qlora.optimizer.paged_adamw import PagedAdamW
from qlora.paging.page import Arrival, Move
from qlora.training.randomness import generator_states, set_generator_states

T = TypeVar("T")


class DevicePressure:
    """Measures the memory of forward and backward passes and makes optimizer pages leave when they need the room.

    On a GPU the allocator is read before each layer. Pages leave when what is left would not hold as much again as any
    layer has taken yet; what the device holds is `optimizer.device_budget_mib`, or all that this process can get. On a
    CPU every tensor of the passes is counted as it is made, which is what the allocator would see; the "device" is
    emulated, and without a budget nothing leaves.

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
        self._growth = 0  # the most that a layer has taken
        self._last = 0
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
        if self._device.type == "cuda":
            self._pager.capacity_bytes = attainable_bytes(self._device)
        self._settle(0)

    @contextmanager
    def passes(self) -> Iterator[None]:
        """Around one forward and backward pass."""
        if self._device.type == "cpu":
            with LiveTensorBytes(on_growth=self._settle):
                yield
        else:
            self._last = 0
            hooks = [layer.register_forward_pre_hook(lambda *_: self._read_allocator()) for layer in self._layers]
            try:
                yield
            finally:
                for hook in hooks:
                    hook.remove()
            self._note(self._activations(torch.cuda.max_memory_allocated(self._device)))
            torch.cuda.reset_peak_memory_stats(self._device)
        self._settle(0)

    def after_update(self) -> None:
        """After the optimizer's step, when no activation is alive but more pages may be on the device."""
        self._settle(0)

    def _read_allocator(self) -> None:
        activations = self._activations(torch.cuda.memory_allocated(self._device))
        self._growth = max(self._growth, activations - self._last)
        self._settle(activations, self._growth)
        self._last = activations

    def _activations(self, allocated: int) -> int:
        return max(0, allocated - self._fixed_bytes - self._pager.resident_bytes)

    def _settle(self, activations: int, headroom: int = 0) -> None:
        self._pager.set_other_bytes(self._fixed_bytes + activations, headroom)
        self._note(activations)

    def _note(self, activations: int) -> None:
        total = self._fixed_bytes + activations + self._pager.resident_bytes
        if total > self._peak_bytes:
            self._peak_bytes = total
            self.peak = {**self._fixed, "activations": activations, "optimizer": self._pager.resident_bytes}
            self.pages_at_peak = len(self._pager.resident_pages)


def attainable_bytes(device: torch.device) -> int:
    """What this process can hold on a GPU: what nobody has yet, and what torch's allocator has reserved."""
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)


def evict_and_repeat(attempt: Callable[[], T], optimizer: PagedAdamW, notify: Callable[[str], None]) -> T:
    """Run a step's passes; when memory does not suffice, make all optimizer pages leave and run them once more.

    The second run draws the same random numbers, so that the step is the one that would have been.

    Args:
        attempt: the passes of one step. They begin with `optimizer.zero_grad`, because a run that was cut short leaves
            gradients behind.
        optimizer: whose pages make room.
        notify: told of the repetition in one sentence.

    Returns:
        What `attempt` returns.

    Raises:
        torch.OutOfMemoryError: no page was on the device, or memory does not suffice without them either.
    """
    device = optimizer.flat.device
    generators = generator_states(device)
    failed = None
    try:
        return attempt()
    except torch.OutOfMemoryError as error:
        if not optimizer.pager.resident_pages:
            raise
        failed = str(error).partition(".")[0]
    # Out here nothing holds the tensors of the passes any more; inside the handler the traceback's frames would.
    freed = optimizer.evict("out of memory")
    if device.type == "cuda":
        torch.cuda.empty_cache()
    set_generator_states(device, generators)
    notify(
        f"Memory did not suffice ({failed}): {freed / 2**20:.0f} MiB of optimizer pages left the device and the step "
        "ran again."
    )
    return attempt()


def as_event(step: int, happening: Move | Arrival) -> events.Event:
    """What a page did, as an event of the run."""
    fields = {
        "step": step,
        "page": happening.page.number,
        "bytes": happening.page.bytes,
        "milliseconds": happening.milliseconds,
    }
    if isinstance(happening, Arrival):
        return events.PageReached(hit=happening.hit, **fields)
    return events.PageMoved(direction=happening.direction, reason=happening.reason, **fields)


def stored_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers of `model`, each storage counted once (tied weights, shared codebooks)."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def parameter_count(model: nn.Module) -> int:
    """Parameters of `model`, a quantized weight counted by its weights and not by its bytes."""
    packed = {id(m.weight): m.in_features * m.out_features for m in model.modules() if isinstance(m, QuantizedLinear)}
    return sum(packed.get(id(p), p.numel()) for p in model.parameters())
