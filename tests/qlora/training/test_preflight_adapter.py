"""What would make a run learn nothing, or lose what it learnt, is said before it starts."""

import json

import pytest
import torch

import qlora
from qlora import config as configuration
from qlora.adapters.attach import adapters_disabled, attach, switch_adapter
from qlora.config import AdapterConfig
from qlora.errors import InputError
from qlora.training.preflight import check_adapter
from qlora.training.run import run


@pytest.fixture
def adapted(small_model):
    def make(name="llama", **options):
        auto, folder = small_model(name)
        config = qlora.QuantizationConfig(**options)
        model = auto.from_pretrained(folder, quantization_config=config, dtype=torch.float32)
        attach(model, AdapterConfig(), dtype=torch.float32)
        return model

    return make


def test_an_adapter_as_it_should_be_passes(adapted):
    model = adapted()
    assert check_adapter(model) == []
    attach(model, AdapterConfig(), dtype=torch.float32, name="second", train_whole=("model.norm",))
    assert check_adapter(model) == []
    switch_adapter(model, "default")
    assert check_adapter(model) == []


def test_nothing_trainable_is_said(adapted):
    model = adapted().requires_grad_(False)
    with pytest.raises(InputError, match=r"No parameter of the model is trainable.*: attach an adapter, or switch to"):
        check_adapter(model)


def test_an_adapter_that_would_be_saved_empty_is_said(adapted):
    model = adapted()
    with adapters_disabled(model), pytest.raises(InputError, match="would be saved empty, because none is active"):
        check_adapter(model)


def test_what_would_train_and_not_be_saved_is_named(adapted):
    model = adapted()
    model.model.norm.weight.requires_grad_(True)
    with pytest.raises(InputError, match=r"model.norm.weight would be trained and not saved.*: freeze it"):
        check_adapter(model)


def test_a_part_that_is_frozen_is_named(adapted):
    model = adapted()
    model.model.layers[1].mlp.up_proj.lora_B.requires_grad_(False)
    with pytest.raises(InputError, match=r"layers.1.mlp.up_proj.*lora_B is a part of the adapter and frozen"):
        check_adapter(model)


def test_what_is_left_unquantized_is_named(adapted):
    (skipped,) = check_adapter(adapted(skip_modules=["lm_head", "down_proj"]))
    assert skipped.startswith("Left in") and "model.layers.*.mlp.down_proj" in skipped
    (experts,) = check_adapter(adapted("mixtral"))
    assert "mixture-of-experts weights, 4 experts in one tensor" in experts


@pytest.fixture
def settings(tiny_model, tmp_path):
    def make(**sections):
        fields = {
            "model": {"name": str(tiny_model)},
            "data": {"max_length": 48, "system_prompt": ""},
            "training": {"steps": 1},
            "output": str(tmp_path / "run"),
        }
        return configuration.from_mapping(fields | sections)

    return make


def test_a_pattern_that_fits_nothing_ends_the_run_before_anything_is_written(settings, tmp_path):
    with pytest.raises(
        InputError, match=r"adapter.target_modules: 'q_prj' fits no linear layer. Did you mean 'q_proj'"
    ):
        list(run(settings(adapter={"target_modules": ["q_prj"]})))
    assert not (tmp_path / "run").exists()


def test_the_adapter_section_of_a_run_reaches_its_file(settings, tmp_path):
    adapter = {
        "r": 4,
        "rslora": True,
        "dtype": "bfloat16",
        "target_modules": ["q_proj", "v_proj"],
        "rank_pattern": {"layers.1.*v_proj": 8},
    }
    happened = list(run(settings(adapter=adapter)))
    assert happened[0].trainable_parameters == 4 * (128 + 128 + 96) + 8 * 96
    written = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert written["target_modules"] == ["q_proj", "v_proj"] and written["use_rslora"] and written["r"] == 4
    assert written["rank_pattern"] == {"model.layers.1.self_attn.v_proj": 8}
    from safetensors.torch import load_file

    tensors = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16} and len(tensors) == 8


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"task": "classification"}}, "model.labels must be two or more different names"),
        ({"model": {"task": "classification", "labels": ["a", "a"]}}, "model.labels must be two or more"),
        ({"model": {"labels": ["a", "b"]}}, "model.labels must be empty for model.task causal"),
        ({"model": {"task": "tagging"}}, "model.task must be one of causal, seq2seq, classification"),
        ({"model": {"task": "seq2seq"}, "data": {"packing": True}}, "data.packing must be false for model.task"),
        ({"model": {"task": "seq2seq"}, "data": {"loss_on": "everything"}}, "data.loss_on must be completions for"),
        ({"model": {"task": "seq2seq"}, "training": {"sample_prompts": ["a"]}}, "sample_prompts must be empty"),
        ({"adapter": {"rank_pattern": ["q_proj"]}}, "adapter.rank_pattern must be a mapping of texts to numbers"),
        ({"adapter": {"rank_pattern": {"q_proj": "big"}}}, "adapter.rank_pattern.q_proj must be a whole number"),
    ],
)
def test_settings_that_do_not_go_together_are_named(sections, message):
    with pytest.raises(InputError, match=message):
        configuration.from_mapping(sections)


def test_patterns_survive_yaml(tmp_path):
    settings = configuration.from_mapping(
        {
            "adapter": {
                "rank_pattern": {"q_proj": 4},
                "alpha_pattern": {"v.*": 2},
                "target_modules": ["q_proj", "v_proj"],
            }
        }
    )
    (tmp_path / "run.yaml").write_text(configuration.to_yaml(settings))
    assert configuration.load(tmp_path / "run.yaml") == settings
