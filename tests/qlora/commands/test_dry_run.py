import json

import pytest

from qlora import cli, events
from qlora import config as configuration
from qlora.training.run import run


@pytest.fixture
def file(tiny_model, tmp_path):
    row = json.dumps({"prompt": "What is a page?", "completion": "A piece of the optimizer's state."}) + "\n"
    (tmp_path / "alike.jsonl").write_text(row * 9)  # batches that all take the same
    settings = {
        "model": {"name": str(tiny_model)},
        "data": {"path": str(tmp_path / "alike.jsonl"), "max_length": 60, "system_prompt": ""},
        "training": {"steps": 2},
        "output": str(tmp_path / "run"),
    }
    path = tmp_path / "settings.yaml"
    path.write_text(json.dumps(settings))  # JSON is YAML
    return path


def test_a_dry_run_says_what_the_run_then_takes_and_writes_nothing(file, tmp_path, capsys):
    assert cli.main(["train", str(file), "--dry-run", "--json", "--set", "training.batch_size=3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert not (tmp_path / "run").exists()
    settings = configuration.with_changes(configuration.load(file), {"training.batch_size": "3"})
    happened = list(run(settings))
    started, steps = happened[0], [e for e in happened if isinstance(e, events.StepFinished)]
    assert found["trained"] == started.trainable_parameters
    assert sum(p["count"] for p in found["parameters"].values()) == started.parameters + started.trainable_parameters
    for part in ("base_model", "adapters", "gradients", "optimizer"):
        assert found["memory_bytes"][part] == started.memory_bytes[part]
    taken = max(step.memory_bytes["activations"] for step in steps)
    assert found["memory_bytes"]["activations"] == pytest.approx(taken, rel=0.02)
    assert (found["steps"], found["samples"]) == (2, started.samples)
    estimated = found["estimated_bytes"]
    assert list(estimated) == list(found["memory_bytes"])
    for part in ("adapters", "gradients", "optimizer"):
        assert estimated[part] == found["memory_bytes"][part]
    assert estimated["base_model"] == pytest.approx(found["memory_bytes"]["base_model"], rel=0.005)
    assert estimated["activations"] == pytest.approx(found["memory_bytes"]["activations"], rel=0.02)


def test_a_dry_run_for_a_person(file, capsys):
    assert cli.main(["train", str(file), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    for words in ("quantized layers", "together", "estimated", "would be trained in 2 steps", "Nothing was found"):
        assert words in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "training.steps"], "--set takes KEY=VALUE"),
        (["--set", "training.stesp=3"], "Unknown key 'training.stesp': did you mean 'steps'"),
        (["--set", "training.steps=many"], "training.steps must be a whole number, got 'many'"),
        (["--set", "output.folder=x"], "output holds no other keys"),
        (["--dry-run", "--set", "optimizer.device_budget_mib=0.1"], "budget"),
    ],
)
def test_bad_settings_are_named(file, arguments, message, capsys):
    assert cli.main(["train", str(file), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_of_a_family_whose_memory_is_not_known(file, capsys, monkeypatch):
    monkeypatch.setattr("qlora.memory.model_config.FAMILIES", {})
    assert cli.main(["train", str(file), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["estimated_bytes"] is None
    assert cli.main(["train", str(file), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "together" in shown and "estimated" not in shown
