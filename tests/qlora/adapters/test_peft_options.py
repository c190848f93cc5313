"""PEFT's options: each is understood as PEFT understands it, or refused by name."""

import json

import pytest
import torch
import transformers
from torch import nn

import qlora
from qlora.adapters.attach import adapted_layers, attach, factors_of
from qlora.adapters.checkpoint import load_adapter, save_adapter
from qlora.adapters.merge import save_merged
from qlora.config import AdapterConfig
from qlora.errors import InputError

peft = pytest.importorskip("peft")
IDS = torch.arange(20).view(2, 10)
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture
def original(small_model):
    """name -> an unquantized model in fp32."""

    def make(name):
        auto, folder = small_model(name)
        return auto.from_pretrained(folder, dtype=torch.float32).eval()

    return make


def theirs(model, folder, **options):
    """PEFT's adapter on `model`, with values that matter, saved in `folder`."""
    options = {"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, **options}
    adapted = peft.get_peft_model(model, peft.LoraConfig(**options)).eval()
    torch.manual_seed(1)
    for key, parameter in adapted.named_parameters():
        if "lora_B" in key or "modules_to_save" in key:
            nn.init.normal_(parameter, std=0.2)
    adapted.save_pretrained(folder)
    return adapted


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("llama", {"target_modules": "all-linear", "use_rslora": True}),
        ("llama tied", {"target_modules": "all-linear", "use_rslora": True}),
        ("gpt-neox", {"target_modules": "all-linear", "use_rslora": True}),
        ("bloom", {"target_modules": "all-linear", "use_rslora": True}),
        ("llama", {"target_modules": ["q_proj", "down_proj"]}),
        ("llama", {"target_modules": r".*\.1\..*_proj"}),
        ("llama", {"target_modules": ALL, "layers_to_transform": [1]}),
        ("llama", {"target_modules": ALL, "exclude_modules": ["gate_proj"]}),
        (
            "llama",
            {"target_modules": ALL, "rank_pattern": {"q_proj": 2, "1.*v_proj": 8}, "alpha_pattern": {"o_proj": 3}},
        ),
        ("llama", {"target_modules": ["q_proj"], "use_rslora": True, "rank_pattern": {"0.self_attn.q_proj": 9}}),
        ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["norm", "lm_head"]}),
        ("llama", {"target_modules": ["q_proj"], "init_lora_weights": "gaussian", "lora_dropout": 0.5}),
    ],
    ids=str,
)
def test_what_is_understood_computes_the_same_both_ways(original, tmp_path, name, options):
    adapted = theirs(original(name), tmp_path / "theirs", **options)
    ours = original(name)
    plain = logits(ours)
    load_adapter(ours, tmp_path / "theirs")
    assert not torch.allclose(plain, logits(adapted), atol=1e-2), "else this proves nothing"
    torch.testing.assert_close(logits(ours), logits(adapted), rtol=0, atol=1e-5)

    save_adapter(ours, tmp_path / "ours", base_model="m")
    again = peft.PeftModel.from_pretrained(original(name), tmp_path / "ours").eval()
    torch.testing.assert_close(logits(again), logits(adapted), rtol=0, atol=1e-5)


def test_peft_loads_ours_beside_bitsandbytes(small_model, tmp_path):
    """The stack that is replaced: bitsandbytes' 4-bit layers with PEFT's adapter."""
    pytest.importorskip("bitsandbytes")
    auto, folder = small_model("llama")
    ours = auto.from_pretrained(folder, quantization_config=qlora.QuantizationConfig(), dtype=torch.float32).eval()
    plain = logits(ours)
    attach(ours, AdapterConfig(r=4, alpha=8.0), dtype=torch.float32)
    for _, layer in adapted_layers(ours):
        nn.init.normal_(layer.lora_B, std=0.2)
    save_adapter(ours, tmp_path / "adapter", base_model="m")
    settings = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    base = auto.from_pretrained(folder, quantization_config=settings, dtype=torch.float32)
    adapted = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    assert not torch.allclose(plain, logits(ours), atol=1e-2), "else this proves nothing"
    torch.testing.assert_close(logits(ours), logits(adapted), rtol=0, atol=1e-5)


def test_an_adapter_of_transposed_weights(original, small_model, tmp_path):
    """GPT-2's Conv1D (``fan_in_fan_out``): our base layer holds the weight as (out, in), the adapter is the same."""
    auto, folder = small_model("gpt2")
    adapted = theirs(original("gpt2"), tmp_path / "theirs", target_modules="all-linear", fan_in_fan_out=True)
    ours = auto.from_pretrained(folder, quantization_config=qlora.QuantizationConfig(), dtype=torch.float32)
    load_adapter(ours, tmp_path / "theirs")
    save_merged(ours, tmp_path / "merged", dtype=torch.float32, original=folder)
    merged = auto.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    assert not torch.allclose(logits(original("gpt2")), logits(adapted), atol=1e-2), "else this proves nothing"
    torch.testing.assert_close(logits(merged), logits(adapted), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_dora": True}, "use_dora = True, which is not supported"),
        ({"bias": "lora_only"}, "bias = 'lora_only', which is not supported"),
        ({"lora_bias": True}, "lora_bias = True, which is not supported"),
        ({"trainable_token_indices": [1, 2]}, r"trainable_token_indices = \[1, 2\], which is not supported"),
        ({"target_parameters": ["k_proj.weight"]}, "target_parameters = .*, which is not supported"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication = .*, which is not supported"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa', which changes the base weights"),
        ({"target_modules": ["embed_tokens"]}, "has base_model.model.model.embed_tokens.* which the model lacks"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_what_peft_writes_and_we_lack_is_named(original, tmp_path, options, message):
    theirs(original("llama"), tmp_path / "theirs", **{"target_modules": ["q_proj"], **options})
    _refused(original("llama"), tmp_path / "theirs", message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_next_years_idea": 0.5}, "use_next_years_idea = 0.5, which is not supported"),
        ({"peft_type": "LOHA"}, "of type 'LOHA', expected 'LORA'"),
        ({"r": "4"}, "configuration has a wrong type"),
        ({"r": 0}, "adapter.r must be from 1 to 1024, got 0"),
        ({"rank_pattern": {"q_proj": 7}}, r"lora_A.weight has shape \(4, 64\), expected \(7, 64\)"),
    ],
    ids=str,
)
def test_what_a_file_may_say_and_we_lack_is_named(original, tmp_path, changes, message):
    theirs(original("llama"), tmp_path / "theirs", target_modules=["q_proj"])
    file = tmp_path / "theirs" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    _refused(original("llama"), tmp_path / "theirs", message)


def test_a_pickle_is_refused(original, tmp_path):
    adapted = theirs(original("llama"), tmp_path / "theirs", target_modules=["q_proj"])
    (tmp_path / "theirs" / "adapter_model.safetensors").unlink()
    adapted.save_pretrained(tmp_path / "theirs", safe_serialization=False)
    assert (tmp_path / "theirs" / "adapter_model.bin").exists(), "else this proves nothing"
    _refused(original("llama"), tmp_path / "theirs", "adapter_model.bin is a pickle file, which can run code")


def _refused(model, folder, message):
    before = list(model.state_dict())
    with pytest.raises(InputError, match=message):
        load_adapter(model, folder)
    assert list(model.state_dict()) == before, "the model has changed"


def test_a_pattern_is_saved_so_that_peft_adapts_no_other_layer(original, tmp_path):
    ours = original("llama")
    attach(ours, AdapterConfig(r=4, target_modules=("layers.0.*q_proj",)), dtype=torch.float32)
    for factors in factors_of(ours, "default").values():
        nn.init.normal_(factors.lora_B, std=0.2)
    save_adapter(ours, tmp_path / "ours", base_model="m")
    config = json.loads((tmp_path / "ours" / "adapter_config.json").read_text())
    assert config["target_modules"] == ["model.layers.0.self_attn.q_proj"]
    again = peft.PeftModel.from_pretrained(original("llama"), tmp_path / "ours").eval()
    assert len([key for key, _ in again.named_parameters() if "lora_A" in key]) == 1
    torch.testing.assert_close(logits(again), logits(ours), rtol=0, atol=1e-5)
