"""Keeping less of the forward pass for the backward pass: the inputs of layers alone, or those in main memory."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from qlora.training.activation_plan import ActivationPlan

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CACHES = ("past_key_values", "past_key_value", "layer_past")


def checkpointed_layers(model: "PreTrainedModel") -> list[nn.Module]:
    """The layers whose activations can be computed again, in the order of the forward pass."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def compile_layers(model: "PreTrainedModel") -> None:
    """Let torch compile each layer; comes before `apply`, so that what is compiled is also what is computed again."""
    for layer in checkpointed_layers(model):
        layer.forward = torch.compile(layer.forward)


def apply(model: "PreTrainedModel", plan: ActivationPlan) -> None:
    """Let the plan's layers keep their input alone in training and compute the rest again in the backward pass (Chen et
    al. 2016; section 2 of the paper). Evaluation and generation are not touched.

    Args:
        model: without an earlier plan.
        plan: for this model.
    """
    inputs = OffloadedTensors(model.device) if plan.offloaded else None
    for layer in checkpointed_layers(model)[: plan.checkpointed]:
        layer.forward = _recomputed(layer, layer.forward, inputs)


def _recomputed(layer: nn.Module, forward: Callable, inputs: "OffloadedTensors | None") -> Callable:
    def forward_again_in_backward(*args: Any, **kwargs: Any) -> Any:
        if not (layer.training and torch.is_grad_enabled()):
            return forward(*args, **kwargs)
        # Computing the layer again would append its keys and values to a cache a second time.
        kwargs |= {name: None for name in _CACHES if name in kwargs}
        if inputs is None:
            return checkpoint(forward, *args, use_reentrant=False, **kwargs)
        with saved_tensors_hooks(inputs.pack, inputs.unpack):
            return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return forward_again_in_backward


class _Offloaded:
    """A tensor in main memory, and the one that was moved before it, which the backward pass needs next."""

    def __init__(self, host: torch.Tensor, moved: torch.cuda.Event, before: "_Offloaded | None"):
        self.host, self.moved, self.before = host, moved, before
        self.back: torch.Tensor | None = None
        self.arrived: torch.cuda.Event | None = None


class OffloadedTensors:
    """Hooks for `torch.autograd.graph.saved_tensors_hooks` that keep what autograd saves in pinned main memory.

    Both ways a copy runs on a stream of its own, beside the computation. On the way back the next tensor, which is the
    one that was saved before, is fetched while the layer at hand is computed again.

    Args:
        device: a GPU.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._out, self._in = torch.cuda.Stream(device), torch.cuda.Stream(device)
        self._last: _Offloaded | None = None

    def pack(self, tensor: torch.Tensor) -> "_Offloaded | torch.Tensor":
        """Start to move a tensor out; what is not on the device stays where it is."""
        if tensor.device != self._device:
            return tensor
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._out.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._out):
            host.copy_(tensor, non_blocking=True)
            moved = self._out.record_event()
        tensor.record_stream(self._out)  # its memory is not given away before the copy has read it
        self._last = _Offloaded(host, moved, self._last)
        return self._last

    def unpack(self, packed: "_Offloaded | torch.Tensor") -> torch.Tensor:
        """The tensor on the device; the computation, not the caller, waits for it."""
        if isinstance(packed, torch.Tensor):
            return packed
        self._last = None  # the forward pass is over: the next one begins a chain of its own
        self._fetch(packed)
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(packed.arrived)
        tensor, packed.back = packed.back, None
        tensor.record_stream(stream)
        if packed.before is not None:
            self._fetch(packed.before)
        return tensor

    def _fetch(self, packed: _Offloaded) -> None:
        if packed.back is not None:
            return
        self._in.wait_event(packed.moved)
        # Not before the computation has come this far: else all of them would be fetched at once.
        self._in.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._in):
            packed.back = packed.host.to(self._device, non_blocking=True)
            packed.arrived = self._in.record_event()
