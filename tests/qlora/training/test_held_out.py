import dataclasses
import json
import math

import pytest
import torch

from qlora import config as configuration
from qlora import events
from qlora.config import RunConfig
from qlora.data.batches import in_order
from qlora.data.encoding import IGNORED
from qlora.errors import InputError
from qlora.training import held_out, schedule
from qlora.training.run import run
from qlora.training.setup import prepare


@pytest.fixture
def settings(tiny_model, tmp_path):
    return configuration.from_mapping(
        {
            "model": {"name": str(tiny_model)},
            "data": {"max_length": 40, "system_prompt": "", "evaluation_share": 0.1},
            "optimizer": {"learning_rate": 1e-2},
            "training": {"steps": 6, "evaluation_steps": 2},
            "output": str(tmp_path / "run"),
        }
    )


def changed(settings: RunConfig, **sections) -> RunConfig:
    return dataclasses.replace(
        settings,
        **{name: dataclasses.replace(getattr(settings, name), **fields) for name, fields in sections.items()},
    )


def test_the_held_out_loss_is_the_models_own_over_samples_that_are_not_trained_on(settings):
    setup = prepare(settings, lambda happening: None)
    training = {tuple(sample.input_ids) for sample in setup.samples}
    assert len(setup.held_out) == 33 and not training & {tuple(s.input_ids) for s in setup.held_out}
    evaluated = held_out.evaluate(setup.model, setup.held_out, setup.batches, 0)
    total, tokens = 0.0, 0
    for batch in in_order(setup.held_out, 1, 0):
        with torch.no_grad():
            loss = setup.model(**batch.model_inputs(), labels=batch.labels).loss.item()
        count = int((batch.labels != IGNORED).sum())
        total, tokens = total + loss * count, tokens + count
    assert evaluated.loss == pytest.approx(total / tokens, rel=1e-5)
    assert evaluated.perplexity == pytest.approx(math.exp(total / tokens), rel=1e-4)
    assert (evaluated.samples, evaluated.trained_tokens) == (33, tokens)
    assert setup.model.training


def test_a_run_evaluates_every_n_steps_and_at_the_end(settings):
    happened = list(run(changed(settings, training={"steps": 5, "sample_prompts": ("NF4?",), "sample_tokens": 2})))
    assert [e.step for e in happened if isinstance(e, events.Evaluated)] == [2, 4, 5]
    # The finetuned model answers at each evaluation before the last; after the run both answer.
    assert [e.step for e in happened if isinstance(e, events.SampleGenerated)] == [2, 4, 0, 5]
    losses = [e.loss for e in happened if isinstance(e, events.Evaluated)]
    assert losses[-1] < losses[0]


def test_evaluating_changes_no_step(settings):
    def losses(config):
        return [e.loss for e in run(config) if isinstance(e, events.StepFinished)]

    every = losses(changed(settings, adapter={"dropout": 0.3}, training={"evaluation_steps": 1}))
    once = changed(settings, adapter={"dropout": 0.3}, training={"evaluation_steps": 100})
    assert every == losses(dataclasses.replace(once, output=settings.output + "-once"))


def test_a_run_ends_when_nothing_is_gained(settings, tmp_path):
    (tmp_path / "other.jsonl").write_text(json.dumps({"prompt": "a b c", "completion": "x y z " * 5}) + "\n")
    data = {"evaluation_share": 0.0, "evaluation_path": str(tmp_path / "other.jsonl")}
    never = changed(settings, data=data, training={"steps": 60, "evaluation_steps": 1, "patience": 3})
    happened = list(run(never))
    losses = [e.loss for e in happened if isinstance(e, events.Evaluated)]
    assert len(losses) < 60, "the loss fell all the time, so this proves nothing"
    assert min(losses) == losses[-4] and happened[-1].outcome == "finished"
    assert "3 evaluations in a row brought no lower loss" in happened[-1].message


def test_epochs_decide_how_many_steps_there_are(settings):
    one = changed(settings, training={"epochs": 1.5, "batch_size": 4, "accumulation": 3})
    assert schedule.total_steps(one, batches_per_epoch=74) == 37
    assert schedule.total_steps(changed(settings, training={"steps": 9}), 74) == 9
    started = next(run(one))
    assert started.steps == math.ceil(1.5 * math.ceil(295 / 4) / 3) and started.samples == 295


def test_the_learning_rate_rises_and_falls(settings):
    def rates(**training):
        config = changed(settings, optimizer={"learning_rate": 1.0}, training=training)
        return [schedule.learning_rate(config, step, 6) for step in range(1, 7)]

    assert rates(schedule="constant", warmup_steps=2) == [0.5, 1, 1, 1, 1, 1]
    assert rates(schedule="linear", warmup_steps=2) == [0.5, 1, 1, 0.75, 0.5, 0.25]
    half = math.sqrt(0.5)
    assert rates(schedule="cosine", warmup_steps=2) == pytest.approx([0.5, 1, 1, (1 + half) / 2, 0.5, (1 - half) / 2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"evaluation_share": 0.0}}, "Give both or neither: training.evaluation_steps, and data.evaluation_"),
        ({"training": {"evaluation_steps": 0}}, "Give both or neither"),
        ({"training": {"evaluation_steps": -1}}, "training.evaluation_steps must be from 0"),
        ({"data": {"evaluation_path": "file.jsonl"}}, "data.evaluation_share must be 0 with data.evaluation_path"),
        ({"data": {"evaluation_share": 0.7}}, "data.evaluation_share must be from 0 to 0.5"),
        ({"training": {"epochs": 0.0}}, "training.epochs must be above 0"),
    ],
)
def test_settings_that_contradict_each_other_are_named(settings, changes, message):
    with pytest.raises(InputError, match=message):
        changed(settings, **changes)


def test_a_share_of_too_few_samples_is_named(settings, tmp_path):
    (tmp_path / "few.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    with pytest.raises(InputError, match=r"data.evaluation_share 0.1 of 1 samples is none: raise it, or name a file"):
        list(run(changed(settings, data={"path": str(tmp_path / "few.jsonl")})))


def test_five_steps_that_are_not_finite_end_the_run_and_name_the_last_good_checkpoint(settings, monkeypatch):
    from qlora.training import loop

    real, calls = loop._accumulate, []

    def broken(*arguments):
        calls.append(real(*arguments))
        return float("nan") if len(calls) > 2 else calls[-1]

    monkeypatch.setattr(loop, "_accumulate", broken)
    happened = list(run(changed(settings, training={"steps": 20, "checkpoint_steps": 1})))
    assert [e.step for e in happened if isinstance(e, events.StepSkipped)] == [3, 4, 5, 6, 7]
    assert happened[-1].outcome == "failed"
    assert "5 steps in a row" in happened[-1].message and "checkpoints/step-2" in happened[-1].message
