"""Which layers get an adapter, and several adapters on one base model."""

import pytest
import torch
import transformers
from torch import nn

import qlora
from qlora.adapters.attach import (
    active_adapter,
    adapted_layers,
    adapter_names,
    adapter_parameters,
    adapters_disabled,
    attach,
    delete_adapter,
    factors_of,
    switch_adapter,
)
from qlora.adapters.checkpoint import load_adapter, save_adapter
from qlora.config import AdapterConfig
from qlora.errors import InputError

IDS = torch.arange(20).view(2, 10)
BLOCKS = "model.layers.{}.self_attn.{}"
ONE_KV = [BLOCKS.format(1, "k_proj"), BLOCKS.format(1, "v_proj")]


@pytest.fixture
def base(small_model):
    """A random LLaMA of two layers, in 4 bit."""
    auto, folder = small_model("llama")
    return auto.from_pretrained(folder, quantization_config=qlora.QuantizationConfig(), dtype=torch.float32).eval()


def put(model, name="default", **options):
    """Attach an adapter that changes the logits."""
    names = attach(model, AdapterConfig(r=4, alpha=8.0, **options), dtype=torch.float32, name=name, seed=len(name))
    torch.manual_seed(len(name))
    for factors in factors_of(model, name).values():
        nn.init.normal_(factors.lora_B, std=0.2)
    return names


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def differ(a, b):
    return not torch.allclose(a, b, atol=1e-2)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("q_proj",), [BLOCKS.format(i, "q_proj") for i in (0, 1)]),
        (("v_proj", "q_proj"), [BLOCKS.format(i, p) for i in (0, 1) for p in ("q_proj", "v_proj")]),
        (("model.layers.1.self_attn.q_proj",), [BLOCKS.format(1, "q_proj")]),
        (("layers.0.*[qk]_proj",), [BLOCKS.format(0, p) for p in ("q_proj", "k_proj")]),
        (("self_attn.v_proj|layers.1.*k_proj",), [BLOCKS.format(0, "v_proj"), *ONE_KV]),
    ],
)
def test_patterns_choose_layers(base, patterns, expected):
    assert put(base, target_modules=patterns) == expected
    assert [name for name, _ in adapted_layers(base)] == expected
    trainable = {name for name, p in base.named_parameters() if p.requires_grad}
    assert trainable == {f"{name}.adapters.default.lora_{side}" for name in expected for side in "AB"}


def test_all_linear_layers_but_the_head_without_a_pattern(base):
    linear = [name for name, m in base.named_modules() if isinstance(m, qlora.QuantizedLinear)]
    assert len(linear) == 14, "else something is not quantized, and this proves less"
    assert put(base) == linear


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_modules": ("query",)}, "target_modules: 'query' fits no linear layer. It has q_proj, k_proj, v_proj"),
        ({"target_modules": ("q_porj",)}, "'q_porj' fits no linear layer. Did you mean 'q_proj'"),
        ({"target_modules": ("q_proj", "lm_head")}, "'lm_head' fits no linear layer"),
        ({"rank_pattern": {"gate": 3}}, "rank_pattern: 'gate' fits no adapted layer. Did you mean 'gate_proj'"),
        ({"target_modules": ("q_proj",), "alpha_pattern": {"k_proj": 1.0}}, "alpha_pattern: 'k_proj' fits no adapted"),
    ],
)
def test_a_pattern_that_fits_nothing_is_named_with_the_nearest(base, options, message):
    with pytest.raises(InputError, match=message):
        put(base, **options)
    assert not adapter_names(base)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target_modules": ("*_proj",)}, r"target_modules: '\*_proj' is neither a name nor a regular expression"),
        ({"rank_pattern": {"q_proj": 0}}, "adapter.rank_pattern.q_proj must be from 1 to 1024, got 0"),
        ({"alpha_pattern": {"q_proj": -1.0}}, "adapter.alpha_pattern.q_proj must be above 0"),
        ({"dtype": "float16"}, "adapter.dtype must be one of auto, float32, bfloat16"),
    ],
)
def test_settings_out_of_range_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        AdapterConfig(**fields)


def test_ranks_alphas_and_scaling_by_layer(base):
    put(base, rank_pattern={"q_proj": 2, "layers.1.*v_proj": 8}, alpha_pattern={"k_proj": 2.0}, rslora=True)
    factors = factors_of(base, "default")
    assert factors[BLOCKS.format(0, "q_proj")].r == 2 and factors[BLOCKS.format(0, "v_proj")].r == 4
    assert factors[BLOCKS.format(1, "v_proj")].r == 8
    assert factors[BLOCKS.format(1, "v_proj")].scaling == pytest.approx(8 / 8**0.5)
    assert factors[BLOCKS.format(0, "k_proj")].scaling == pytest.approx(2 / 4**0.5)
    x = torch.randn(3, 64)
    layer = base.get_submodule(BLOCKS.format(0, "q_proj"))
    product = x @ layer.lora_A.T @ layer.lora_B.T
    torch.testing.assert_close(layer(x), layer.base(x) + 8 / 2**0.5 * product, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adapters_have_the_dtype_asked_for(base, dtype):
    attach(base, AdapterConfig(), dtype=dtype)
    assert {p.dtype for p in adapter_parameters(base)} == {dtype}
    base(input_ids=IDS, labels=IDS).loss.backward()
    assert {p.grad.dtype for p in adapter_parameters(base)} == {dtype}


def test_dropout_follows_the_mode_of_the_model_that_gets_an_adapter(base):
    put(base, dropout=0.5)
    assert torch.equal(logits(base), logits(base)), "the model is in evaluation mode"
    base.train()
    assert differ(logits(base), logits(base))


def test_switching_between_adapters_and_the_base_model(base, tmp_path):
    plain = logits(base)
    put(base, "first")
    first = logits(base)
    put(base, "second", target_modules=("q_proj", "up_proj"))
    second = logits(base)
    assert differ(plain, first) and differ(first, second) and differ(plain, second), "else this proves nothing"
    assert adapter_names(base) == ["first", "second"] and active_adapter(base) == "second"

    switch_adapter(base, "first")
    assert torch.equal(logits(base), first) and active_adapter(base) == "first"
    with adapters_disabled(base):
        assert torch.equal(logits(base), plain) and active_adapter(base) is None
    assert torch.equal(logits(base), first)
    with pytest.raises(RuntimeError, match="stop"), adapters_disabled(base):
        raise RuntimeError("stop")
    assert active_adapter(base) == "first"

    save_adapter(base, tmp_path / "second", base_model="m", name="second")
    delete_adapter(base, "second")
    assert torch.equal(logits(base), first) and adapter_names(base) == ["first"]
    load_adapter(base, tmp_path / "second", name="third")
    torch.testing.assert_close(logits(base), second)
    delete_adapter(base, "third")
    assert active_adapter(base) is None and torch.equal(logits(base), plain)
    delete_adapter(base, "first")
    assert not any(isinstance(m, qlora.LoraLinear) for m in base.modules()) and torch.equal(logits(base), plain)


def test_only_the_active_adapter_trains(base):
    put(base, "first")
    put(base, "second")
    before = {key: tensor.clone() for key, tensor in base.state_dict().items()}
    for name in ("second", "first"):
        switch_adapter(base, name)
        parameters = adapter_parameters(base)
        assert {id(p) for p in base.parameters() if p.requires_grad} == {id(p) for p in parameters}
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        base(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
        changed = {key for key, tensor in base.state_dict().items() if not torch.equal(tensor, before[key])}
        assert len(changed) == 28 and all(f".adapters.{name}." in key for key in changed)
        before = {key: tensor.clone() for key, tensor in base.state_dict().items()}
        base.zero_grad()


@pytest.mark.parametrize("name", ["", "a.b", "keys", "default"])
def test_a_name_that_cannot_be_is_refused(base, name):
    put(base)
    with pytest.raises(
        InputError, match="has an adapter 'default' already" if name == "default" else "cannot be named"
    ):
        put(base, name)
    assert adapter_names(base) == ["default"]


def test_an_unknown_adapter_is_named_with_those_there_are(base, tmp_path):
    with pytest.raises(InputError, match="no adapter 'x': it has none"):
        switch_adapter(base, "x")
    put(base, "one")
    put(base, "two")
    for use in (switch_adapter, delete_adapter):
        with pytest.raises(InputError, match="no adapter 'x': it has one, two"):
            use(base, "x")
    with pytest.raises(InputError, match="has no adapter 'x', only one, two"):
        save_adapter(base, tmp_path / "x", base_model="m", name="x")


def test_a_module_trained_whole_is_the_adapters_own(base):
    plain = logits(base)
    put(base, "low")
    low = logits(base)
    attach(base, AdapterConfig(), dtype=torch.float32, name="whole", train_whole=("model.norm",))
    torch.testing.assert_close(logits(base), plain)
    base.model.norm.current.weight.data.mul_(2)
    assert differ(logits(base), plain)
    assert len(adapter_parameters(base)) == 29
    switch_adapter(base, "low")
    assert torch.equal(logits(base), low)
    delete_adapter(base, "whole")
    assert type(base.model.norm) is transformers.models.llama.modeling_llama.LlamaRMSNorm


def test_what_cannot_be_trained_whole_is_named(base):
    with pytest.raises(InputError, match=r"no module 'nrom' to train whole. Did you mean 'norm'"):
        attach(base, AdapterConfig(), dtype=torch.float32, train_whole=("nrom",))
    with pytest.raises(InputError, match=r"up_proj cannot be trained whole .*load the model with it in skip_modules"):
        attach(base, AdapterConfig(), dtype=torch.float32, train_whole=("layers.0.mlp.up_proj",))
    assert not adapter_names(base)


def test_a_model_without_linear_layers_is_refused():
    with pytest.raises(InputError, match="Embedding has no linear layer"):
        attach(nn.Embedding(3, 3), AdapterConfig(), dtype=torch.float32)
