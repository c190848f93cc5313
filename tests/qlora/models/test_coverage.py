"""Every architecture: what is quantized is what bitsandbytes would quantize, and the rest is named."""

import pytest
import torch

import qlora
from qlora.models.coverage import EXPECTED, coverage

# name -> (quantized layers, what is named beyond embeddings, norms and head)
EXPECTATIONS = {
    "llama": (14, {}),
    "llama tied": (14, {}),
    "gpt2": (8, {}),  # Conv1D
    "gpt-neox": (8, {}),  # fused query_key_value
    "bloom": (8, {}),  # the same, and tied
    "opt": (14, {}),  # with project_in and project_out
    "phi3": (8, {}),  # fused qkv_proj and gate_up_proj
    "mixtral": (8, {"experts": 4, "TopKRouter": 2}),
    "qwen2-moe": (16, {"experts": 4, "TopKRouter": 2}),  # with shared experts
    "qwen3-moe": (8, {"experts": 4, "TopKRouter": 2}),
    "t5": (28, {"full precision": 4}),  # DenseReluDense.wo
    "roberta": (13, {}),
    "nomic-bert": (15, {}),  # one Wqkv in the file, three layers in the model
}


@pytest.fixture(scope="module")
def load(small_model):
    loaded = {}

    def quantized(name):
        if name not in loaded:
            auto, folder = small_model(name)
            config = qlora.QuantizationConfig()
            loaded[name] = auto.from_pretrained(folder, quantization_config=config, dtype=torch.bfloat16)
        return loaded[name]

    return quantized


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_layers_are_quantized_or_named(load, name):
    layers, named = EXPECTATIONS[name]
    covered = coverage(load(name))
    assert len(covered.quantized) == layers
    assert len(covered.unexpected) == sum(named.values())
    for word, count in named.items():
        assert sum(word in entry.reason for entry in covered.unexpected) == count
    assert (covered.warning() or "").startswith("Left in 16 bit: " if named else "")


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_no_parameter_is_forgotten(load, small_model, name):
    auto, folder = small_model(name)
    original = auto.from_pretrained(folder)
    covered = coverage(load(name))
    assert sum(entry.parameters for entry in (*covered.quantized, *covered.left)) == original.num_parameters()


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_the_choice_of_layers_and_their_codes_are_bitsandbytes(load, small_model, name):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    auto, folder = small_model(name)
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    theirs = auto.from_pretrained(folder, quantization_config=settings, dtype=torch.bfloat16)
    linear = {n: m for n, m in theirs.named_modules() if isinstance(m, bitsandbytes.nn.Linear4bit)}
    ours = {n: m for n, m in load(name).named_modules() if isinstance(m, qlora.QuantizedLinear)}
    assert ours and ours.keys() == linear.keys()
    for layer, module in ours.items():
        assert torch.equal(module.weight, linear[layer].weight.flatten()), layer


def test_the_report_counts_bytes_and_tied_weights_once(load):
    covered = coverage(load("llama tied"))
    assert not any(entry.name.startswith("lm_head") for entry in covered.left)
    assert covered.nbytes == sum(e.nbytes for e in covered.quantized) + sum(e.nbytes for e in covered.left)
    assert "14 layers, 61.4 k parameters" in covered.summary() and "embeddings 6.1 k" in covered.summary()


def test_skipped_layers_are_named(small_model):
    auto, folder = small_model("llama")
    config = qlora.QuantizationConfig(skip_modules=["lm_head", "down_proj"])
    covered = coverage(auto.from_pretrained(folder, quantization_config=config, dtype=torch.bfloat16))
    assert [entry.name for entry in covered.unexpected] == [f"model.layers.{i}.mlp.down_proj.weight" for i in (0, 1)]
    assert "model.layers.*.mlp.down_proj.weight (2 tensors, 12.3 k parameters" in covered.warning()
    assert "a linear layer that was to be skipped" in covered.warning()


def test_what_is_tied_is_never_quantized(small_model):
    auto, folder = small_model("llama tied")
    model = auto.from_pretrained(folder, quantization_config=qlora.QuantizationConfig(skip_modules=[]))
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_one_config_serves_several_models(small_model):
    config = qlora.QuantizationConfig()
    counts = []
    for name in ("llama", "gpt2"):
        auto, folder = small_model(name)
        counts.append(len(coverage(auto.from_pretrained(folder, quantization_config=config)).quantized))
    assert counts == [14, 8] and config.skip_modules is None


def test_an_adapter_is_an_expected_part(small_model):
    auto, folder = small_model("llama")
    model = auto.from_pretrained(folder, quantization_config=qlora.QuantizationConfig())
    layer = model.model.layers[0].mlp
    layer.up_proj = qlora.LoraLinear(layer.up_proj, 4, 8.0)
    covered = coverage(model)
    assert len(covered.quantized) == 14 and not covered.unexpected
    assert {entry.reason for entry in covered.left} <= set(EXPECTED)
