"""Quantized checkpoints in both directions with bitsandbytes, through transformers."""

import json

import pytest
import torch

import qlora

IDS = torch.arange(3, 15)[None]
FORMATS = [  # (our data type, bitsandbytes', double quantization, dtype in which bitsandbytes stores codes)
    ("nf4", "nf4", True, "uint8"),
    ("nf4", "nf4", False, "bfloat16"),
    ("fp4-e2m1", "fp4", True, "float32"),
    ("fp4-e2m1", "fp4", False, "uint8"),
]


def load(auto, folder, **settings):
    config = qlora.QuantizationConfig(**settings)
    return auto.from_pretrained(folder, quantization_config=config, dtype=torch.bfloat16)


def logits(model):
    decoder = {"decoder_input_ids": IDS} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model(input_ids=IDS, **decoder).logits


def quantized_layers(model):
    return {name: m.quantized_weight for name, m in model.named_modules() if isinstance(m, qlora.QuantizedLinear)}


@pytest.fixture
def bitsandbytes():
    return pytest.importorskip("bitsandbytes")


@pytest.mark.parametrize(("ours", "theirs", "double_quantization", "storage"), FORMATS)
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_we_read_what_bitsandbytes_saved(
    small_model, bitsandbytes, tmp_path, name, ours, theirs, double_quantization, storage
):
    from transformers import BitsAndBytesConfig

    auto, folder = small_model(name)
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=theirs,
        bnb_4bit_use_double_quant=double_quantization,
        bnb_4bit_quant_storage=storage,
        bnb_4bit_compute_dtype="bfloat16",
    )
    reference = auto.from_pretrained(folder, quantization_config=settings, dtype=torch.bfloat16)
    reference.save_pretrained(tmp_path)
    model = load(auto, tmp_path, quant_type="int4")
    layers = quantized_layers(model)
    assert layers and {(w.quant_type, w.double_quantization) for w in layers.values()} == {(ours, double_quantization)}
    for layer, weight in layers.items():
        stored = reference.get_submodule(layer).weight
        assert torch.equal(weight.codes, stored.view(torch.uint8).flatten())
        expected = bitsandbytes.functional.dequantize_4bit(stored.data, stored.quant_state)
        torch.testing.assert_close(weight.dequantize(torch.bfloat16), expected, rtol=2**-8, atol=0)
    torch.testing.assert_close(logits(model), logits(reference), rtol=0, atol=2**-6)


@pytest.mark.parametrize(("ours", "theirs", "double_quantization", "storage"), FORMATS)
def test_bitsandbytes_reads_what_we_saved(
    small_model, bitsandbytes, tmp_path, ours, theirs, double_quantization, storage
):
    auto, folder = small_model("llama")
    model = load(auto, folder, quant_type=ours, double_quantization=double_quantization)
    model.save_pretrained(tmp_path)
    read = auto.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert isinstance(read.model.layers[0].mlp.up_proj, bitsandbytes.nn.Linear4bit)
    for layer, weight in quantized_layers(model).items():
        stored = read.get_submodule(layer).weight
        assert stored.quant_state.quant_type == theirs
        assert torch.equal(stored.flatten(), weight.codes)
        assert torch.equal(stored.quant_state.absmax, weight.absmax)
    torch.testing.assert_close(logits(read), logits(model), rtol=0, atol=2**-6)


@pytest.mark.parametrize("name", ["gpt2", "llama tied", "phi3", "mixtral", "t5", "nomic-bert"])
def test_bitsandbytes_reads_every_architecture_we_save(small_model, bitsandbytes, tmp_path, name):
    auto, folder = small_model(name)
    model = load(auto, folder)
    model.save_pretrained(tmp_path)
    read = auto.from_pretrained(tmp_path, dtype=torch.bfloat16)
    linear = {n for n, m in read.named_modules() if isinstance(m, bitsandbytes.nn.Linear4bit)}
    assert linear == quantized_layers(model).keys()
    torch.testing.assert_close(logits(read), logits(model), rtol=0, atol=2**-6)


@pytest.mark.parametrize(
    ("name", "quant_type"),
    [("llama", "nf4"), ("llama tied", "fp4-e3m0"), ("gpt2", "int4"), ("qwen2-moe", "nf3"), ("nomic-bert", "nf4")],
)
def test_what_was_saved_in_shards_comes_back_twice(small_model, tmp_path, name, quant_type):
    auto, folder = small_model(name)
    model = load(auto, folder, quant_type=quant_type, block_size=128)
    model.save_pretrained(tmp_path / "once", max_shard_size="30KB")
    assert len(list((tmp_path / "once").glob("*.safetensors"))) > 1, "else nothing is sharded"
    again = load(auto, tmp_path / "once")
    again.save_pretrained(tmp_path / "twice")
    settings = json.loads((tmp_path / "twice" / "config.json").read_text())["quantization_config"]
    assert settings["quant_method"] == ("bitsandbytes" if quant_type == "nf4" else "qlora")
    last = load(auto, tmp_path / "twice")
    assert {(w.quant_type, w.block_size) for w in quantized_layers(last).values()} == {(quant_type, 128)}
    assert torch.equal(logits(last), logits(model))


def test_an_adapted_model_is_not_saved_as_a_base_model(small_model, tmp_path):
    auto, folder = small_model("llama")
    model = load(auto, folder)
    layer = model.model.layers[0].mlp
    layer.up_proj = qlora.LoraLinear(layer.up_proj, 4, 8.0)
    with pytest.raises(qlora.InputError, match=r"model.layers.0.mlp.up_proj carries an adapter"):
        model.save_pretrained(tmp_path)
