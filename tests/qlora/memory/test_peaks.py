"""The estimated peak against a real forward and backward pass in 4 bits, every tensor of which is counted."""

import pytest
import torch

from qlora.adapters.attach import adapter_parameters, attach
from qlora.config import AdapterConfig
from qlora.layers.quantized_linear import QuantizedLinear
from qlora.memory.estimate import EstimateOptions, estimate
from qlora.memory.measure import LiveTensorBytes
from qlora.models.tasks import classifier_head
from qlora.optimizer.paged_adamw import PagedAdamW
from qlora.training import activations
from qlora.training.activation_plan import ActivationPlan
from qlora.training.loss import summed_loss

ROWS, TOKENS, TARGET, CHUNK, R = 4, 64, 48, 100, 2
# Of families that differ in their weights alone, one.
NAMES = [
    "llama", "llama classifier", "qwen3", "gemma", "phi3", "mixtral", "qwen2 mixture", "qwen3 mixture",
    "qwen3 mixture in every second layer", "opt", "opt with dropout", "opt 350m", "gpt-neox",
    "gpt-neox one after the other", "bloom", "bert", "bert with dropout", "roberta", "t5", "t5 with dropout",
    "t5 gated", "t5 gated with dropout",
]  # fmt: skip


@pytest.fixture(params=NAMES)
def family(request, family_named):
    return family_named(request.param)


def quantized(family, dtype):
    """With adapters, as `load_quantized` and `attach` make it."""
    model, shape = family.model(dtype), family.shape()
    layers = [f"{s.path}.{s.first + i}.{name}" for s in shape.stacks for i in range(s.count) for name in s.linears]
    for name in [*shape.outer_linears, *layers]:
        model.set_submodule(name, QuantizedLinear.from_linear(model.get_submodule(name)))
    attach(model, AdapterConfig(r=R), dtype=dtype, train_whole=[h] if (h := classifier_head(model)) else ())
    return model.train()


def measured_peak(family, dtype, checkpointed, masked):
    """Of what a pass makes, besides all that is there before it."""
    model = quantized(family, dtype)
    activations.apply(model, ActivationPlan(family.shape().layers, checkpointed))
    optimizer = PagedAdamW(adapter_parameters(model))  # gradients have their memory in it
    batch = family.batch(ROWS, TOKENS, TARGET, masked)
    summed_loss(model, batch, CHUNK).backward()  # the model is looked at once
    with LiveTensorBytes() as counter:
        summed_loss(model, batch, CHUNK).backward()
    optimizer.close()
    return counter.peak_bytes


def estimated_peak(family, dtype, checkpointed, masked):
    options = EstimateOptions(
        r=R,
        batch_size=ROWS,
        sequence_length=TOKENS,
        target_length=TARGET,
        masked=masked,
        checkpointed_layers=checkpointed,
        compute_dtype=dtype,
        loss_chunk_tokens=CHUNK,
    )
    return estimate(family.shape(), options).passing_bytes


@pytest.mark.parametrize(
    ("checkpointed", "dtype", "masked"),
    [("all", "float32", True), ("none", "bfloat16", False), ("some", "bfloat16", True)],
)
def test_the_peak_of_a_pass(family, checkpointed, dtype, masked):
    layers = {"all": family.shape().layers, "none": 0, "some": 1}[checkpointed]
    measured = measured_peak(family, getattr(torch, dtype), layers, masked)
    assert estimated_peak(family, dtype, layers, masked) == pytest.approx(measured, rel=0.02)
