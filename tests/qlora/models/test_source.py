"""Which models are refused before anything of them is read, and what is then said."""

import ast
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
import transformers
from huggingface_hub import constants

from qlora.config import ModelConfig, QuantizationSettings
from qlora.errors import InputError
from qlora.models.load import load_quantized
from qlora.models.source import locate
from qlora.models.tokenizer import load_tokenizer


def load(name):
    return load_quantized(
        ModelConfig(str(name)), QuantizationSettings(), device=torch.device("cpu"), dtype=torch.float32
    )


@pytest.fixture
def folder(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def with_fields(file, **fields):
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_a_model_in_pickle_files_alone_is_refused_with_the_way_out(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert transformers.AutoModelForCausalLM.from_pretrained(folder), "expected transformers to read it"
    with pytest.raises(InputError, match=r"no safetensors, only pytorch_model.bin\. Pickle.*can run code.*save_pretra"):
        load(folder)
    model.save_pretrained(folder)  # as the sentence says
    load(folder)


def test_a_pickle_on_the_hub_is_not_taken_for_want_of_safetensors(folder, tmp_path, monkeypatch):
    """A model in the hub's cache whose weights are a pickle, which transformers would read."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    into_cache(tmp_path / "cache", "models--owner--pickled", folder)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert transformers.AutoModelForCausalLM.from_pretrained("owner/pickled"), "expected transformers to read it"
    with pytest.raises(InputError, match="owner/pickled"):
        load("owner/pickled")


def test_a_model_in_the_hubs_cache_needs_no_network(folder, tmp_path, monkeypatch):
    into_cache(tmp_path / "cache", "models--owner--model", folder)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    model, tokenizer = load("owner/model")
    assert model.config.hidden_size == 64 and tokenizer.chat_template
    tokenizer.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
    assert not saved.get("local_files_only"), "how it was fetched is no property of the tokenizer"


def into_cache(cache, name, folder):
    """As the hub's client keeps what it has fetched."""
    commit = "0" * 40
    (cache / name / "refs").mkdir(parents=True)
    (cache / name / "refs" / "main").write_text(commit)
    shutil.copytree(folder, cache / name / "snapshots" / commit)


@pytest.mark.parametrize("where", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_model_is_never_run_nor_asked_about(folder, monkeypatch, capsys, where):
    ran = folder / "ran"
    (folder / "code.py").write_text(f"open({str(ran)!r}, 'w')\nfrom transformers import LlamaConfig as Strange\n")
    of_config = {"AutoConfig": "code.Strange"}, {"model_type": "strange"}
    of_tokenizer = {"AutoTokenizer": ["code.Strange", None]}, {"tokenizer_class": "Strange"}
    auto_map, fields = of_config if where == "config.json" else of_tokenizer
    with_fields(folder / where, auto_map=auto_map, **fields)

    def asked(*_):
        pytest.fail("the user was asked whether to run it")

    monkeypatch.setattr("builtins.input", asked)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="comes with Python code of its own, which is never run here: take a model"):
        load(folder)
    if where == "tokenizer_config.json":
        with pytest.raises(InputError, match="never run here"):
            load_tokenizer(ModelConfig(str(folder)))
    assert not ran.exists() and "custom code" not in capsys.readouterr().out


def test_an_adapter_is_no_model(tmp_path, folder):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    (folder / "adapter_config.json").write_text("{}")  # PEFT would put it on the model by itself
    for place in (tmp_path / "adapter", folder):
        with pytest.raises(InputError, match=rf"holds an adapter: give its base model .*--adapter {place}"):
            locate(str(place))


@pytest.mark.parametrize("name", ["./model", "/nowhere/model", "~/no-such-model", "a/b/c"])
def test_a_path_is_not_looked_for_on_the_hub(name, monkeypatch):
    monkeypatch.setattr("qlora.hub.reachable", lambda: pytest.fail("the hub was asked"))
    with pytest.raises(InputError, match="There is no model folder"):
        locate(name)


def test_the_sentence_says_whether_it_was_the_network(monkeypatch):
    with pytest.raises(InputError) as caught:
        load("some/model")
    assert "because the hub cannot be reached: check the network" in str(caught.value)
    assert str(caught.value).count(". ") == 0 and "\n" not in str(caught.value)
    monkeypatch.setattr("qlora.hub.reachable", lambda: True)
    source = locate("some/model")
    assert "Check the name" in source.explain(OSError("some/model is not a valid model identifier\nand more"))
    missing = OSError("some/model does not appear to have a file named model.safetensors or …")
    assert "it has no safetensors. Pickle files are refused" in source.explain(missing)


def test_nothing_is_sent_away_to_be_converted(folder):
    load(folder)
    assert os.environ["DISABLE_SAFETENSORS_CONVERSION"] == "1"


def test_every_model_is_loaded_by_way_of_its_source():
    """The packaged GGUF file apart, nothing calls from_pretrained without what refuses code and pickles."""
    qlora = Path(__file__).resolve().parents[3] / "qlora"
    for file in qlora.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") != "from_pretrained":
                continue
            call = ast.unparse(node)
            assert "gguf_file=" in call or "**source.options" in call, f"{file}: {call}"
            assert "Tokenizer" in call or "gguf_file=" in call or "use_safetensors=True" in call, f"{file}: {call}"
