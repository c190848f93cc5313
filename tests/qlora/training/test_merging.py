"""Merging a run, as a person does it who has its folder alone."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers

from qlora import config as configuration
from qlora.adapters.attach import adapters_disabled
from qlora.adapters.checkpoint import load_adapter
from qlora.cli import main
from qlora.data.chat import prompt_ids
from qlora.errors import InputError
from qlora.evaluation.generation import stream
from qlora.models.load import load_quantized
from qlora.training.merging import merge_run
from qlora.training.run import run


@pytest.fixture(scope="module")
def settings(tiny_model, tmp_path_factory):
    done = configuration.from_mapping(
        {
            "model": {"name": str(tiny_model)},
            "data": {"max_length": 48, "system_prompt": ""},
            "optimizer": {"learning_rate": 1e-2},
            "training": {"steps": 4},
            "output": str(tmp_path_factory.mktemp("merging") / "run"),
        }
    )
    list(run(done))
    return done


def test_a_merged_run_is_a_plain_checkpoint_with_its_tokenizer(settings, tmp_path):
    merge_run(Path(settings.output), tmp_path / "merged", dtype=torch.float32)
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert merged.dtype == torch.float32

    cpu = torch.device("cpu")
    model, own = load_quantized(settings.model, settings.quantization, device=cpu, dtype=torch.float32)
    load_adapter(model, Path(settings.output) / "adapter")
    ids = torch.tensor([own("What is a page?").input_ids])
    assert tokenizer("What is a page?").input_ids == ids[0].tolist()
    assert tokenizer.chat_template == own.chat_template is not None
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, model(ids).logits, rtol=0, atol=1e-5)
        with adapters_disabled(model):
            assert not torch.allclose(merged(ids).logits, model(ids).logits, atol=1e-2), "else this proves nothing"


def test_merging_into_the_original_is_another_model(settings, tmp_path):
    run_folder = Path(settings.output)
    merge_run(run_folder, tmp_path / "usual", dtype=torch.float32)
    merge_run(run_folder, tmp_path / "original", dtype=torch.float32, original=Path(settings.model.name))
    usual, original, base = (
        transformers.AutoModelForCausalLM.from_pretrained(folder)
        for folder in (tmp_path / "usual", tmp_path / "original", settings.model.name)
    )
    name = "model.layers.0.mlp.up_proj"
    away = {label: (m.get_submodule(name).weight - base.get_submodule(name).weight).norm() for label, m in
            (("usual", usual), ("original", original))}  # fmt: skip
    assert 0 < away["original"] < away["usual"]


def test_a_merged_model_ends_its_answers_in_other_programs_too(tiny_model, tmp_path):
    """The chat template ends turns with another token than the tokenizer's end of text."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").write_text(template.replace("<|im_end|>", "<|endoftext|>"))
    sample = {"prompt": "What is a page?", "completion": "A range."}
    (tmp_path / "one.jsonl").write_text(json.dumps(sample))
    done = configuration.from_mapping(
        {
            "model": {"name": str(folder)},
            "data": {"path": str(tmp_path / "one.jsonl"), "max_length": 48, "system_prompt": ""},
            "optimizer": {"learning_rate": 2e-2},
            "training": {"steps": 30, "max_gradient_norm": 0},
            "output": str(tmp_path / "run"),
        }
    )
    list(run(done))
    merge_run(done.output, tmp_path / "merged", dtype=torch.float32)
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert end != tokenizer.eos_token_id, "else this proves nothing"
    assert set(merged.generation_config.eos_token_id) == {end, tokenizer.eos_token_id}
    ids = torch.tensor([prompt_ids(tokenizer, sample["prompt"], "")])
    said = merged.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=60, do_sample=False)[
        0, ids.shape[1] :
    ]
    assert len(said) < 60 and said[-1] == end
    assert tokenizer.decode(said[:-1]) == "".join(stream(merged, tokenizer, sample["prompt"], 60, ""))


def test_an_adapter_can_be_given_in_place_of_the_runs_own(settings, tmp_path):
    adapter = str(Path(settings.output) / "adapter")
    merge_run(settings.output, tmp_path / "own", dtype=torch.float32)
    merge_run(settings.model.name, tmp_path / "given", adapter=adapter, dtype=torch.float32)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("own", "given")]
    assert files[0] == files[1]


def test_what_cannot_be_merged_is_named(settings, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="There is no run in"):
        merge_run(tmp_path, tmp_path / "merged")
    shutil.copytree(settings.output, tmp_path / "run")
    shutil.move(tmp_path / "run" / "adapter", tmp_path / "elsewhere")
    with pytest.raises(InputError, match="has saved no adapter, which it does at its end: let it end first"):
        merge_run(tmp_path / "run", tmp_path / "merged")
    (tmp_path / "run" / "checkpoints" / "step-2").mkdir(parents=True)
    with pytest.raises(InputError, match=r"its newest checkpoint has one: --adapter .*checkpoints/step-2/adapter"):
        merge_run(tmp_path / "run", tmp_path / "merged")
    monkeypatch.setattr("qlora.training.merging.load_quantized", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(InputError, match="check the network"):
        merge_run(tmp_path / "run", tmp_path / "merged", adapter="owner/adapter")


def test_the_command_says_what_it_wrote(settings, tmp_path, capsys):
    assert main(["merge", settings.output, str(tmp_path / "merged"), "--dtype", "float16", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["dtype"] == "float16" and said["bytes"] == (tmp_path / "merged" / "model.safetensors").stat().st_size
    assert main(["merge", settings.output, str(tmp_path / "merged")]) == 2
    assert "merged exists already: name a new folder" in capsys.readouterr().err
