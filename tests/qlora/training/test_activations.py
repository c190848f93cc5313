"""Keeping less of the forward pass: the same gradients, less memory; and how much is kept when nobody says."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, LlamaConfig

from qlora import config as configuration
from qlora.errors import InputError
from qlora.memory.measure import LiveTensorBytes
from qlora.training.activation_plan import ActivationPlan, choose
from qlora.training.activations import apply, checkpointed_layers, compile_layers
from qlora.training.run import run
from qlora.training.setup import prepare

LAYERS = 4


def model_with(plan, seed=0, compiled=False):
    torch.manual_seed(seed)
    shape = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=LAYERS, num_attention_heads=2,
        attention_dropout=0.1,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(shape)
    if compiled:
        compile_layers(model)
    apply(model, plan)
    return model.train()


def passes(model):
    """Loss, gradients, and the most bytes that were alive."""
    ids = torch.arange(40).view(2, 20) % 64
    torch.manual_seed(1)
    with LiveTensorBytes() as alive:
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        stored = alive.live_bytes
        loss.backward()
    return loss.item(), [p.grad.clone() for p in model.parameters()], stored


def test_each_checkpointed_layer_takes_less_and_changes_nothing():
    loss, gradients, before = passes(model_with(ActivationPlan(LAYERS, 0)))
    for checkpointed in range(1, LAYERS + 1):
        again, others, stored = passes(model_with(ActivationPlan(LAYERS, checkpointed)))
        assert again == loss and all(torch.equal(a, b) for a, b in zip(gradients, others, strict=True))
        assert stored < before
        before = stored


def test_a_cache_that_the_model_keeps_is_not_filled_twice():
    ids = torch.arange(40).view(2, 20) % 64
    found = []
    for plan in (ActivationPlan(LAYERS, 0), ActivationPlan(LAYERS, LAYERS)):
        model = model_with(plan)
        torch.manual_seed(1)
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids, use_cache=True).loss.backward()
        found.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_evaluation_and_generation_compute_nothing_twice():
    model = model_with(ActivationPlan(LAYERS, LAYERS))
    calls = []
    for layer in checkpointed_layers(model):
        # A recomputation ends where the last tensor that is needed was made, so count at a layer's beginning.
        layer.input_layernorm.register_forward_hook(lambda *_: calls.append(1))
    ids = torch.arange(8)[None]
    model.eval()
    model(input_ids=ids)
    assert len(calls) == LAYERS
    assert model.generate(ids, max_new_tokens=3, do_sample=False).shape[1] <= 11
    calls.clear()
    model.train()
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    assert len(calls) == 2 * LAYERS, "else nothing was checkpointed"


@given(layers=st.integers(1, 90), least=st.integers(0, 100), can_offload=st.booleans())
def test_the_fewest_layers_that_fit_are_chosen(layers, least, can_offload):
    asked = []
    plan = choose(layers, lambda count: asked.append(count) or count >= least, can_offload)
    if least > layers:
        assert plan == ActivationPlan(layers, layers, can_offload)
    else:
        assert plan == ActivationPlan(layers, least)
    assert len(asked) <= 9, "each question is an estimate"


@pytest.fixture
def settings(tiny_model, tmp_path):
    return configuration.from_mapping(
        {
            "model": {"name": str(tiny_model)},
            "data": {"max_length": 48, "system_prompt": ""},
            "optimizer": {"page_kib": 16},
            "training": {"steps": 2, "batch_size": 8},
            "output": str(tmp_path / "run"),
        }
    )


def with_budget(settings, budget_mib, **training):
    return dataclasses.replace(
        settings,
        optimizer=dataclasses.replace(settings.optimizer, device_budget_mib=budget_mib),
        training=dataclasses.replace(settings.training, **training),
    )


def layers_again(config):
    """How many layers the prepared model computes again."""
    setup = prepare(config, lambda happening: None)
    calls = []
    for layer in checkpointed_layers(setup.model):
        layer.input_layernorm.register_forward_hook(lambda *_: calls.append(1))
    batch = setup.batches.at(0)
    setup.model(**batch.model_inputs(), labels=batch.labels).loss.backward()
    setup.optimizer.close()
    return len(calls) - len(checkpointed_layers(setup.model)), setup.notices


def test_auto_keeps_what_the_budget_has_room_for_and_the_run_stays_in_it(settings):
    assert layers_again(settings)[0] == 0
    needed = {}
    for wanted in ("keep", "checkpoint"):
        config = with_budget(settings, None, activations=wanted)
        steps = [e for e in run(dataclasses.replace(config, output=f"{config.output}-{wanted}")) if e.kind == "step"]
        needed[wanted] = max(sum(step.memory_bytes.values()) for step in steps)
    assert needed["keep"] > needed["checkpoint"] + 2**20, "else there is nothing to choose"
    kept, _ = layers_again(with_budget(settings, 1.3 * needed["keep"] / 2**20))
    again, notices = layers_again(with_budget(settings, needed["keep"] / 2**20))
    assert kept == 0 < again <= 2
    assert "computed again in the backward pass" in notices[-1]
    tight = with_budget(settings, needed["keep"] / 2**20)
    steps = [e for e in run(tight) if e.kind == "step"]
    assert max(sum(step.memory_bytes.values()) for step in steps) <= needed["keep"]
    assert all(step.pages_out == 0 for step in steps), "a usual batch leaves the pages where they are"


def test_offloading_needs_a_gpu(settings):
    with pytest.raises(InputError, match="offload, which needs a GPU: use auto, keep or checkpoint"):
        prepare(with_budget(settings, None, activations="offload", device="cpu"), lambda happening: None)
