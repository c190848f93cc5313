"""`qlora estimate` against the estimate it prints and the model that its shape describes."""

import json

import pytest
import torch
import transformers

from qlora import cli
from qlora.config import TrainingConfig
from qlora.memory.estimate import EstimateOptions, estimate
from qlora.memory.shapes import LLAMA


def estimated(capsys, *arguments):
    assert cli.main(["estimate", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_llama_65b_fits_a_card_of_48_gb(capsys):
    found = estimated(capsys, "--model", "llama-65b", "--batch", 1, "--seq", 512)
    expected = estimate(LLAMA["65B"], EstimateOptions(loss_chunk_tokens=TrainingConfig.loss_chunk_tokens))
    assert found["components"] == expected.components
    assert found["peak_bytes"] == expected.peak_bytes < 48 * 2**30
    assert found["peak_bytes"] == sum(found["moments"][found["peak_moment"]].values())
    assert found["pageable_bytes"] == found["components"]["optimizer_states"]


def test_each_option_counts(capsys):
    plain = estimated(capsys, "--model", "llama-7b")
    assert (
        estimated(capsys, "--model", "llama-7b", "--r", 128)["trainable_parameters"]
        == 2 * plain["trainable_parameters"]
    )
    more = (
        ["--batch", 8],
        ["--seq", 4096],
        ["--method", "full"],
        ["--no-checkpointing"],
        ["--checkpointed-layers", 30],
    )
    for option in more:
        assert estimated(capsys, "--model", "llama-7b", *option)["peak_bytes"] > plain["peak_bytes"], option
    offloaded = estimated(capsys, "--model", "llama-7b", "--offload")
    assert offloaded["peak_bytes"] < plain["peak_bytes"] and offloaded["main_memory_bytes"] == 32 * 512 * 4096 * 2
    smaller = estimated(capsys, "--model", "llama-7b", "--optimizer", "adamw-8bit")
    assert smaller["components"]["optimizer_states"] < plain["components"]["optimizer_states"] / 3
    assert smaller["pageable_bytes"] == 0


def test_a_folder_is_the_model_in_it(tiny_model, capsys):
    found = estimated(capsys, "--model", tiny_model)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(tiny_model))
    assert found["parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_ways_to_keep_activations_exclude_each_other(capsys):
    with pytest.raises(SystemExit):
        cli.main(["estimate", "--model", "llama-7b", "--offload", "--no-checkpointing"])
    assert "not allowed with" in capsys.readouterr().err


def test_for_people_it_is_a_table(capsys):
    assert cli.main(["estimate", "--model", "llama-7b"]) == 0
    printed = capsys.readouterr().out
    for words in ("LLaMA 7B", "base weights", "optimizer states", "an estimate", "pages out"):
        assert words in printed
    assert cli.main(["estimate", "--model", "llama-7b", "--offload"]) == 0
    assert "0.12 GiB of main memory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "llama-66b"], "There is no model llama-66b: give one of llama-7b"),
        (["--model", "someone/never-fetched-model"], "is no folder on this machine"),
        (["--model", "missing/config.json"], "no model configuration missing/config.json"),
        (["--model", "llama-7b", "--r", "0"], "rank"),
        (["--model", "llama-7b", "--seq", "0"], "sequence length"),
        (["--model", "llama-7b", "--checkpointed-layers", "33"], "from 0 to 32, not 33"),
    ],
)
def test_what_cannot_be_estimated_is_one_sentence(capsys, arguments, message):
    assert cli.main(["estimate", *arguments]) == 2
    assert message in capsys.readouterr().err
