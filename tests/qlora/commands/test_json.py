"""`--json` of every command prints JSON objects on stdout and nothing else. What cannot be used is a sentence on stderr
and exit status 2."""

import io
import json
import sys

import pytest

from qlora import cli
from qlora import config as configuration
from qlora.training.run import run

ONE, SEVERAL = "one object", "one object a line"
WORKING = {
    "train settings.yaml --set output=another": SEVERAL,
    "train settings.yaml --set output=third --dry-run": ONE,
    "resume run --set training.steps=3": SEVERAL,
    "merge run merged": ONE,
    "merge model merged-too --adapter run/adapter": ONE,
    "chat run --max-new-tokens 2": SEVERAL,
    "chat model --adapter run/adapter --max-new-tokens 2": SEVERAL,
    "generate run --prompt Why? --max-new-tokens 2": SEVERAL,
    "generate model --adapter run/adapter --prompt Why? --compare --max-new-tokens 2": SEVERAL,
    "evaluate run --perplexity text.jsonl": ONE,
    "estimate --model llama-7b": ONE,
    "quantize model quantized": ONE,
    "preview settings.yaml": ONE,
    "bench step --model model --sizes 1x8 --rounds 1": ONE,
}
REFUSED = {
    "train settings.yaml": "holds another run",
    "train none.yaml": "There is no configuration file none.yaml",
    "resume .": "There is no run in .",
    "merge run model": "exists already: name a new folder",
    "merge model merged-never": "There is no run in model: name the output folder of a training run, or give --adapter",
    "merge model merged-never --adapter owner/adapter": "owner/adapter is no folder on this machine",
    "chat model --adapter owner/adapter": "check the network, or give a local folder",
    "chat owner/model": "'owner/model' is not on this machine and could not be fetched",
    "chat t5.yaml": "model.task is seq2seq: only causal models can be asked with this command",
    "generate model --prompt Why?": "There is no run in model",
    "generate run --adapter model --prompt Why?": "There is no adapter in model",
    "generate run --prompt \udcff": "not UTF-8 text",
    "evaluate run --perplexity none.txt": "none.txt",
    "evaluate model --perplexity text.jsonl --adapter owner/adapter": "owner/adapter is no folder on this machine",
    "estimate --model llama-8b": "There is no model llama-8b",
    "quantize owner/model never": "'owner/model' is not on this machine",
    "preview none.yaml": "There is no configuration file",
    "bench step --sizes 0x8": "--sizes must be like 1x512",
}


@pytest.fixture(scope="module")
def place(tiny_model, tmp_path_factory):
    """A folder with a configuration, the run of it, and what to measure with."""
    folder = tmp_path_factory.mktemp("json")
    settings = {
        "model": {"name": str(tiny_model)},
        "data": {"max_length": 32, "system_prompt": ""},
        "training": {"steps": 2, "checkpoint_steps": 2, "sample_prompts": ["What is NF4?"], "sample_tokens": 2},
        "output": str(folder / "run"),
    }
    (folder / "settings.yaml").write_text(json.dumps(settings))  # JSON is YAML
    list(run(configuration.load(folder / "settings.yaml")))
    (folder / "text.jsonl").write_text(json.dumps({"prompt": "What is a page?", "completion": "A range."}))
    (folder / "model").symlink_to(tiny_model)
    (folder / "t5.yaml").write_text("model: {name: model, task: seq2seq}")
    return folder


def typed(command):
    """The words of a command; none has a space in it."""
    return [*command.split(" "), "--json"]


@pytest.mark.parametrize("command", WORKING)
def test_stdout_is_json_and_nothing_else(place, monkeypatch, capfd, command):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is a page?\nAnd why?\n"))
    assert cli.main(typed(command)) == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines), "each line is an object"
    assert len(lines) == 1 if WORKING[command] is ONE else len(lines) > 1
    assert "qlora:" not in err and "Traceback" not in err


@pytest.mark.parametrize("command", REFUSED)
def test_what_cannot_be_used_is_a_sentence_on_stderr(place, monkeypatch, capfd, command):
    monkeypatch.chdir(place)
    before = sorted(place.iterdir())
    assert cli.main(typed(command)) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("qlora: ") and REFUSED[command] in err
    assert len(err.splitlines()) == 1 and sorted(place.iterdir()) == before


@pytest.mark.parametrize("command", ["train", "merge run", "generate run", "bench", "bench step --sizes"])
def test_a_command_that_is_not_complete_leaves_stdout_empty(capfd, command):
    with pytest.raises(SystemExit) as caught:
        cli.main(command.split())
    out, err = capfd.readouterr()
    assert caught.value.code == 2 and out == "" and err.startswith("usage: qlora")


def test_every_command_is_here():
    """So that a new command is not forgotten; `bench kernels` needs a GPU."""
    parser = cli._parser()
    (commands,) = [action.choices for action in parser._actions if action.choices]
    assert {command.split(" ")[0] for command in WORKING} == set(commands)
    assert {command.split(" ")[0] for command in REFUSED} == set(commands)


def test_ctrl_c_is_a_word_and_the_shells_status(monkeypatch, capfd):
    def interrupted(file):
        raise KeyboardInterrupt

    monkeypatch.setattr("qlora.config.load", interrupted)
    assert cli.main(["preview", "settings.yaml", "--json"]) == 130
    assert capfd.readouterr() == ("", "qlora: interrupted\n")
