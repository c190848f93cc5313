"""Samples that are kept from training and say how well it goes."""

import math
import time
from typing import TYPE_CHECKING

import torch

from qlora import events
from qlora.config import RunConfig
from qlora.data.batches import Batches, in_order
from qlora.data.encoding import EncodedSamples
from qlora.training.loss import summed_loss

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def split(config: RunConfig, encoded: EncodedSamples) -> tuple[EncodedSamples, EncodedSamples]:
    """The samples to train on, and `data.evaluation_share` of them, drawn by the seed, to evaluate on."""
    held = round(len(encoded) * config.data.evaluation_share)
    if not held:
        return encoded, EncodedSamples()
    order = torch.randperm(len(encoded), generator=torch.Generator().manual_seed(config.training.seed)).tolist()
    out = set(order[:held])
    parts = EncodedSamples(), EncodedSamples()
    for i in range(len(encoded)):
        parts[i in out].append(encoded[i])
    return parts


def evaluate(model: "PreTrainedModel", samples: EncodedSamples, batches: Batches, step: int) -> events.Evaluated:
    """The loss over `samples`, without dropout and without a gradient.

    Args:
        model: left in training mode.
        samples: each counts once, by its trained tokens.
        batches: of the training, whose way of making batches is used.
        step: for the event.
    """
    began = time.perf_counter()
    model.eval()
    total, tokens = 0.0, 0
    with torch.no_grad():
        for batch in in_order(samples, batches.batch_size, batches.pad_id, join=batches.join):
            total += summed_loss(model, batch.to(model.device)).item()
            tokens += batch.trained_tokens
    model.train()
    loss = total / tokens
    return events.Evaluated(
        step=step,
        loss=loss,
        perplexity=math.exp(min(loss, 700.0)),  # e^709 is the largest number there is
        samples=len(samples),
        trained_tokens=tokens,
        seconds=time.perf_counter() - began,
    )
