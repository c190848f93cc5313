"""Where configurations come from, and what is said of those that cannot be used."""

import json

import pytest
import transformers

from qlora.errors import InputError
from qlora.memory.families import UnknownFamily
from qlora.memory.model_config import NAMED_SHAPES, known_shape, shape_of, shape_of_config

SMALL = {"vocab_size": 90, "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6}
NEOX = {**SMALL, "intermediate_size": 256}
OPT = {**SMALL, "ffn_dim": 256, "word_embed_proj_dim": 96, "max_position_embeddings": 128}
T5 = {"vocab_size": 90, "d_model": 96, "d_kv": 16, "d_ff": 256, "num_heads": 6, "num_layers": 2}


def test_known_names_files_and_folders(tmp_path):
    assert known_shape("LLaMA-65B") == NAMED_SHAPES["llama-65b"]
    assert 65e9 < NAMED_SHAPES["llama-65b"].parameters < 66e9
    transformers.OPTConfig(**OPT).save_pretrained(tmp_path / "small-opt")
    shape = known_shape(str(tmp_path / "small-opt"))
    assert (shape.name, shape.family) == ("small-opt", "opt")
    assert known_shape(str(tmp_path / "small-opt" / "config.json")) == shape
    assert shape_of(str(tmp_path / "small-opt")) == shape
    assert known_shape("someone/some-model") is None


def test_a_writer_as_a_classifier(tmp_path):
    transformers.OPTConfig(**OPT).save_pretrained(tmp_path)
    writer, classifier = known_shape(str(tmp_path)), known_shape(str(tmp_path), labels=5)
    assert (writer.task, classifier.task) == ("causal", "classification")
    assert classifier.parameters - writer.parameters == 5 * 96  # the writer's head is its embedding
    named = known_shape("llama-7b", labels=2)
    assert NAMED_SHAPES["llama-7b"].parameters - named.parameters == (32_000 - 2) * 4096


def test_a_t5_whose_head_is_not_its_embedding():
    """T5 1.1 and FLAN-T5 say so; transformers then reads both from the checkpoint."""
    tied, untied = (shape_of_config({"model_type": "t5", **T5, "tie_word_embeddings": t}, "t5") for t in (True, False))
    assert untied.parameters - tied.parameters == 90 * 96


def test_the_demo_models_own_file_gives_its_named_shape(demo_model):
    found = known_shape(str(demo_model))
    named = NAMED_SHAPES["smollm2-135m-instruct"]
    assert (found.parameters, found.stacks, found.layers) == (named.parameters, named.stacks, named.layers)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "not an object"),
        ('{"model_type": "mamba"}', "'mamba' is not one .*llama, mistral, .*t5"),
        ("{}", "family None"),
        ('{"model_type": "llama", "num_attention_heads": 4}', "no field 'hidden_size'"),
        ('{"model_type": "bloom", "hidden_size": "wide"}', "field 'hidden_size' must be a whole number"),
        (json.dumps({"model_type": "mistral", **SMALL, "intermediate_size": 9}), "num_key_value_heads"),
        (json.dumps({"model_type": "mixtral", **NEOX, "num_key_value_heads": 6}), "num_local_experts"),
        (json.dumps({"model_type": "t5", **T5, "feed_forward_proj": "gated-silu"}), "not as 'gated-silu'"),
        (json.dumps({"model_type": "gpt_neox", **NEOX, "num_attention_heads": 7}), "multiple of the attention heads"),
    ],
)
def test_bad_configurations_name_the_file_and_what_is_wrong(tmp_path, content, message):
    file = tmp_path / "config.json"
    file.write_text(content)
    with pytest.raises(InputError, match=message) as raised:
        known_shape(str(file))
    assert str(file) in str(raised.value)
    assert isinstance(raised.value, UnknownFamily) == ("mamba" in content or "silu" in content or content == "{}")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no model configuration .*config\.json"):
        known_shape(str(tmp_path))
