import json
import logging
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


def test_only_what_is_not_quantized_is_converted_to_the_dtype_of_the_computation(loaded):
    model, _ = loaded
    assert model.dtype == torch.float32 and model.config.dtype == torch.float32
    dtypes = {m.weight_dtype for m in model.modules() if isinstance(m, qlora.QuantizedLinear)}
    assert dtypes == {torch.float16}, "a float32 copy of a weight would be twice the bytes of the file's"


def test_what_is_quantized_is_logged(tiny_model, caplog):
    with caplog.at_level(logging.INFO, logger="qlora"):
        load(tiny_model)
    (line,) = [record.message for record in caplog.records if record.name.startswith("qlora")]
    assert line.startswith("Quantized: 14 layers, 61.4 k parameters") and "Not quantized: embeddings" in line


@pytest.mark.parametrize("save_with", ["bitsandbytes", "qlora"])
def test_a_checkpoint_that_is_quantized_already_is_taken_as_it_is(tiny_model, tmp_path, caplog, save_with):
    transformers = pytest.importorskip("transformers")
    config = qlora.QuantizationConfig("fp4-e2m1", double_quantization=False)
    if save_with == "bitsandbytes":
        pytest.importorskip("bitsandbytes")
        config = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="fp4")
    saved = transformers.AutoModelForCausalLM.from_pretrained(
        tiny_model, quantization_config=config, dtype=torch.bfloat16
    )
    saved.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    model, _ = load(tmp_path)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, qlora.QuantizedLinear)}
    assert len(layers) == 14 and model.dtype == torch.float32
    for name, layer in layers.items():
        assert torch.equal(layer.weight, saved.get_submodule(name).weight.flatten())
    assert "is quantized already (fp4-e2m1, blocks of 64, without double quantization)" in caplog.text
    assert model(torch.arange(8)[None]).logits.isfinite().all()


def test_experts_left_in_16_bit_are_a_warning(small_model, tiny_model, tmp_path, caplog):
    transformers = pytest.importorskip("transformers")
    auto, folder = small_model("mixtral")
    auto.from_pretrained(folder).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    load(tmp_path)
    (line,) = [record.message for record in caplog.records if record.name.startswith("qlora")]
    assert line.startswith("Left in float32: ") and "model.layers.*.mlp.experts.gate_up_proj (2 tensors" in line


def test_an_8_bit_checkpoint_is_named(tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="cannot be loaded: The checkpoint is quantized to 8 bits by bitsandbytes"):
        load(tmp_path / "model")


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
