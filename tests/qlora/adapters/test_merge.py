"""Merged checkpoints, loaded by plain transformers."""

import json

import pytest
import torch
from safetensors import safe_open
from torch import nn

import qlora
from qlora.adapters.attach import adapted_layers, adapters_disabled, attach
from qlora.adapters.merge import merged_weight, save_merged
from qlora.config import AdapterConfig
from qlora.errors import InputError
from qlora.layers.lora_linear import LoraFactors

IDS = torch.arange(20).view(2, 10)


@pytest.fixture
def adapted(small_model):
    """name -> (class, folder of the original, 4-bit model in fp32 with an adapter that matters and biases that do)."""

    def make(name):
        auto, folder = small_model(name)
        model = auto.from_pretrained(folder, quantization_config=qlora.QuantizationConfig(), dtype=torch.float32).eval()
        torch.manual_seed(1)
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                nn.init.normal_(parameter, std=0.1)
        attach(model, AdapterConfig(r=4, alpha=8.0, rslora=True), dtype=torch.float32)
        for _, layer in adapted_layers(model):
            nn.init.normal_(layer.lora_B, std=0.2)
        return auto, folder, model

    return make


def logits(model):
    extra = {"decoder_input_ids": IDS} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model(input_ids=IDS, **extra).logits.float()


def plain(auto, folder, dtype=torch.float32):
    """The checkpoint as transformers alone loads it, which must miss nothing and know everything."""
    model, report = auto.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    assert not any(report.values()), report
    assert not any(isinstance(m, qlora.QuantizedLinear | qlora.LoraLinear) for m in model.modules())
    return model.eval()


@pytest.mark.parametrize(
    "name", ["llama", "llama tied", "gpt2", "gpt-neox", "bloom", "opt", "phi3", "mixtral", "t5", "roberta"]
)
def test_the_merged_model_is_base_and_adapter(adapted, tmp_path, name):
    auto, _, model = adapted(name)
    with adapters_disabled(model):
        base = logits(model)
    save_merged(model, tmp_path / "merged", dtype=torch.float32)
    assert not torch.allclose(logits(model), base, atol=1e-2), "else this proves nothing"
    torch.testing.assert_close(logits(plain(auto, tmp_path / "merged")), logits(model), rtol=0, atol=1e-5)
    assert "quantization_config" not in json.loads((tmp_path / "merged" / "config.json").read_text())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_weights_are_rounded_once(adapted, tmp_path, dtype):
    _, _, model = adapted("llama")
    save_merged(model, tmp_path / "merged", dtype=dtype)
    layer = model.model.layers[0].self_attn.q_proj
    exact = layer.base.quantized_weight.dequantize(torch.float32).double()
    exact += layer.factors.scaling * layer.lora_B.double() @ layer.lora_A.double()
    with safe_open(tmp_path / "merged" / "model.safetensors", "pt") as file:
        written = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    assert {tensor.dtype for tensor in written.values()} == {dtype}
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    wrong = (written["model.layers.0.self_attn.q_proj.weight"] != exact.to(dtype)).float().mean()
    assert wrong < 0.01, "fp32 arithmetic may tip a value that lies in the middle of two others, and no more"


def test_merging_scales_the_product_once():
    factors = LoraFactors(8, 6, 4, 2.0, dtype=torch.bfloat16)
    nn.init.normal_(factors.lora_B)
    weight = torch.randn(6, 8)
    exact = weight.double() + 0.5 * factors.lora_B.double() @ factors.lora_A.double()
    torch.testing.assert_close(merged_weight(weight, factors, torch.float32).double(), exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_original_weights_can_be_merged_into(adapted, tmp_path, name):
    auto, original, model = adapted(name)
    save_merged(model, tmp_path / "merged", dtype=torch.float32, original=original)
    expected = auto.from_pretrained(original, dtype=torch.float32)
    merged = plain(auto, tmp_path / "merged")
    for layer_name, layer in adapted_layers(model):
        product = layer.factors.scaling * layer.lora_B @ layer.lora_A  # (out, in)
        difference = merged.get_submodule(layer_name).weight - expected.get_submodule(layer_name).weight
        torch.testing.assert_close(difference if name == "llama" else difference.T, product, rtol=0, atol=1e-5)
    assert not torch.allclose(logits(merged), logits(model), atol=1e-3), "else it is the dequantized ones that it has"


def test_shards_are_small_and_never_more_than_one_is_in_memory(adapted, tmp_path, monkeypatch):
    import safetensors.torch

    auto, _, model = adapted("llama")
    written, save = [], safetensors.torch.save_file
    monkeypatch.setattr(
        safetensors.torch,
        "save_file",
        lambda tensors, *rest, **options: (
            written.append(sum(t.untyped_storage().nbytes() for t in tensors.values())),
            save(tensors, *rest, **options),
        ),
    )
    save_merged(model, tmp_path / "merged", dtype=torch.float32, shard_bytes=60_000)
    assert len(written) > 3 and max(written) <= 60_000
    index = json.loads((tmp_path / "merged" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(written) and len(set(index["weight_map"].values())) == len(written)
    torch.testing.assert_close(logits(plain(auto, tmp_path / "merged")), logits(model), rtol=0, atol=1e-5)


def test_merging_leaves_the_model_and_its_adapter_as_they_are(adapted, tmp_path):
    _, _, model = adapted("llama")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    save_merged(model, tmp_path / "merged")
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_what_cannot_be_merged_is_named(adapted, tmp_path):
    _, _, model = adapted("llama")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="full exists already: name a new folder"):
        save_merged(model, tmp_path / "full")
    with pytest.raises(InputError, match="There are no safetensors in"):
        save_merged(model, tmp_path / "merged", original=tmp_path / "full")
    _, other, _ = adapted("opt")
    with pytest.raises(InputError, match=r"has no model.layers.0.self_attn.q_proj.weight: merge into the dequantized"):
        save_merged(model, tmp_path / "merged", original=other)
    with pytest.raises(InputError, match="no active adapter, so there is nothing to merge"), adapters_disabled(model):
        save_merged(model, tmp_path / "merged")
    next(adapted_layers(model))[1].lora_B.data.fill_(1e8)
    with pytest.raises(InputError, match=r"q_proj.weight holds a value beyond the range of torch.float16"):
        save_merged(model, tmp_path / "merged", dtype=torch.float16)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full"], "what failed left something behind"
