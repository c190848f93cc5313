"""Checkpoints that cannot be loaded: the error names the tensor, what was expected and what came."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import qlora

UP = "model.layers.1.mlp.up_proj.weight"
NORM = "model.layers.1.input_layernorm.weight"
DESCRIPTION = f"{UP}.quant_state.bitsandbytes__nf4"


def load(auto, folder, **settings):
    config = qlora.QuantizationConfig(**settings)
    return auto.from_pretrained(folder, quantization_config=config, dtype=torch.bfloat16)


@pytest.fixture
def saved(small_model, tmp_path):
    """(name of the small model, quantized or not) -> (change tensors and config.json's quantization) -> load."""

    def prepare(name="llama", quantized=True):
        auto, folder = small_model(name)
        (load(auto, folder) if quantized else auto.from_pretrained(folder)).save_pretrained(tmp_path)

        def reload(change=lambda state: None, **settings):
            state = load_file(tmp_path / "model.safetensors")
            change(state)
            save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
            config = json.loads((tmp_path / "config.json").read_text())
            if settings:
                config["quantization_config"] = config.get("quantization_config", {}) | settings
            (tmp_path / "config.json").write_text(json.dumps(config))
            return load(auto, tmp_path)

        return reload

    return prepare


def as_expert(state):
    for key in [key for key in state if key.startswith(UP)]:
        state[key.replace("up_proj", "experts.0.w1")] = state.pop(key)


def as_16_bit(state):
    for key in [key for key in state if key.startswith(f"{UP}.")]:
        del state[key]
    state[UP] = torch.zeros(96, 64, dtype=torch.bfloat16)


def describe(**changes):
    def change(state):
        fields = json.loads(bytes(state[DESCRIPTION].tolist())) | changes
        state[DESCRIPTION] = torch.tensor(list(json.dumps(fields).encode()), dtype=torch.uint8)

    return change


CASES = {
    "no absmax": (lambda s: s.pop(f"{UP}.absmax"), rf"{UP}.absmax is missing"),
    "no nested map": (lambda s: s.pop(f"{UP}.nested_quant_map"), rf"{UP}.nested_quant_map is missing"),
    "no description": (lambda s: s.pop(DESCRIPTION), rf"{UP}: expected its codes and one {UP}.quant_state"),
    "no codes": (lambda s: s.pop(UP), rf"{UP}: expected its codes"),
    "nothing": (
        lambda s: [s.pop(k) for k in list(s) if k.startswith(UP)],
        rf"{UP}: expected its values .*it lacks them",
    ),
    "short codes": (lambda s: s.update({UP: s[UP][:-7]}), rf"{UP}: expected 3072 codes .* got 3065"),
    "short absmax": (
        lambda s: s.update({f"{UP}.absmax": s[f"{UP}.absmax"][:5]}),
        rf"{UP}.absmax: expected 96 values .* got 5",
    ),
    "cut description": (lambda s: s.update({DESCRIPTION: s[DESCRIPTION][:-3]}), rf"{UP}.quant_state.*JSON object"),
    "unknown data type": (describe(quant_type="nf9"), rf"{UP}.quant_state.*quant_type must be one of.*'nf9'"),
    "another shape": (
        describe(shape=[64, 96]),
        rf"{UP}: expected a weight of shape \(96, 64\), got \(64, 96\)",
    ),
    "16-bit weight": (as_16_bit, rf"{UP}: expected 4-bit codes .* got a tensor of shape .*llm_int8_skip_modules"),
    "quantized norm": (
        lambda s: s.update({f"{NORM}.absmax": s[f"{UP}.absmax"].clone()}),
        rf"{NORM}: expected a weight that is not quantized .* got one with {NORM}.absmax",
    ),
    "expert": (as_expert, r"mlp.experts.0.w1.weight in model.safetensors is one expert quantized on its own"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_checkpoint_is_named(saved, case):
    change, message = CASES[case]
    with pytest.raises(ValueError, match=message):
        saved()(change)


def test_an_undamaged_checkpoint_loads(saved):
    assert saved()().model.layers[1].mlp.up_proj.quantized_weight.shape == (96, 64)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"load_in_4bit": False, "load_in_8bit": True}, "quantized to 8 bits by bitsandbytes .load_in_8bit"),
        ({"load_in_4bit": False, "quant_method": "gptq", "bits": 4}, "quantized already, by gptq"),
        ({"bnb_4bit_quant_type": "nf9"}, "bnb_4bit_quant_type must be one of nf4, fp4, got 'nf9'"),
    ],
)
def test_a_checkpoint_of_another_kind_is_named(saved, settings, message):
    with pytest.raises(qlora.InputError, match=message):
        saved()(**settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s[UP].view(-1)[3:5].fill_(float("nan")), rf"{UP}: expected finite numbers, got 2 NaN"),
        (lambda s: s.update({UP: s[UP][:90].clone()}), rf"{UP}: expected a weight of shape \(96, 64\), got \(90, 64\)"),
        (lambda s: s.pop(UP), rf"{UP}: expected its values .*a fresh layer cannot"),
    ],
    ids=["NaN", "shape", "missing"],
)
def test_weights_that_cannot_be_quantized_are_named(saved, change, message):
    with pytest.raises(ValueError, match=message):
        saved(quantized=False)(change)


def test_a_fresh_head_is_named_and_can_be_skipped(small_model):
    transformers = pytest.importorskip("transformers")
    _, folder = small_model("roberta")
    auto = transformers.AutoModelForSequenceClassification
    with pytest.raises(ValueError, match=r"classifier.dense.weight: expected its values .*skip_modules"):
        load(auto, folder)
    model = load(auto, folder, skip_modules=["classifier"])
    assert type(model.classifier.dense) is torch.nn.Linear
    assert isinstance(model.roberta.encoder.layer[0].output.dense, qlora.QuantizedLinear)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"quant_type": "nf16"}, "quant_type must be one of nf4"), ({"block_size": 48}, "power of two from 32 to 4096")],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(qlora.InputError, match=message):
        qlora.QuantizationConfig(**settings)
