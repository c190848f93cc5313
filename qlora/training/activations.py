"""What is kept of the forward pass for the backward pass."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def enable_checkpointing(model: "PreTrainedModel") -> None:
    """Keep each layer's input alone and compute the rest again in the backward pass (Chen et al. 2016; section 2 of
    the paper). It works in training mode only, so generation is not slowed down."""
    options = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(options)
    else:  # transformers before 5.20 knows the older name only
        model.gradient_checkpointing_enable(options)
