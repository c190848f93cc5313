"""Adapter files against PEFT, an independent program."""

import json

import pytest
import torch
import transformers

from qlora.adapters.attach import adapted_layers, adapters_disabled, attach
from qlora.adapters.checkpoint import load_adapter, save_adapter
from qlora.config import AdapterConfig
from qlora.errors import InputError

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
CONFIGS = {
    "llama": transformers.LlamaConfig(**SIZES, intermediate_size=48, num_key_value_heads=2),
    "opt": transformers.OPTConfig(**SIZES, ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=64),
}
IDS = torch.arange(20).view(2, 10)


def base(name: str) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(CONFIGS[name]).eval()


def trained(name: str, **options) -> transformers.PreTrainedModel:
    model = base(name)
    attach(model, AdapterConfig(r=4, alpha=8.0, **options), dtype=torch.float32)
    for _, layer in adapted_layers(model):
        torch.nn.init.normal_(layer.lora_B, std=0.2)
    return model


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("name", CONFIGS)
def test_peft_loads_ours(name, tmp_path):
    peft = pytest.importorskip("peft")
    model = trained(name)
    save_adapter(model, tmp_path / "adapter", base_model="some/model")
    theirs = peft.PeftModel.from_pretrained(base(name), tmp_path / "adapter").eval()
    assert not torch.allclose(logits(model), logits(base(name)), atol=1e-2), "else this proves nothing"
    torch.testing.assert_close(logits(theirs), logits(model), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_we_load_pefts(name, tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    theirs = peft.get_peft_model(base(name), config).eval()
    for key, parameter in theirs.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.2)
    theirs.save_pretrained(tmp_path / "adapter")
    ours = base(name)
    load_adapter(ours, tmp_path / "adapter")
    assert not torch.allclose(logits(ours), logits(base(name)), atol=1e-2), "else this proves nothing"
    torch.testing.assert_close(logits(ours), logits(theirs), rtol=0, atol=1e-5)


def test_every_linear_layer_but_the_head_gets_an_adapter():
    model = base("llama")
    names = attach(model, AdapterConfig(), dtype=torch.float32)
    assert len(names) == 2 * 7 and not any("lm_head" in n for n in names)
    trainable = {n.rpartition(".")[2] for n, p in model.named_parameters() if p.requires_grad}
    assert trainable == {"lora_A", "lora_B"}


def test_disabled_adapters_give_the_base_model_back():
    model = trained("llama")
    with adapters_disabled(model):
        torch.testing.assert_close(logits(model), logits(base("llama")))
    assert not torch.allclose(logits(model), logits(base("llama")), atol=1e-2)


def test_saving_replaces_the_old_adapter_and_leaves_nothing_else(tmp_path):
    for _ in range(2):
        save_adapter(trained("llama"), tmp_path / "adapter", base_model="m")
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something other than an adapter"):
        save_adapter(trained("llama"), tmp_path, base_model="m")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_values_that_are_not_finite_are_named(tmp_path):
    model = trained("llama")
    next(adapted_layers(model))[1].lora_B.data[0, 0] = torch.nan
    save_adapter(model, tmp_path / "adapter", base_model="m")
    with pytest.raises(InputError, match=r"q_proj.lora_B.weight holds values that are not finite"):
        load_adapter(base("llama"), tmp_path / "adapter")


def test_an_empty_file_is_named(tmp_path):
    from safetensors.torch import save_file

    save_adapter(trained("llama"), tmp_path / "adapter", base_model="m")
    save_file({}, tmp_path / "adapter" / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"is empty: adapter_model.safetensors holds no tensor"):
        load_adapter(base("llama"), tmp_path / "adapter")


def test_a_model_without_adapters_is_not_saved_as_an_empty_file(tmp_path):
    with pytest.raises(InputError, match="no adapters, so there is nothing to save"):
        save_adapter(base("llama"), tmp_path / "adapter", base_model="m")
    assert not (tmp_path / "adapter").exists()


def test_attaching_twice_is_refused():
    with pytest.raises(InputError, match="has an adapter 'default' already"):
        attach(trained("llama"), AdapterConfig(), dtype=torch.float32)


def test_a_model_without_linear_layers_is_refused():
    with pytest.raises(InputError, match="Embedding has no linear layer"):
        attach(torch.nn.Embedding(3, 3), AdapterConfig(), dtype=torch.float32)


def _spoil(folder, how):
    config = folder / "adapter_config.json"
    if how == "missing":
        (folder / "adapter_model.safetensors").unlink()
    elif how == "truncated":
        file = folder / "adapter_model.safetensors"
        file.write_bytes(file.read_bytes()[:200])
    elif how == "not json":
        config.write_text("{")
    else:
        config.write_text(json.dumps({**json.loads(config.read_text()), **how}))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "adapter_model.safetensors missing"),
        ("truncated", "is damaged"),
        ("not json", "is damaged"),
        ({"peft_type": "IA3"}, "of type 'IA3', expected 'LORA'"),
        ({"r": 5}, r"does not fit the model: .* has shape \(4, 32\), expected \(5, 32\)"),
    ],
    ids=str,
)
def test_an_unusable_adapter_is_named(tmp_path, how, message):
    save_adapter(trained("llama"), tmp_path / "adapter", base_model="m")
    _spoil(tmp_path / "adapter", how)
    with pytest.raises(InputError, match=message):
        load_adapter(base("llama"), tmp_path / "adapter")


def test_an_adapter_of_another_model_is_named(tmp_path):
    save_adapter(trained("opt"), tmp_path / "adapter", base_model="m")
    with pytest.raises(InputError, match="which the model lacks"):
        load_adapter(base("llama"), tmp_path / "adapter")
