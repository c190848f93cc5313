"""The Start tab: every number in its picture is one of the recorded run, and every box opens something."""

import json
import re
from html import unescape

import pytest

from app import recordings
from app.interface import TABS
from app.tabs import start
from app.text import start as text
from app.text import tour
from qlora import events

MIB = 2**20


def run_started(**changes) -> events.RunStarted:
    values = {
        "config": {
            "model": {"name": "a-model"},
            "adapter": {"r": 8},
            "training": {"compute_dtype": "auto"},
        },
        "device": "CPU",
        "emulated_device": True,
        "versions": {},
        "steps": 2,
        "samples": 4,
        "parameters": 1000,
        "trainable_parameters": 50,
        "memory_bytes": {"base_model": 3 * MIB},
        "pages": 4,
        "page_bytes": MIB,
        "device_budget_bytes": None,
        "time": 0.0,
    }
    return events.RunStarted(**values | changes)


def step(number: int, loss: float, away: int) -> events.StepFinished:
    return events.StepFinished(
        step=number,
        epoch=0.5,
        loss=loss,
        learning_rate=1e-3,
        gradient_norm=1.0,
        tokens=100 * number,
        trained_tokens=50,
        step_seconds=1.0,
        tokens_per_second=100.0,
        seconds_left=0.0,
        memory_bytes={"base_model": 3 * MIB, "adapters": MIB, "gradients": 2 * MIB, "optimizer": MIB, "peak": 99 * MIB},
        pages_on_device=4 - away,
        pages_in=away,
        pages_out=away,
        time=float(number),
    )


def moved(page: int, direction: str) -> events.PageMoved:
    return events.PageMoved(
        step=1, page=page, direction=direction, reason="update", bytes=MIB, milliseconds=1.0, time=0.5
    )


LOG = [
    run_started(),
    moved(2, "out"),
    moved(3, "out"),
    moved(2, "in"),
    step(1, 2.5, 2),
    moved(3, "in"),
    step(2, 1.5, 0),
]


def test_each_step_shows_its_own_numbers():
    started, frames = start.frames(LOG)
    assert started.pages == 4
    assert [frame["words"]["loss"] for frame in frames] == ["2.50", "1.50"]
    assert [frame["words"]["tokens"] for frame in frames] == ["100", "200"]
    assert [frame["words"]["pages_on_device"] for frame in frames] == ["2", "4"]
    assert frames[0]["words"]["compute"] == "fp32", "what “auto” means where there is no GPU"


def test_pages_are_shown_where_they_were_at_the_fullest_moment():
    _, frames = start.frames(LOG)
    assert frames[0]["away"] == [2, 3], "both were away together, before page 2 came back"
    assert frames[1]["away"] == [3], "page 3 was still away when step 2 began"


def test_the_conclusion_is_computed_and_counts_no_sum_twice():
    said = start.conclusion(LOG[0], LOG)
    assert "Only 5.0 %" in said
    assert "7 MiB at its fullest moment" in said, "3 + 1 + 2 + 1; the allocator's peak is the same memory again"


@pytest.mark.parametrize("log", [[], [run_started()], [step(1, 1.0, 0)], [run_started(pages=0), step(1, 1.0, 0)]])
def test_a_log_without_steps_leaves_the_picture_without_numbers(log, monkeypatch):
    header = recordings.Header("x-budget", "", "2026-01-01", "CPU", True, 1, {}, "")
    monkeypatch.setattr(start.recordings, "read", lambda name: recordings.Recording(header, log))
    monkeypatch.setattr(start.recordings, "names", lambda: ["x-budget"])
    html = start.panel()
    assert text.NO_STEPS_RECORDED in html
    assert "<svg" in html and "data-run" not in html


def test_no_recording_is_said(monkeypatch):
    monkeypatch.setattr(start.recordings, "names", lambda: [])
    assert text.NO_RUN_RECORDED in start.panel()


def test_every_box_of_the_picture_opens_a_tab_and_is_reached_by_the_keyboard():
    html = start.panel()
    boxes = re.findall(r'<g class="story-box[^>]*>', html)
    assert len(boxes) == 2 * len(text.BOXES), "once for wide and once for narrow pages"
    tabs = {tab.TAB_ID for tab in TABS}
    for box in boxes:
        assert 'tabindex="0"' in box and 'role="button"' in box
        assert re.search(r'data-open-tab="(\w+)"', box)[1] in tabs


def test_the_tour_stops_at_tabs_that_exist():
    assert {stop[2] for stop in tour.STOPS} <= {tab.TAB_ID for tab in TABS}


def test_the_page_shows_the_recording_that_is_in_the_repository():
    html = start.panel()
    run = json.loads(unescape(re.search(r'data-run="([^"]*)"', html)[1]))
    recording = start._recording()
    steps = [event for event in recording.log if isinstance(event, events.StepFinished)]
    assert len(run["frames"]) == len(steps) >= 50
    assert [frame["words"]["loss"] for frame in run["frames"]] == [f"{event.loss:.2f}" for event in steps]
    assert any(frame["away"] for frame in run["frames"]), (
        "else no page ever leaves, and the picture has nothing to tell"
    )
    assert recording.header.date in html and "recorded" in html
