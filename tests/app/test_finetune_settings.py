"""Presets and settings of the Finetune tab."""

import dataclasses
import json

import pytest

from app import runs
from app.tabs import finetune_settings as settings
from app.text import finetune as text
from qlora import events
from qlora.errors import InputError
from tests.app.conftest import steps_of, wait_until


def with_field(preset: str, name: str, value):
    values = settings.field_values(settings.preset_config(preset))
    values[[field for _, field in settings.FIELDS].index(name)] = value
    return settings.chosen_config(preset, *values)


@pytest.mark.parametrize("preset", text.PRESETS)
def test_untouched_form_is_the_preset(preset):
    config = settings.preset_config(preset)
    assert settings.chosen_config(preset, *settings.field_values(config)) == config


def test_presets_differ_from_the_recipe_only_in_what_they_say():
    demo, short, tight = (settings.preset_config(name) for name in ("demo", "short", "small_device"))
    assert short.training.steps == demo.training.steps // 4
    assert dataclasses.replace(short, training=demo.training) == demo
    assert tight.optimizer.device_budget_mib == settings.SMALL_DEVICE_MIB
    assert tight.training.activations == "checkpoint", "the estimate's own choice would leave no pressure on the pages"
    as_demo = dataclasses.replace(tight.training, activations=demo.training.activations)
    assert dataclasses.replace(tight, optimizer=demo.optimizer, training=as_demo) == demo


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", None),
        ("batch_size", -1),
        ("max_length", 3),
        ("learning_rate", 0),
        ("learning_rate", None),
        ("r", 100_000),
        ("device_budget_mib", -5),
        ("quant_type", "nf3"),
    ],
)
def test_value_out_of_range_is_named(name, value):
    with pytest.raises(InputError, match=name):
        with_field("demo", name, value)


def test_fewer_steps_than_the_warm_up_shorten_it():
    assert settings.demo().training.warmup_steps > 1, "expected a warm-up, else this proves nothing"
    config = with_field("demo", "steps", 1)
    assert config.training.warmup_steps == 1


@pytest.mark.parametrize("value", [0, None])
def test_no_budget_is_no_limit(value):
    assert with_field("small_device", "device_budget_mib", value).optimizer.device_budget_mib is None


def test_plan_says_what_was_chosen():
    words = settings.plan(with_field("small_device", "r", 7), None)
    assert "rank 7" in words
    assert f"{settings.SMALL_DEVICE_MIB:g} MiB" in words
    assert "SmolLM2" in words
    assert "MiB" not in settings.plan(settings.demo(), None)


def test_upload_is_read_and_named_as_the_visitor_knows_it(tmp_path):
    file = tmp_path / "mine.jsonl"
    sample = {"instruction": "What?", "output": "That."}
    file.write_text("\n".join(json.dumps(sample) for _ in range(3)))
    words = settings.plan(settings.demo(), str(file))
    assert "3 samples in mine.jsonl" in words
    file.write_text(json.dumps(sample) + "\n{broken\n")
    with pytest.raises(InputError, match="line 2") as caught:
        settings.plan(settings.demo(), str(file))
    assert str(caught.value).startswith("The instruction file mine.jsonl") or str(caught.value).startswith("mine.jsonl")
    assert str(tmp_path) not in str(caught.value)


def test_small_device_makes_the_demo_models_pages_move(demo_model, runs_folder):
    """Measured: from the second step on the optimizer's pages exist, and the activations of a long batch push some of
    them out."""
    config = settings.preset_config("small_device")
    training = dataclasses.replace(config.training, steps=3, sample_prompts=())
    run = runs.start(dataclasses.replace(config, training=training))
    wait_until(lambda: not runs.status(run).live)
    assert runs.status(run).state == "finished", runs.status(run).message
    start, steps = runs.events(run)[0], steps_of(run)
    assert max(step.pages_out for step in steps) in range(1, start.pages)
    assert all(step.pages_in == step.pages_out for step in steps), "every update needs them all again"
    moved = [event for event in runs.events(run) if isinstance(event, events.PageMoved)]
    assert {move.reason for move in moved if move.direction == "out"} == {"activations"}
    assert all(sum(step.memory_bytes.values()) <= settings.SMALL_DEVICE_MIB * 2**20 for step in steps)
