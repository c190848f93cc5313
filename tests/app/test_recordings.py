"""The recordings that come with the app, reading damaged ones, and making new ones with the real trainer."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from app import recordings
from app.recordings.__main__ import main
from app.recordings.plans import PLANS, Plan, Texts
from app.text import paging as text
from qlora import events
from qlora.errors import InputError
from qlora.memory.budget import MARGIN, run_options
from qlora.memory.estimate import estimate
from qlora.memory.shapes import SMOLLM2_135M, LlamaShape

SHORT = Texts(short=4, long=1, short_answers=1, longest=160)
HEADER = recordings.Header(
    name="one",
    reason="A test.",
    date="2026-11-22",
    device="CPU",
    emulated_device=True,
    threads=1,
    versions={"torch": "2"},
    command="python -m app.recordings record one",
)


def there() -> list[str]:
    names = recordings.names()
    assert names, "else this proves nothing"
    return names


def of(log, kind: type) -> list:
    return [event for event in log if isinstance(event, kind)]


@pytest.mark.parametrize("name", there())
def test_recording_says_what_it_is_and_is_whole(name):
    recording = recordings.read(name)
    assert recording.header.name == name
    assert recording.header.reason == text.RECORDINGS[name].reason
    assert name in recording.header.command
    assert recording.header.emulated_device == ("cuda" not in name) == ("CPU" in recording.header.device)
    assert {"python", "torch", "transformers", "qlora"} <= recording.header.versions.keys()
    assert (recording.cut, recording.unreadable_lines) == (False, 0)


@pytest.mark.parametrize("name", [name for name in there() if not name.endswith("-step")])
def test_recorded_run_pages_under_a_budget_alone(name):
    log = recordings.read(name).log
    steps, moves = of(log, events.StepFinished), of(log, events.PageMoved)
    assert len(steps) >= 50
    assert log[-1].outcome == "finished"
    if name.endswith("-free"):
        assert log[0].device_budget_bytes is None
        assert not moves
    else:
        assert log[0].device_budget_bytes is not None
        assert {move.direction for move in moves} == {"in", "out"}
        longest = max(step.tokens for step in steps)
        assert {step.tokens for step in steps if step.pages_out} == {longest}, "it is long texts that push pages out"


@pytest.mark.parametrize("name", [name for name in there() if name.endswith("-step")])
def test_recorded_step_stays_under_its_limit_and_gets_its_pages_back(name):
    recording = recordings.read(name)
    started, step = recording.log[0], recording.step
    fixed = sum(size for part, size in started.memory_bytes.items() if part != "optimizer")
    assert list(step.phases) == ["forward", "backward", "update"]
    assert list(step.phases.values()) == sorted(step.phases.values())
    pages = [held for _, _, held in step.samples]
    assert min(pages) < pages[0]
    assert pages[-1] > min(pages)
    if recording.header.emulated_device:
        assert max(activations + held for _, activations, held in step.samples) + fixed <= started.device_budget_bytes


def test_recordings_are_small_and_name_no_folder_of_a_machine():
    files = list(recordings.FOLDER.glob(f"*{recordings.SUFFIX}"))
    assert sum(file.stat().st_size for file in files) <= recordings.MOST_BYTES
    for file in files:
        told = gzip.decompress(file.read_bytes()).decode()
        assert len(told) > 1000
        assert not any(start in told for start in ('"/', "/tmp", "/home", "/root", "site-packages"))


def packed(folder: Path, *lines: str) -> bytes:
    file = folder / f"one{recordings.SUFFIX}"
    file.write_bytes(recordings.pack(HEADER, list(lines)))
    return file.read_bytes()


def step_event(number: int) -> str:
    return events.to_json(events.StepSkipped(step=number, reason="no reason at all " * number))


def test_damaged_line_is_passed_over_and_counted(tmp_path):
    packed(tmp_path, step_event(1), '{"kind": "step", "lo', step_event(2))
    recording = recordings.read("one", tmp_path)
    assert [event.step for event in recording.log] == [1, 2]
    assert (recording.unreadable_lines, recording.cut) == (1, False)
    assert recording.header == HEADER


@pytest.mark.parametrize("share", [0.5, 0.8, 0.99])
def test_recording_that_ends_in_the_middle_is_read_until_there(tmp_path, share):
    lines = [json.dumps({"kind": "x", "seed": hash((share, i))}) for i in range(300)] + [step_event(3)]
    whole = packed(tmp_path, step_event(1), step_event(2), *lines)
    (tmp_path / f"one{recordings.SUFFIX}").write_bytes(whole[: int(share * len(whole))])
    recording = recordings.read("one", tmp_path)
    assert recording.cut
    assert [event.step for event in recording.log] == [1, 2]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip at all",
        gzip.compress(b"{}\n", mtime=0),
        gzip.compress(b"[1]\n", mtime=0),
        gzip.compress(b'{"kind": "st', mtime=0),
    ],
)
def test_file_that_is_no_recording_is_refused_by_name(tmp_path, content):
    (tmp_path / f"one{recordings.SUFFIX}").write_bytes(content)
    with pytest.raises(InputError, match="recording one is damaged"):
        recordings.read("one", tmp_path)


@pytest.mark.parametrize("name", ["one", "../conftest", ""])
def test_missing_recording_is_said(tmp_path, name):
    with pytest.raises(InputError, match="is missing"):
        recordings.read(name, tmp_path)


def test_every_plan_is_named_and_pairs_differ_in_the_budget_alone():
    assert list(PLANS) == list(text.RECORDINGS)
    for name, plan in PLANS.items():
        assert plan.config.training.steps == plan.texts.short + plan.texts.long >= 50
        assert plan.config.training.device == ("cuda" if "cuda" in name else "cpu")
        if name.endswith("-free"):
            budgeted = PLANS[name.replace("-free", "-budget")].config
            budget = budgeted.optimizer.device_budget_mib
            assert budget and plan.config.optimizer.device_budget_mib is None
            assert replace(plan.config, optimizer=replace(plan.config.optimizer, device_budget_mib=budget)) == budgeted


@pytest.mark.parametrize("prefix", ["smollm2-cpu", "llama-7b-cuda"])
def test_budgets_hold_short_texts_beside_all_pages_and_long_ones_without_most(prefix):
    plan = PLANS[f"{prefix}-budget"]
    config, shape = plan.config, plan.shape or SMOLLM2_135M
    dtype = "bfloat16" if "cuda" in prefix else "float32"
    short, long = (
        estimate(
            shape,
            run_options(
                config,
                rows=1,
                tokens=tokens,
                compute_dtype=dtype,
                adapter_dtype=dtype,
                checkpointed_layers=0 if config.training.activations == "keep" else None,
            ),
        )
        for tokens in (64 if "cpu" in prefix else 256, plan.texts.longest)
    )
    budget = config.optimizer.device_budget_mib * 2**20
    assert short.peak_bytes < budget
    assert long.peak_bytes - budget > 0.5 * long.pageable_bytes, "most pages must leave"
    assert long.peak_bytes_paged_out < (1 - MARGIN) * budget, "the trainer takes it without a warning"


def tiny(plan: Plan, **changes) -> Plan:
    """The plan with a model and texts that take seconds."""
    config = plan.config
    return replace(
        plan,
        texts=SHORT,
        config=replace(
            config,
            model=replace(config.model, name=changes.pop("model", config.model.name)),
            data=replace(config.data, max_length=SHORT.longest),
            adapter=replace(config.adapter, r=4),
            optimizer=replace(config.optimizer, page_kib=4, device_budget_mib=changes.pop("budget", None)),
            training=replace(config.training, steps=5, device=changes.pop("device", "cpu")),
        ),
        **changes,
    )


def test_a_run_is_recorded_by_the_trainer_and_read_again(tiny_model, tmp_path):
    from app.recordings.record import record

    plan = tiny(PLANS["smollm2-cpu-free"], model=str(tiny_model))
    file = record(plan, "Because.", tmp_path / "work", tmp_path, "the command")
    recording = recordings.read(plan.name, tmp_path)
    assert file.name == f"smollm2-cpu-free{recordings.SUFFIX}"
    assert (recording.header.reason, recording.header.command) == ("Because.", "the command")
    assert recording.header.emulated_device
    steps = of(recording.log, events.StepFinished)
    assert len(steps) == 5
    assert max(step.tokens for step in steps) == SHORT.longest > 1.5 * min(step.tokens for step in steps)
    assert recording.log[0].config["output"] == "run/smollm2-cpu-free"


TINY_SHAPE = LlamaShape("tiny", 64, 2, 4, 96, 512, key_value_heads=2)


def record_random_step(tmp_path, device: str) -> recordings.Recording:
    from app.recordings.record import record

    plan = tiny(PLANS["llama-7b-cuda-step"], device=device, shape=TINY_SHAPE)
    record(plan, "Because.", tmp_path / "work", tmp_path, "the command")
    return recordings.read(plan.name, tmp_path)


def test_a_step_of_a_random_model_is_recorded(tmp_path):
    recording = record_random_step(tmp_path, "cpu")
    assert recording.step.tokens == SHORT.longest, "a token a byte, cut at the longest"
    assert list(recording.step.phases) == ["forward", "backward", "update"]
    assert max(activations for _, activations, _ in recording.step.samples) > 0
    state = recording.log[0].memory_bytes["optimizer"]
    assert {held for _, _, held in recording.step.samples} == {state}, "no budget: all pages stay"


@pytest.mark.gpu
def test_a_random_model_is_recorded_on_a_gpu(tmp_path):
    from app.recordings.record import record

    recording = record_random_step(tmp_path, "cuda")
    assert not recording.header.emulated_device
    assert max(activations for _, activations, _ in recording.step.samples) > 0
    plan = tiny(PLANS["llama-7b-cuda-free"], device="cuda", shape=TINY_SHAPE)
    record(plan, "Because.", tmp_path / "work", tmp_path, "the command")
    assert len(of(recordings.read(plan.name, tmp_path).log, events.StepFinished)) == 5


def test_command_lists_and_refuses_what_it_does_not_know(capsys):
    assert main(["list"]) == 0
    assert there()[0] in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["record", "no-such-plan"])
