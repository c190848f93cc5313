"""Shapes made of configurations, against the models that transformers builds from the same."""

import json
from collections import Counter

import pytest
import torch
import transformers

from qlora.adapters.attach import attach
from qlora.config import AdapterConfig
from qlora.errors import InputError
from qlora.memory.estimate import EstimateOptions, estimate
from qlora.memory.model_config import NAMED_SHAPES, known_shape, shape_of_config

SMALL = {"vocab_size": 90, "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6}
LLAMA_LIKE = {**SMALL, "intermediate_size": 256, "num_key_value_heads": 3}
NEOX = {**SMALL, "intermediate_size": 256}
OPT = {**SMALL, "ffn_dim": 256, "word_embed_proj_dim": 96, "max_position_embeddings": 128, "dropout": 0.0}
BLOOM = {"vocab_size": 90, "hidden_size": 96, "n_layer": 3, "n_head": 6}
CONFIGS = {
    "llama": ("LlamaConfig", LLAMA_LIKE),
    "llama with biases": ("LlamaConfig", {**LLAMA_LIKE, "attention_bias": True, "mlp_bias": True}),
    "mistral with wide heads": ("MistralConfig", {**LLAMA_LIKE, "head_dim": 32}),
    "qwen2 tied": ("Qwen2Config", {**LLAMA_LIKE, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {**LLAMA_LIKE, "head_dim": 32}),
    "opt": ("OPTConfig", OPT),
    "opt without biases": ("OPTConfig", {**OPT, "enable_bias": False, "do_layer_norm_before": False}),
    "gpt-neox": ("GPTNeoXConfig", NEOX),
    "gpt-neox tied": ("GPTNeoXConfig", {**NEOX, "tie_word_embeddings": True, "attention_bias": False}),
    "bloom": ("BloomConfig", BLOOM),
}


def config_of(name, **changes):
    kind, settings = CONFIGS[name]
    return getattr(transformers, kind)(**{**settings, **changes})


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_equal_transformers(name):
    config = config_of(name)
    shape = shape_of_config(config.to_dict(), name)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    head = model.get_output_embeddings()
    linears = Counter(
        (m.out_features, m.in_features) for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head
    )
    assert sum(linears.values()) >= 3 * 4
    assert linears == Counter(list(shape.linears.values()) * shape.layers)


def kept_bytes(config, dtype, tokens, layers):
    """Bytes of distinct storages that autograd keeps in one forward pass with this library's adapters."""
    config.num_hidden_layers = layers
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).to(dtype)
    attach(model, AdapterConfig(r=4), dtype=dtype)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved = {}

    def keep(tensor):
        saved.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = model.get_decoder()(input_ids=torch.full((2, tokens // 2), 5), use_cache=False)[0]
    assert hidden.requires_grad
    return sum(t.untyped_storage().nbytes() for pointer, t in saved.items() if pointer not in parameters)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("name", ["llama", "mistral with wide heads", "qwen3", "opt", "gpt-neox", "bloom"])
def test_activations_of_a_layer_equal_what_autograd_keeps(name, dtype):
    config, torch_type = config_of(name), getattr(torch, dtype)
    shape = shape_of_config(config.to_dict(), name)
    for tokens in (32, 64):
        counted = [kept_bytes(config_of(name), torch_type, tokens, layers) for layers in (3, 2)]
        predicted = shape.layer_activation_bytes(torch_type.itemsize, tokens // 2)
        assert counted[0] - counted[1] == tokens * predicted


def test_full_estimates_of_every_family():
    for name in CONFIGS:
        shape = shape_of_config(config_of(name).to_dict(), name)
        for method in ("qlora", "lora", "full"):
            result = estimate(shape, EstimateOptions(method=method))
            weights = result.components["base_weights"] + result.components["unquantized_weights"]
            if method == "full":
                assert weights == 2 * shape.parameters
            assert result.peak_bytes > weights > 0


def test_known_names_files_and_folders(tmp_path):
    assert known_shape("LLaMA-65B") is NAMED_SHAPES["llama-65b"]
    assert 65e9 < NAMED_SHAPES["llama-65b"].parameters < 66e9
    config_of("opt").save_pretrained(tmp_path / "small-opt")
    shape = known_shape(str(tmp_path / "small-opt"))
    assert (shape.name, shape.family) == ("small-opt", "opt")
    assert known_shape(str(tmp_path / "small-opt" / "config.json")) == shape
    assert known_shape("someone/some-model") is None


def test_the_demo_models_own_file_gives_its_named_shape(demo_model):
    found = known_shape(str(demo_model))
    named = NAMED_SHAPES["smollm2-135m-instruct"]
    assert (found.parameters, found.linears, found.layers) == (named.parameters, named.linears, named.layers)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "not an object"),
        ('{"model_type": "mamba"}', "'mamba' is not one .*llama, mistral, .*bloom"),
        ("{}", "family None"),
        ('{"model_type": "llama", "num_attention_heads": 4}', "no field 'hidden_size'"),
        ('{"model_type": "bloom", "hidden_size": "wide"}', "field 'hidden_size' must be a whole number"),
        (json.dumps({"model_type": "mistral", **SMALL, "intermediate_size": 9}), "num_key_value_heads"),
        (json.dumps({"model_type": "opt", **OPT, "word_embed_proj_dim": 32}), "word_embed_proj_dim"),
        (json.dumps({"model_type": "gpt_neox", **NEOX, "num_attention_heads": 7}), "multiple of the attention heads"),
    ],
)
def test_bad_configurations_name_the_file_and_what_is_wrong(tmp_path, content, message):
    file = tmp_path / "config.json"
    file.write_text(content)
    with pytest.raises(InputError, match=message) as raised:
        known_shape(str(file))
    assert str(file) in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no model configuration .*config\.json"):
        known_shape(str(tmp_path))
