"""Activations on a GPU: inputs that wait in main memory, layers that are compiled, and the estimate."""

import gc

import pytest
import torch

from qlora.adapters.attach import adapter_parameters, attach
from qlora.bench.random_llama import random_llama
from qlora.config import AdapterConfig, TrainingConfig
from qlora.memory.estimate import EstimateOptions, estimate
from qlora.memory.shapes import LlamaShape
from qlora.optimizer.paged_adamw import PagedAdamW
from qlora.training.activation_plan import ActivationPlan
from qlora.training.activations import apply, compile_layers
from qlora.training.chunked_loss import causal_loss

pytestmark = pytest.mark.gpu

SHAPE = LlamaShape("a small one", 1024, 12, 8, 2816, vocabulary_size=8192)
BATCH, TOKENS = 4, 1024


def step_with(plan, compiled=False):
    """Loss, flat gradient, and the peak of the second step in bytes."""
    gc.collect()
    before = torch.cuda.memory_allocated()
    model = random_llama(SHAPE, torch.device("cuda", 0), torch.bfloat16)
    attach(model, AdapterConfig(r=16), dtype=torch.bfloat16, seed=0)
    if compiled:
        compile_layers(model)
    apply(model, plan)
    model.train()
    optimizer = PagedAdamW(adapter_parameters(model), 1e-3)
    with torch.no_grad():  # lora_B is 0 at first, and lora_A without a gradient
        optimizer.flat.add_(torch.randn(optimizer.flat.shape, generator=torch.Generator().manual_seed(0)).cuda() / 100)
    ids = torch.randint(SHAPE.vocabulary_size, (BATCH, TOKENS), generator=torch.Generator().manual_seed(0)).cuda()

    def passes():
        optimizer.zero_grad()
        inputs = {"input_ids": ids, "use_cache": False}
        loss, counted = causal_loss(model, inputs, ids, TrainingConfig.loss_chunk_tokens)
        (loss / counted).backward()
        return (loss / counted).item()

    loss = passes()
    gradient = optimizer.flat_gradient.clone().float()
    optimizer.step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    passes()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated()
    optimizer.close()
    return loss, gradient, peak - before - gradient.nbytes


@pytest.fixture(scope="module")
def kept():
    return step_with(ActivationPlan(SHAPE.layers, 0))


@pytest.mark.parametrize(
    ("checkpointed", "offloaded"), [(SHAPE.layers // 2, False), (SHAPE.layers, False), (SHAPE.layers, True)]
)
def test_less_memory_and_the_same_gradients(kept, checkpointed, offloaded):
    torch.cuda.empty_cache()
    loss, gradient, peak = step_with(ActivationPlan(SHAPE.layers, checkpointed, offloaded))
    assert loss == kept[0] and torch.equal(gradient, kept[1])
    inputs = BATCH * TOKENS * SHAPE.hidden_size * 2
    if offloaded:
        *_, checkpointing = step_with(ActivationPlan(SHAPE.layers, SHAPE.layers))
        assert checkpointing - peak > (SHAPE.layers - 4) * inputs
    else:
        assert kept[2] - peak > checkpointed * 4 * inputs


def test_compiled_layers_give_the_same_up_to_rounding(kept):
    loss, gradient, peak = step_with(ActivationPlan(SHAPE.layers, SHAPE.layers), compiled=True)
    assert loss == pytest.approx(kept[0], rel=1e-3)
    assert torch.nn.functional.cosine_similarity(gradient, kept[1], dim=0) > 0.999
    assert peak < kept[2]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_estimate_is_within_five_percent(kept, checkpointing):
    torch.cuda.empty_cache()
    peak = step_with(ActivationPlan(SHAPE.layers, SHAPE.layers))[2] if checkpointing else kept[2]
    options = EstimateOptions(
        r=16, batch_size=BATCH, sequence_length=TOKENS, checkpointed_layers=None if checkpointing else 0,
        loss_chunk_tokens=TrainingConfig.loss_chunk_tokens,
    )  # fmt: skip
    assert estimate(SHAPE, options).peak_bytes == pytest.approx(peak, rel=0.05)
