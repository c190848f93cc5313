"""`qlora evaluate` on a tiny quantized model, against transformers' own loss and the library's functions."""

import json
import math

import pytest
import torch

from qlora import cli
from qlora.adapters.attach import adapter_parameters, attach
from qlora.adapters.checkpoint import save_adapter
from qlora.commands.evaluate import load_model
from qlora.config import AdapterConfig

TEXT = "A page is a range of optimizer state that leaves the device under pressure."
QUESTION = {"question": "What is a page?", "choices": ["a range", "a moon", "a dog"], "answer": 0, "subject": "paging"}


@pytest.fixture
def files(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "questions.jsonl").write_text(json.dumps(QUESTION))
    (tmp_path / "examples.jsonl").write_text(json.dumps({**QUESTION, "question": "What is a number?"}))
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "What is a page?", "completion": "A range."}))
    return tmp_path


@pytest.fixture
def adapter(tiny_model, tmp_path):
    """Folder of an adapter that changes what the model says."""
    model, _, _ = load_model(str(tiny_model), None)
    attach(model, AdapterConfig(r=4, alpha=64.0), dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapter_parameters(model):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    save_adapter(model, tmp_path / "adapter", base_model=str(tiny_model))
    return tmp_path / "adapter"


def evaluated(capsys, *arguments):
    assert cli.main(["evaluate", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def own_loss(model, tokenizer):
    ids = torch.tensor([tokenizer(TEXT).input_ids])
    with torch.no_grad():
        return model(input_ids=ids, labels=ids).loss.item(), ids.shape[1]


def test_perplexity_of_a_model_with_and_without_an_adapter(files, tiny_model, adapter, capsys):
    losses = []
    for options in ([], ["--adapter", adapter]):
        found = evaluated(capsys, tiny_model, "--perplexity", files / "text.txt", *options)
        model, tokenizer, _ = load_model(str(tiny_model), options[1] if options else None)
        loss, tokens = own_loss(model, tokenizer)
        assert found["loss"] == pytest.approx(loss, abs=1e-5)
        assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-4)
        assert (found["tokens"], found["documents"], found["windows"]) == (tokens - 1, 1, 1)
        losses.append(loss)
    assert abs(losses[0] - losses[1]) > 0.01, "else the adapter was not used"


def test_a_configuration_and_a_run_name_their_model(files, tiny_model, adapter, capsys):
    config = f"model: {{name: {tiny_model}}}\nquantization: {{quant_type: int4}}\n"
    (files / "config.yaml").write_text(config)  # and, with the folder "adapter" beside it, a run
    of_config = evaluated(capsys, files / "config.yaml", "--perplexity", files / "text.txt")
    of_run = evaluated(capsys, files, "--perplexity", files / "text.txt")
    of_model = evaluated(capsys, tiny_model, "--perplexity", files / "text.txt")
    assert len({of_config["loss"], of_run["loss"], of_model["loss"]}) == 3, "INT4, INT4 with the adapter, NF4"
    given = evaluated(capsys, files / "config.yaml", "--adapter", adapter, "--perplexity", files / "text.txt")
    assert given["loss"] == of_run["loss"]


def test_choices(files, tiny_model, capsys):
    found = evaluated(
        capsys, tiny_model, "--choices", files / "questions.jsonl", "--shots", 1, "--examples", files / "examples.jsonl"
    )
    assert (found["questions"], found["shots"], found["shortened"]) == (1, 1, 0)
    assert found["by_subject"] == {"paging": [found["accuracy"], 1]}
    texts = evaluated(capsys, tiny_model, "--choices", files / "questions.jsonl", "--style", "texts")
    assert texts["chosen"][0] in (0, 1, 2) and texts["shots"] == 0


def test_rouge(files, tiny_model, capsys):
    found = evaluated(capsys, tiny_model, "--rouge", files / "rows.jsonl", "--max-new-tokens", 4)
    assert 0 <= found["f1"] <= 1 and found["answers"] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--perplexity", "text.txt"], ["perplexity", "nats a token", "windows"]),
        (["--choices", "questions.jsonl"], ["paging (1)", "mean of subjects", "1 questions, 0 shots"]),
        (["--rouge", "rows.jsonl", "--max-new-tokens", "2"], ["ROUGE-L", "1 answers"]),
    ],
)
def test_for_people_it_is_said_in_words(files, tiny_model, capsys, monkeypatch, options, words):
    monkeypatch.chdir(files)
    assert cli.main(["evaluate", str(tiny_model), *options]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in words)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--perplexity", "text.txt", "--shots", "2"], "--shots belongs to --choices, not to --perplexity"),
        (["--choices", "questions.jsonl", "--window", "8"], "--window belongs to --perplexity"),
        (["--choices", "questions.jsonl", "--shots", "2"], "needs --examples"),
        (["--choices", "questions.jsonl", "--shots", "-1"], "0 or more"),
        (["--choices", "missing.jsonl"], "no instruction file missing.jsonl"),
        (["--perplexity", "missing.txt"], "no text file missing.txt"),
        (["--perplexity", "text.txt", "--adapter", "nowhere"], "nowhere"),
        (["--perplexity", "text.txt", "--batch-size", "0"], "1 or more"),
        (["--rouge", "rows.jsonl", "--max-new-tokens", "0"], "from 1 to 4096"),
        (["--rouge", "text.txt"], "suffixes"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(files, tiny_model, capsys, monkeypatch, options, message):
    monkeypatch.chdir(files)
    assert cli.main(["evaluate", str(tiny_model), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_model_for_another_task_is_refused(files, tiny_model, capsys):
    (files / "t5.yaml").write_text(f"model: {{name: {tiny_model}, task: seq2seq}}\n")
    assert cli.main(["evaluate", str(files / "t5.yaml"), "--perplexity", str(files / "text.txt")]) == 2
    assert "only causal models" in capsys.readouterr().err
