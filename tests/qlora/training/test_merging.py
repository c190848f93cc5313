"""Merging a run, as a person does it who has its folder alone."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from qlora import config as configuration
from qlora.adapters.attach import adapters_disabled
from qlora.adapters.checkpoint import load_adapter
from qlora.cli import main
from qlora.errors import InputError
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


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(InputError, match="There is no run in"):
        merge_run(tmp_path, tmp_path / "merged")


def test_the_command_says_what_it_wrote(settings, tmp_path, capsys):
    assert main(["merge", settings.output, str(tmp_path / "merged"), "--dtype", "float16", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["dtype"] == "float16" and said["bytes"] == (tmp_path / "merged" / "model.safetensors").stat().st_size
    assert main(["merge", settings.output, str(tmp_path / "merged")]) == 2
    assert "merged exists already: name a new folder" in capsys.readouterr().err
