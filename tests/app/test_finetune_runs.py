"""Runs that lie here: listed, compared, taken along, and what a new one would need."""

import dataclasses
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from app import runs
from app.charts.training_compare import compared_losses
from app.tabs import finetune_runs
from app.tabs import finetune_settings as settings
from app.text import finetune as text
from qlora import config as configuration
from qlora import events
from tests.app.conftest import steps_of


@pytest.fixture
def two_runs(finished_run, tmp_path, monkeypatch) -> tuple[runs.Run, runs.Run]:
    """The finished run, and another one with another rank whose losses are half as large."""
    monkeypatch.setenv("QLORA_RUNS", str(tmp_path))
    first, second = (tmp_path / name for name in ("20260101-000000-000000", "20260102-000000-000000"))
    for folder in (first, second):
        shutil.copytree(finished_run.folder, folder)
    config = configuration.load(second / runs.REQUESTED_NAME)
    changed = dataclasses.replace(config, adapter=dataclasses.replace(config.adapter, r=32))
    (second / runs.REQUESTED_NAME).write_text(configuration.to_yaml(changed))
    log = [
        dataclasses.replace(event, loss=event.loss / 2) if isinstance(event, events.StepFinished) else event
        for event in runs.events(finished_run)
    ]
    (second / events.LOG_NAME).write_text("".join(events.to_json(event) + "\n" for event in log))
    return runs.Run(first), runs.Run(second)


def test_lists_name_what_tells_runs_apart(two_runs):
    show, other = finetune_runs.offered(two_runs[0].id, two_runs[1].id)
    assert [run_id for _, run_id in show["choices"]] == [two_runs[1].id, two_runs[0].id], "the latest first"
    assert show["value"] == two_runs[0].id and other["value"] == two_runs[1].id
    assert [run_id for _, run_id in other["choices"]] == [two_runs[1].id], "no run is compared with itself"
    words = dict((run_id, words) for words, run_id in show["choices"])
    assert "r 16" in words[two_runs[0].id] and "r 32" in words[two_runs[1].id]
    assert "3 of 3 steps" in words[two_runs[0].id] and "finished" in words[two_runs[0].id]


def test_a_run_that_is_gone_is_chosen_no_more(two_runs):
    show, other = finetune_runs.offered("20200101-000000-000000", two_runs[0].id)
    assert show["value"] is None and other["value"] == two_runs[0].id


def test_an_unreadable_configuration_hides_no_run(two_runs):
    (two_runs[0].folder / runs.REQUESTED_NAME).write_text("adapter: [")
    assert text.RUN_UNKNOWN.split("·")[1].strip() in finetune_runs.label(two_runs[0])
    html = finetune_runs.comparison(two_runs[0].id, two_runs[1].id, False)
    assert html.count("<svg") == 1 and 'role="alert"' in html, "the losses can be compared all the same"


def test_comparison_names_the_lower_loss_and_what_was_set_differently(two_runs):
    html = finetune_runs.comparison(two_runs[0].id, two_runs[1].id, False)
    assert f"At step 3, Run {two_runs[1].id} has the lower loss" in html
    rows = re.findall(r'<th scope="row">([\w.]+)</th><td>(.*?)</td><td>(.*?)</td>', html.split("</figure>")[1])
    assert rows == [("adapter.r", "16", "32")]
    assert html.count("<svg") == 1 and "measured" in html


@pytest.mark.parametrize(("shown", "other"), [(None, None), ("x", None)])
def test_nothing_to_compare_is_said(shown, other):
    assert text.COMPARE_CHOOSE in finetune_runs.comparison(shown, other, False)


def test_one_that_is_gone_is_said(two_runs):
    assert text.RUN_GONE in finetune_runs.comparison(two_runs[0].id, "20200101-000000-000000", False)


def test_compared_lines_are_told_apart_without_colour():
    figure = compared_losses(340, runs=[("a", [1, 2], [2.0, 1.0]), ("b", [1], [3.0])])
    lines = {line.get_gid(): line for line in figure.axes[0].lines if line.get_gid()}
    assert set(lines) == {"run-0", "run-1"}
    assert lines["run-0"].get_linestyle() != lines["run-1"].get_linestyle()


def test_the_adapter_comes_as_pefts_files(two_runs):
    update, problem = finetune_runs.adapter_file(two_runs[0].id)
    assert problem == ""
    archive = Path(update["value"])
    with zipfile.ZipFile(archive) as packed:
        assert {"adapter_config.json", "adapter_model.safetensors"} <= set(packed.namelist())
        original = (two_runs[0].folder / "adapter" / "adapter_model.safetensors").read_bytes()
        assert packed.read("adapter_model.safetensors") == original
    shutil.rmtree(archive.parent)


def test_without_an_adapter_there_is_a_sentence(two_runs):
    shutil.rmtree(two_runs[0].folder / "adapter")
    assert text.NO_ADAPTER in finetune_runs.adapter_file(two_runs[0].id)[1]


def test_expected_memory_is_the_estimates_and_time_the_last_runs(two_runs, tmp_path, monkeypatch):
    config = settings.preset_config("demo")
    assert text.EXPECTED_TIME[:14] in finetune_runs.expected(config)
    steps = steps_of(two_runs[1])
    paces = sorted(step.step_seconds / step.tokens for step in steps)
    seconds = paces[1] * config.training.batch_size * config.data.max_length * config.training.steps
    assert f"about {max(1, round(seconds / 60)):,} min" in finetune_runs.expected(config)
    smaller = dataclasses.replace(config, adapter=dataclasses.replace(config.adapter, r=2))

    def mib(config) -> int:
        return int(re.search(r"([\d,]+) MiB", finetune_runs.expected(config))[1].replace(",", ""))

    assert mib(smaller) < mib(config)
    monkeypatch.setenv("QLORA_RUNS", str(tmp_path / "none"))
    assert "time" not in finetune_runs.expected(config), "without a run there is no pace to tell from"
