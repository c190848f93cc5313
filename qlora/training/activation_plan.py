"""Which activations are kept for the backward pass, and which are computed again."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qlora.config import RunConfig
from qlora.data.batches import Batches
from qlora.errors import InputError
from qlora.memory.estimate import EstimateOptions, estimate, optimizer_state_bytes
from qlora.memory.model_config import shape_of_config
from qlora.memory.shapes import Shape
from qlora.training.pressure import attainable_bytes, stored_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What the estimate may be too low by.
_MARGIN = 1.05


@dataclass(frozen=True)
class ActivationPlan:
    """How the activations of a model are kept.

    Attributes:
        layers: of the model.
        checkpointed: of these, the first ones, which keep their input alone.
        offloaded: whether those inputs wait in main memory.
    """

    layers: int
    checkpointed: int
    offloaded: bool = False

    def sentence(self) -> str:
        """For a person."""
        if not self.checkpointed:
            return "All activations are kept for the backward pass."
        every = self.checkpointed == self.layers
        whose = f"all {self.layers} layers" if every else f"{self.checkpointed} of {self.layers} layers"
        where = ", and the inputs of these wait in main memory" if self.offloaded else ""
        return f"The activations of {whose} are computed again in the backward pass{where}."


def choose(layers: int, fits: Callable[[int], bool], can_offload: bool) -> ActivationPlan:
    """The fastest plan that fits: the one with the fewest layers checkpointed; and only if all of them are not enough,
    the one with their inputs in main memory.

    Args:
        layers: of the model.
        fits: whether a plan with so many checkpointed layers fits. More layers take less memory.
        can_offload: whether there is another memory to move inputs to.

    Returns:
        The plan; the smallest there is when none fits.
    """
    if not fits(layers):
        return ActivationPlan(layers, layers, can_offload)
    low, high = 0, layers
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return ActivationPlan(layers, low)


def activation_plan(config: RunConfig, model: "PreTrainedModel", batches: Batches) -> tuple[ActivationPlan, list[str]]:
    """What `training.activations` comes to for a run.

    "auto" takes the fastest plan with which the largest batch that can come fits with all optimizer pages out, and the
    usual one with all pages in: pages then move only when a long batch comes (section 3 of the paper). The bytes of
    weights, adapters and states are those that are there, activations are estimated (`memory.estimate`), and a
    twentieth is left over. What they must fit into is `optimizer.device_budget_mib`; else what the GPU has; else half
    of main memory.

    Args:
        config: of the run.
        model: with its adapter attached.
        batches: of the run.

    Returns:
        The plan, and a sentence when there is something that a person should know of it.

    Raises:
        InputError: "offload" without a GPU.
    """
    from qlora.training.activations import checkpointed_layers

    wanted, layers = config.training.activations, len(checkpointed_layers(model))
    on_gpu = model.device.type == "cuda"
    if wanted == "offload" and not on_gpu:
        raise InputError("training.activations is offload, which needs a GPU: use auto, keep or checkpoint.")
    if wanted != "auto":
        return ActivationPlan(layers, 0 if wanted == "keep" else layers, wanted == "offload"), []
    try:
        shape = shape_of_config(model.config.to_dict(), config.model.name)
    except InputError as error:
        return ActivationPlan(layers, layers), [f"All layers are checkpointed, because {error}"]
    parameters = [p for p in model.parameters() if p.requires_grad]
    fixed = stored_bytes(model) + sum(p.nbytes for p in parameters)  # the last are the gradients
    states = optimizer_state_bytes(sum(p.numel() for p in parameters), f"adamw-{config.optimizer.state_bits}bit")
    budget = config.optimizer.device_budget_mib
    room = budget * 2**20 if budget is not None else attainable_bytes(model.device) if on_gpu else _main_memory() / 2
    largest = (batches.batch_size, batches.longest_row)

    def fits(checkpointed: int) -> bool:
        at_largest, at_usual = (
            passing_bytes(shape, config, model.dtype, size, batches.trained_share, checkpointed)
            for size in (largest, batches.usual_shape)
        )
        return _MARGIN * max(fixed + at_largest, fixed + states + at_usual) <= room

    return choose(layers, fits, can_offload=on_gpu), []


def passing_bytes(
    shape: Shape, config: RunConfig, dtype: torch.dtype, size: tuple[int, int], trained: float, checkpointed: int
) -> int:
    """Estimated bytes that one forward and backward pass takes beside what is there all the time.

    Args:
        shape, config: of the model and the run.
        dtype: of the computation.
        size: sequences of the batch, and tokens of each.
        trained: share of the tokens that is trained on.
        checkpointed: layers that keep their input alone.
    """
    options = EstimateOptions(
        block_size=config.quantization.block_size,
        double_quantization=config.quantization.double_quantization,
        r=config.adapter.r,
        batch_size=size[0],
        sequence_length=size[1],
        checkpointed_layers=checkpointed,
        compute_dtype=str(dtype).removeprefix("torch."),
        loss_chunk_tokens=min(config.training.loss_chunk_tokens, math.ceil(trained * math.prod(size))),
    )
    moments = estimate(shape, options).moments
    passing = ("activations", "input_gradients", "logits", "workspace")
    return max(sum(moments[moment].get(name, 0) for name in passing) for moment in ("loss", "backward"))


def _main_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
