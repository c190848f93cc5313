"""Every check that a run begins with: what triggers it, and that its sentence says the way out.

Those of the adapter are in test_preflight_adapter.py, those of memory in test_preflight_budget.py.
"""

import copy
import dataclasses
import inspect

import pytest
import torch
import transformers

from qlora import config as configuration
from qlora.data.encoding import Encoded, EncodedSamples
from qlora.errors import InputError
from qlora.training import preflight

CONFIG = configuration.RunConfig()
ONE = EncodedSamples([Encoded([1, 2], [-100, 2])])
HERE = {"check_output", "check_left", "check_split", "choose_device", "check_model", "check_tokenizer"}
# In test_preflight_adapter, test_preflight_budget, data/test_formats and data/test_encoding.
ELSEWHERE = {"check_adapter", "check_budget", "read", "encode_samples"}


def changed(**sections):
    return configuration.from_mapping(sections)


def test_no_check_is_forgotten():
    raising = {
        name
        for name, function in inspect.getmembers(preflight, inspect.isfunction)
        if function.__module__ == preflight.__name__ and "Raises:" in (function.__doc__ or "")
    }
    assert raising == HERE | ELSEWHERE, "a check that is new: add what triggers it"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("events.jsonl", "holds another run: choose another output folder or remove that one"),
        ("config.yaml", "holds config.yaml already, which the run would write over: choose another folder"),
        ("adapter", "holds adapter already, which the run would write over: choose another folder"),
        ("checkpoints", "holds checkpoints already, which the run would write over: choose another folder"),
    ],
)
def test_an_output_that_holds_something_of_a_run(tmp_path, name, message):
    (tmp_path / "notes.txt").touch()
    preflight.check_output(tmp_path)
    preflight.check_output(tmp_path / "new")
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=message):
        preflight.check_output(tmp_path)


def test_an_output_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"The output .*file is a file: name a folder"):
        preflight.check_output(tmp_path / "file")


def test_a_run_without_steps_left():
    preflight.check_left(CONFIG, 3, 4)
    with pytest.raises(InputError, match=r"has done its 4 steps: give it more with --set training.steps=8"):
        preflight.check_left(CONFIG, 4, 4)


def test_a_side_of_the_split_without_samples():
    evaluating = changed(training={"evaluation_steps": 1}, data={"evaluation_share": 0.1})
    preflight.check_split(evaluating, ONE, ONE)
    preflight.check_split(CONFIG, ONE, EncodedSamples())
    with pytest.raises(InputError, match=r"is left to train on: lower data.evaluation_share"):
        preflight.check_split(evaluating, EncodedSamples(), ONE)
    with pytest.raises(InputError, match=r"of 1 samples is none: raise it, or name a file in data.evaluation_path"):
        preflight.check_split(evaluating, ONE, EncodedSamples())


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("auto", "cpu"):
        assert preflight.choose_device(changed(training={"device": device})).type == "cpu"
    with pytest.raises(InputError, match=r"training.device is cuda, but torch finds no CUDA device: use auto or cpu"):
        preflight.choose_device(changed(training={"device": "cuda"}))


@pytest.fixture(scope="module")
def model(tiny_model):
    return transformers.AutoModelForCausalLM.from_pretrained(tiny_model)


@pytest.fixture
def tokenizer(tiny_model):
    return transformers.AutoTokenizer.from_pretrained(tiny_model)


def test_samples_longer_than_the_model(model, tokenizer):
    preflight.check_model(changed(data={"max_length": 256}), model, tokenizer)
    with pytest.raises(InputError, match=r"data.max_length is 257, but the model takes at most 256 tokens: lower it"):
        preflight.check_model(changed(data={"max_length": 257}), model, tokenizer)


def test_a_sample_prompt_that_leaves_no_room_for_an_answer(model, tokenizer):
    short, long = "What is NF4?", "What is NF4? " * 60
    preflight.check_model(changed(training={"sample_prompts": [short]}), model, tokenizer)
    with pytest.raises(InputError, match=r"training.sample_prompts: 'What is NF4\? .*' has \d+ tokens, .*: shorten it"):
        preflight.check_model(changed(training={"sample_prompts": [short, long]}), model, tokenizer)


def test_a_model_that_could_not_learn_to_stop(model, tokenizer):
    without = copy.deepcopy(tokenizer)
    without.eos_token = None
    for check in (lambda c: preflight.check_tokenizer(c, without), lambda c: preflight.check_model(c, model, without)):
        with pytest.raises(InputError, match="no end-of-text token, so the model could not learn to stop: set one"):
            check(CONFIG)
    preflight.check_tokenizer(changed(model={"task": "classification", "labels": ["a", "b"]}), without)


def test_packing_with_a_model_that_cannot_keep_samples_apart(small_model, tokenizer):
    auto, folder = small_model("bloom")
    packed = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, packing=True))
    with pytest.raises(InputError, match=r"data.packing: false"):
        preflight.check_model(packed, auto.from_pretrained(folder), tokenizer)
