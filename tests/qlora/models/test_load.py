import shutil

import pytest
import torch

import qlora
from qlora.config import ModelConfig, QuantizationSettings
from qlora.errors import InputError
from qlora.models import demo
from qlora.models.load import load_quantized

CPU = torch.device("cpu")


def load(name, **settings):
    return load_quantized(ModelConfig(str(name)), QuantizationSettings(**settings), device=CPU, dtype=torch.float32)


@pytest.fixture(scope="module")
def loaded(demo_model):
    return load("smollm2-135m-instruct")


def test_every_linear_layer_but_the_head_is_quantized(loaded):
    model, _ = loaded
    linear = {n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    quantized = {n for n, m in model.named_modules() if isinstance(m, qlora.QuantizedLinear)}
    assert linear == {"lm_head"} and len(quantized) == 30 * 7
    assert model.lm_head.weight is model.model.embed_tokens.weight, "tied weights stay tied"


def test_weights_are_those_of_the_file_quantized_by_bitsandbytes(loaded, demo_model):
    functional = pytest.importorskip("bitsandbytes.functional")
    from safetensors import safe_open

    model, _ = loaded
    with safe_open(demo_model / "model.safetensors", "pt") as file:
        for name in ("model.layers.0.self_attn.k_proj", "model.layers.29.mlp.down_proj"):
            codes, _ = functional.quantize_4bit(file.get_tensor(f"{name}.weight"), blocksize=64, quant_type="nf4")
            assert torch.equal(model.get_submodule(name).weight, codes.flatten())


def test_bits_per_parameter_of_the_loaded_model(loaded):
    model, _ = loaded
    layers = [m.quantized_weight for m in model.modules() if isinstance(m, qlora.QuantizedLinear)]
    bits = 8 * sum(w.nbytes for w in layers) / sum(w.shape.numel() for w in layers)
    assert bits == pytest.approx(4.127, abs=0.001)


def test_the_quantized_model_still_answers(loaded):
    from qlora.evaluation.generation import stream

    model, tokenizer = loaded
    answer = "".join(stream(model, tokenizer, "What is the capital of France?", 12))
    assert "Paris" in answer


def test_streamed_text_is_what_transformers_generates(loaded):
    from qlora.data.chat import prompt_ids
    from qlora.evaluation.generation import stream

    model, tokenizer = loaded
    prompt = "Write one word with an accent, in French."
    ids = torch.tensor([prompt_ids(tokenizer, prompt)])
    whole = model.generate(ids, max_new_tokens=10, do_sample=False, attention_mask=torch.ones_like(ids))
    expected = tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)
    assert "".join(stream(model, tokenizer, prompt, 10)) == expected


def test_an_unconverted_demo_model_says_how_to_make_it(monkeypatch, tmp_path):
    monkeypatch.setenv("QLORA_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"python -m qlora\.models\.demo"):
        load("smollm2-135m-instruct")


def test_a_missing_package_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("QLORA_CACHE", str(tmp_path))
    monkeypatch.setattr(demo, "_GGUF_PACKAGE", "no_such_package")
    with pytest.raises(InputError, match="not installed: run `make app`"):
        demo.convert_demo_model()
    assert not any(tmp_path.rglob("*.safetensors"))


def test_a_truncated_weight_file_is_named(demo_model, tmp_path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(demo_model / name, tmp_path)
    with (demo_model / "model.safetensors").open("rb") as file:
        (tmp_path / "model.safetensors").write_bytes(file.read(100_000))
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(InputError, match=r"holds no model: config.json is missing"):
        load(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="There is no model folder"):
        load(tmp_path / "none")


def test_a_hub_name_without_a_network_says_so_in_one_sentence():
    with pytest.raises(InputError, match="'some/model' is not on this machine and could not be fetched"):
        load("some/model")
