import dataclasses
import json
import math
import subprocess
import sys

import pytest
import torch

import qlora
from qlora import config as configuration
from qlora import events
from qlora.config import RunConfig
from qlora.data.batches import batches_of
from qlora.errors import InputError
from qlora.training import loop
from qlora.training.run import request_stop, run


@pytest.fixture
def settings(tiny_model, tmp_path):
    return configuration.from_mapping(
        {
            "model": {"name": str(tiny_model)},
            "data": {"max_length": 48, "system_prompt": ""},
            "optimizer": {"learning_rate": 1e-2, "page_kib": 16},
            "training": {"steps": 4},
            "output": str(tmp_path / "run"),
        }
    )


def changed(settings: RunConfig, **sections) -> RunConfig:
    return dataclasses.replace(
        settings,
        **{name: dataclasses.replace(getattr(settings, name), **fields) for name, fields in sections.items()},
    )


def steps_of(stream) -> list[events.StepFinished]:
    return [event for event in stream if isinstance(event, events.StepFinished)]


def test_a_run_reports_itself_from_beginning_to_end(settings):
    happened = list(run(changed(settings, training={"sample_prompts": ("What is NF4?",), "sample_tokens": 3})))
    kinds = [event.kind for event in happened]
    assert kinds[0] == "run_started" and kinds[-1] == "run_ended"
    assert [e.step for e in happened if e.kind == "step"] == [1, 2, 3, 4]
    assert [e.step for e in happened if e.kind == "sample"] == [0, 4]
    started, ended = happened[0], happened[-1]
    assert ended.outcome == "finished"
    assert started.emulated_device == (not torch.cuda.is_available())
    # 14 layers of r = 16: (64+64) q, o · (64+32) k, v · (64+96) gate, up, down, each times two layers.
    assert started.trainable_parameters == 2 * 16 * (2 * 128 + 2 * 96 + 3 * 160)
    assert started.memory_bytes["optimizer"] == 8 * started.trainable_parameters
    log = events.EventReader(loop.Path(settings.output) / events.LOG_NAME)
    assert list(log.read()) == happened


def test_the_loss_is_the_models_own_and_counts_answers_alone(settings):
    from qlora.models.load import load_quantized

    first = steps_of(run(changed(settings, training={"steps": 1})))[0]
    model, tokenizer = load_quantized(
        settings.model, settings.quantization, device=torch.device("cpu"), dtype=torch.float32
    )
    encoded, _ = loop.preflight.encode_samples(settings, loop.preflight.read(settings), tokenizer)
    batch = next(batches_of(settings, encoded, tokenizer.pad_token_id))
    with torch.no_grad():
        expected = model(**batch.model_inputs(), labels=batch.labels).loss.item()
    assert first.loss == pytest.approx(expected, rel=1e-5)
    assert first.trained_tokens < first.tokens


def test_accumulation_equals_the_large_batch_with_unequal_lengths(settings):
    large = steps_of(run(changed(settings, training={"batch_size": 4})))
    small_settings = changed(settings, training={"batch_size": 1, "accumulation": 4})
    small = steps_of(run(dataclasses.replace(small_settings, output=settings.output + "-small")))
    assert len({s.tokens for s in large}) > 1, "else the lengths are equal and this proves nothing"
    for a, b in zip(large, small, strict=True):
        assert a.trained_tokens == b.trained_tokens
        assert b.loss == pytest.approx(a.loss, rel=1e-6)
        assert b.gradient_norm == pytest.approx(a.gradient_norm, rel=1e-6)


def test_a_packed_step_over_all_samples_equals_an_unpacked_one(settings, tmp_path):
    rows = [{"prompt": "What is NF4?", "completion": "A data type. " * n} for n in (1, 3, 2, 4, 1)]
    (tmp_path / "few.jsonl").write_text("\n".join(map(json.dumps, rows)))
    path = str(tmp_path / "few.jsonl")
    plain = changed(settings, data={"path": path}, training={"batch_size": 5, "steps": 2})
    packed = changed(plain, data={"packing": True, "packed_length": 96}, training={"batch_size": 2})
    alone = steps_of(run(plain))
    together = steps_of(run(dataclasses.replace(packed, output=settings.output + "-packed")))
    for a, b in zip(alone, together, strict=True):
        assert (a.tokens, a.trained_tokens, a.epoch) == (b.tokens, b.trained_tokens, b.epoch)
        assert b.loss == pytest.approx(a.loss, abs=1e-5)
        assert b.gradient_norm == pytest.approx(a.gradient_norm, rel=1e-4)


def test_checkpointing_changes_memory_and_nothing_else(settings):
    off = steps_of(run(settings))  # auto: everything fits
    on = changed(settings, training={"activations": "checkpoint"})
    on = steps_of(run(dataclasses.replace(on, output=settings.output + "-on")))
    for a, b in zip(on, off, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-6)
        assert a.memory_bytes["activations"] < b.memory_bytes["activations"]


def test_the_same_seed_gives_the_same_run(settings):
    first = [s.loss for s in steps_of(run(settings))]
    again = [s.loss for s in steps_of(run(dataclasses.replace(settings, output=settings.output + "-again")))]
    other = changed(settings, training={"seed": 1})
    other = [s.loss for s in steps_of(run(dataclasses.replace(other, output=settings.output + "-other")))]
    assert first == again and first != other


def test_a_budget_makes_pages_move_and_changes_no_loss(settings):
    settings = changed(settings, training={"activations": "keep"})
    free = steps_of(run(settings))
    peak = max(sum(s.memory_bytes.values()) for s in free)
    tight = changed(settings, optimizer={"device_budget_mib": peak / 2**20 - 0.1})
    happened = list(run(dataclasses.replace(tight, output=settings.output + "-tight")))
    moves = [e for e in happened if e.kind == "page"]
    assert {(m.direction, m.reason) for m in moves} >= {("out", "activations"), ("in", "prefetch")}
    reached = [e for e in happened if e.kind == "prefetch"]
    assert len(reached) == sum(m.direction == "in" for m in moves) and any(e.hit for e in reached)
    budget = happened[0].device_budget_bytes
    for step, unpressed in zip(steps_of(happened), free, strict=True):
        assert step.loss == unpressed.loss
        assert sum(step.memory_bytes.values()) <= budget
        assert step.pages_in == sum(m.step == step.step and m.direction == "in" for m in moves)


def test_a_budget_below_the_need_is_refused_before_anything_is_written(settings):
    with pytest.raises(InputError, match=r"optimizer\.device_budget_mib allows 1\.00 MiB"):
        list(run(changed(settings, optimizer={"device_budget_mib": 1.0})))
    assert not loop.Path(settings.output).exists()


def test_a_need_that_was_not_foreseen_fails_with_the_figures_and_keeps_the_log(settings, monkeypatch):
    monkeypatch.setattr(loop.preflight, "check_budget", lambda *_, **__: [])
    with pytest.raises(InputError, match=r"device budget of 1\.0 MiB is too small"):
        list(run(changed(settings, optimizer={"device_budget_mib": 1.0})))
    happened = list(events.EventReader(loop.Path(settings.output) / events.LOG_NAME).read())
    assert happened == [] or happened[-1].outcome == "failed"


def test_stopping_takes_one_step_and_saves_the_adapter(settings):
    long = changed(settings, training={"steps": 1000})
    happened = []
    for event in run(long):
        happened.append(event)
        if event.kind == "step" and event.step == 2:
            request_stop(loop.Path(settings.output))
    assert [e.step for e in happened if e.kind == "step"] == [1, 2]
    assert happened[-1].outcome == "stopped" and happened[-1].step == 2
    assert (loop.Path(settings.output) / "adapter" / "adapter_model.safetensors").exists()
    assert not (loop.Path(settings.output) / "stop").exists()


def test_an_output_with_another_run_is_refused_and_untouched(settings):
    list(run(settings))
    log = loop.Path(settings.output) / events.LOG_NAME
    before = log.read_bytes()
    with pytest.raises(InputError, match="holds another run"):
        list(run(settings))
    assert log.read_bytes() == before


def test_nothing_is_written_when_the_input_cannot_be_used(settings):
    for section, fields, message in (
        ("data", {"path": "none.jsonl"}, "no instruction file"),
        ("data", {"max_length": 512}, "takes at most 256 tokens"),
        ("data", {"max_length": 8}, "has room for its answer"),
        ("model", {"name": "./none"}, "no model folder"),
    ):
        with pytest.raises(InputError, match=message):
            list(run(changed(settings, **{section: fields})))
    assert not loop.Path(settings.output).exists()


def test_steps_that_are_not_finite_are_skipped_and_end_the_run(settings, monkeypatch):
    monkeypatch.setattr(loop, "_accumulate", lambda *_: math.nan)
    happened = list(run(changed(settings, training={"steps": 50})))
    assert [e.step for e in happened if e.kind == "step_skipped"] == [1, 2, 3, 4, 5]
    assert happened[-1].outcome == "failed" and not [e for e in happened if e.kind == "step"]


def test_a_run_of_which_no_step_was_finite_has_failed_and_saves_nothing(settings, monkeypatch):
    monkeypatch.setattr(loop, "_accumulate", lambda *_: math.nan)
    happened = list(run(changed(settings, training={"steps": 2})))
    assert [e.step for e in happened if e.kind == "step_skipped"] == [1, 2]
    assert happened[-1].outcome == "failed" and "2 steps in a row were not finite" in happened[-1].message
    assert not (loop.Path(settings.output) / "adapter").exists()


def qlora_command(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "qlora", *arguments], capture_output=True, text=True, **options)


def test_the_command_trains_and_answers(settings, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(configuration.to_yaml(settings))
    done = qlora_command("train", str(file))
    assert done.returncode == 0, done.stderr
    assert "tokens/s" in done.stdout and "s left" in done.stdout and "All 4 steps are done." in done.stdout
    done = qlora_command(
        "generate", settings.output, "--prompt", "What is NF4?", "--max-new-tokens", "3", "--compare", "--json"
    )
    pieces = [json.loads(line) for line in done.stdout.splitlines()]
    assert [p["side"] for p in pieces if p.get("done")] == ["base", "finetuned"], done.stderr
    again = qlora_command("train", str(file))
    assert again.returncode == 2 and again.stderr.startswith("qlora: The folder") and "Traceback" not in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "none.yaml"], "There is no configuration file none.yaml"),
        (["generate", "none", "--prompt", "hello"], "There is no run in none"),
        (["generate", "none", "--prompt", "  "], "The prompt is empty"),
    ],
)
def test_the_command_says_what_is_wrong_in_a_sentence(arguments, message):
    done = qlora_command(*arguments)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.timeout(900)  # a minute on two quiet cores, and several on a core that others use too
def test_the_demo_learns(demo_model, tmp_path):
    """The demo's own configuration: 24 of its 40 steps at 64 tokens bring the mean training loss down by 15 % at least
    (23 % when this was written, and 37 % after all 40)."""
    recipe = configuration.load(loop.Path(qlora.__file__).parent / "recipes" / "demo.yaml")
    assert (recipe.training.steps, recipe.data.max_length) == (40, 64), "else this is another claim"
    recipe = dataclasses.replace(recipe, output=str(tmp_path / "run"))
    happened = list(run(changed(recipe, training={"sample_prompts": (), "steps": 24})))
    losses = [step.loss for step in steps_of(happened)]
    assert len(losses) == 24
    first, last = sum(losses[:8]) / 8, sum(losses[-8:]) / 8
    assert last <= 0.85 * first, f"mean loss of the first eight steps {first:.3f}, of the last eight {last:.3f}"
