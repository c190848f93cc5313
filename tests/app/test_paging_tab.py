"""The Paging tab's handlers: recordings, runs of this machine, and everything that can be missing or damaged."""

import re
import shutil
import sys
from html import unescape

import gradio as gr
import pytest

from app import recordings, runs
from app.tabs import finetune_settings, paging, paging_cost, paging_sources
from app.tabs.paging_cost_view import cost_html, evidence_html
from app.text import paging as text
from qlora.errors import InputError
from tests.app.conftest import wait_until

NAMES = ("heading", "player", "data", "chart", "stop", "timer", "drawn")
BUDGETED = "recording:smollm2-cpu-budget"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the recordings of the demo model alone, which a test may damage."""
    copied = tmp_path / "recordings"
    copied.mkdir()
    for file in recordings.FOLDER.glob(f"smollm2-cpu-*{recordings.SUFFIX}"):
        shutil.copy(file, copied)
    for function in (recordings.names, recordings.path, recordings.read):
        defaults = tuple(copied if value == recordings.FOLDER else value for value in function.__defaults__)
        monkeypatch.setattr(function, "__defaults__", defaults)
    paging._chart.cache_clear()
    return copied


@pytest.fixture(autouse=True)
def no_runs(runs_folder):
    """Tests that want runs start them."""


def shown(source_id, drawn=None) -> dict:
    return dict(zip(NAMES, paging.show(source_id, drawn or {}, False), strict=True))


def said(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", html))


def active(update) -> bool:
    settings = update.constructor_args if hasattr(update, "constructor_args") else update
    return next(settings[name] for name in ("interactive", "active") if name in settings)


def test_tab_builds_and_wires():
    with gr.Blocks() as blocks, gr.Tabs(), gr.Tab(paging.TITLE, id=paging.TAB_ID):
        paging.build(blocks)
    triggers = {event for function in blocks.fns.values() for _, event in function.targets}
    assert {"click", "tick", "load", "input", "change", "focus"} <= triggers
    assert all(function.api_visibility == "private" for function in blocks.fns.values())


def test_page_opens_with_the_first_recording_or_with_what_its_address_names(folder):
    choice, *first = paging.attach("", False)
    assert choice.constructor_args["value"] == choice.constructor_args["choices"][0][1]
    assert "<svg" in first[3]
    choice, *_ = paging.attach("recording:smollm2-cpu-free", False)
    assert choice.constructor_args["value"] == "recording:smollm2-cpu-free"
    choice, *_ = paging.attach("run:../../etc", False)
    assert choice.constructor_args["value"] == BUDGETED


def test_recording_says_its_conclusion_its_device_and_how_it_was_made():
    page = shown(BUDGETED)
    words = said(page["heading"])
    assert re.search(r"In 54 of 60 steps nothing moved.* 43 of 75 pages stepped aside and were all back", words)
    assert text.EMULATED in words
    assert "python -m app.recordings record smollm2-cpu-budget" in words
    assert re.search(r"Recorded on CPU .*, 2026-", words)
    assert page["player"].count("<option") == len(text.SPEEDS)
    assert page["chart"].count("<tr>") == 61
    assert not active(page["timer"])
    assert not active(page["stop"])


def test_run_without_a_budget_says_that_nothing_moved():
    page = shown("recording:smollm2-cpu-free")
    assert text.CONCLUSION_STAYED.format(pages=75, steps="all 60 steps") in said(page["heading"])
    assert "<svg" in page["chart"]


def test_what_has_not_changed_is_not_sent_again():
    page = shown(BUDGETED)
    again = shown(BUDGETED, page["drawn"])
    assert [again[name] for name in ("heading", "player", "data", "chart")] == [gr.skip()] * 4
    other = shown("recording:smollm2-cpu-free", page["drawn"])
    assert all(isinstance(other[name], str) for name in ("heading", "player", "data", "chart"))


def test_missing_recordings_are_said_in_place(folder):
    for file in folder.iterdir():
        file.unlink()
    choice, heading, *_ = paging.attach("", False)
    assert choice.constructor_args["choices"] == []
    assert text.NO_RECORDINGS in said(heading)
    assert text.NO_STEP_RECORDING in said(paging.step_html(False))
    assert "is missing" in said(shown(BUDGETED)["heading"])
    assert "from the paper" in evidence_html()


@pytest.mark.parametrize("kept", [0, 40, 0.4])
def test_damaged_recording_leaves_the_rest_alive(folder, kept):
    for file in folder.iterdir():
        content = file.read_bytes()
        file.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    page = shown(BUDGETED)
    step = paging.step_html(False)
    if kept == 0.4:
        assert text.CUT in said(page["heading"])
        assert "<svg" in page["chart"]
    else:
        assert 'role="alert"' in page["heading"]
        assert (page["player"], page["chart"]) == ("", "")
    assert 'role="alert"' in step, "its one long line is cut"
    assert evidence_html()


def test_log_of_this_machine_that_is_cut_in_mid_line_is_shown_until_there(finished_run, runs_folder):
    runs_folder.mkdir()
    copied = runs.Run(runs_folder / finished_run.id)
    shutil.copytree(finished_run.folder, copied.folder)
    log = copied.folder / "events.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    steps = [number for number, line in enumerate(lines) if '"kind": "step"' in line]
    assert len(steps) == 3, "else this proves nothing"
    log.write_text("".join(lines[: steps[1]]) + "{broken}\n" + lines[steps[1]] + lines[steps[2]][:50])
    page = shown(paging_sources.run_id(copied))
    words = said(page["heading"])
    assert text.UNREADABLE.format(count=1) in words
    assert "in all 2 steps" in words
    assert "measured" in words
    assert "<svg" in page["chart"]


def test_run_whose_first_event_is_lost_has_nothing_to_replay(finished_run, runs_folder):
    runs_folder.mkdir()
    copied = runs.Run(runs_folder / finished_run.id)
    shutil.copytree(finished_run.folder, copied.folder)
    log = copied.folder / "events.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[1:]))
    page = shown(paging_sources.run_id(copied))
    assert text.NO_PAGES in said(page["heading"])
    assert (page["player"], page["chart"]) == ("", "")


def test_run_that_went_away_is_said():
    assert text.SOURCE_GONE in said(shown("run:20200101-000000-000000")["heading"])
    assert text.SOURCE_GONE in said(paging.stop("run:20200101-000000-000000"))


def test_live_run_is_offered_watched_and_stopped():
    run = runs.start(finetune_settings.demo(), command=(sys.executable, "-c", "import time; time.sleep(600)"))
    try:
        source_id = paging_sources.run_id(run)
        assert any(value == source_id and text.SOURCE_LIVE in label for label, value in paging_sources.choices())
        page = shown(source_id)
        assert text.NOT_YET in said(page["heading"])
        assert active(page["timer"])
        assert active(page["stop"])
        choice, sentence = paging.start(260.0)
        assert choice.constructor_args["value"] == source_id, "the run that is going on is shown instead"
        assert run.id in sentence
        assert text.STATES["stopping"] in paging.stop(source_id)
        assert not active(shown(source_id)["stop"])
    finally:
        runs.kill(run)
        wait_until(lambda: not runs.status(run).live)


def test_start_takes_the_chosen_limit(monkeypatch):
    monkeypatch.setitem(runs.start.__kwdefaults__, "command", (sys.executable, "-c", "pass"))
    choice, sentence = paging.start(244)
    run = runs.latest()
    assert choice.constructor_args["value"] == paging_sources.run_id(run)
    assert text.STARTED in sentence
    config = runs.config_of(run)
    assert config.optimizer.device_budget_mib == 244
    assert config.training == finetune_settings.preset_config("small_device").training
    wait_until(lambda: not runs.status(run).live)


@pytest.mark.parametrize("budget", [0, -5, None, float("nan"), "many"])
def test_limit_that_is_none_starts_nothing(budget):
    _, sentence = paging.start(budget)
    assert 'role="alert"' in sentence
    assert runs.list_runs() == []


def test_step_panel_says_why_pages_leave(folder):
    words = said(paging.step_html(False))
    assert re.search(r"At 384 tokens .* \d+ of 37 MiB of pages leave", words)
    assert "recorded" in words


def test_cost_is_what_the_formula_says():
    made = paging_cost.cost("65B", 16, 512, 1.0, 0.0, 60)
    buses = paging_cost.bus_bytes_per_second()
    assert {name: round(speed / 1e9, 1) for name, speed in buses.items()} == {
        "PCIe 4.0 x16": 31.5,
        "PCIe 5.0 x16": 63.0,
    }
    assert made.state_bytes == 8 * 799_539_200, "two fp32 values for each of the 65B model's adapter weights"
    assert made.moving_seconds["PCIe 4.0 x16"] == pytest.approx(2 * made.state_bytes / buses["PCIe 4.0 x16"])
    assert made.compute_seconds == pytest.approx(6 * 65.3e9 * 8192 / 60e12, rel=0.01)
    half = paging_cost.cost("65B", 16, 512, 0.5, 0.5, 60)
    assert half.per_cent("PCIe 4.0 x16") == pytest.approx(made.per_cent("PCIe 4.0 x16") / 4)
    longer = paging_cost.cost("65B", 16, 5120, 1.0, 0.0, 60)
    assert longer.per_cent("PCIe 4.0 x16") == pytest.approx(made.per_cent("PCIe 4.0 x16") / 10)


def test_speed_beside_the_slider_comes_from_the_kept_measurements(monkeypatch, tmp_path):
    speed, device = paging_cost.recorded_speed()
    assert device == "NVIDIA H200"
    assert 100 < speed < 990, "an H200 computes 990 TFLOP/s at most"
    monkeypatch.setattr(paging_cost, "_BENCH", tmp_path / "none.jsonl")
    assert paging_cost.recorded_speed() is None


@pytest.mark.parametrize("value", [0, -1, None, "x", float("nan"), float("inf"), True])
@pytest.mark.parametrize("position", [1, 2, 5])
def test_cost_of_nonsense_is_a_sentence(position, value):
    setting = ["7B", 4, 512, 100, 0, 60]
    setting[position] = value
    html = cost_html(*setting, False)
    assert 'role="alert"' in html
    assert "<svg" not in html
    with pytest.raises(InputError):
        paging_cost.cost("8B", 1, 1, 1, 0, 60)


def test_cost_judges_small_and_large_batches_differently():
    large, small = (said(cost_html("65B", *size, 100, 0, 60, False)) for size in ((16, 512), (1, 128)))
    judgements = [words for _, words in text.COST_JUDGEMENTS]
    assert judgements[0] in large
    assert judgements[-1] in small
    assert "computed by formula" in large
    nothing = cost_html("65B", 16, 512, 0, 0, 60, True)
    assert "<svg" in nothing


def test_evidence_keeps_apart_what_the_paper_says_what_is_computed_and_what_was_recorded(folder):
    words = said(evidence_html())
    assert words.index("from the paper") < words.index("computed by formula") < words.index("recorded ")
    assert "section 4, page 6" in words
    assert re.search(r"516 copies, which took .* of the time of the 6 steps", words)
