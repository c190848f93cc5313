"""The experiment's part of the Ask tab: the recorded figures, a run that is followed, stopped, or fails."""

import threading
from dataclasses import replace
from html import escape
from types import SimpleNamespace

import pytest

from app.assistant import embedding_experiment as experiment
from app.assistant.embedding_experiment import Experiment, Progress, Quality, Row, recorded
from app.tabs import ask_experiment as tab
from app.tabs import ask_session, ask_shelf
from app.text import ask_experiment as text
from qlora.errors import InputError


@pytest.fixture
def shelf(monkeypatch):
    """No run yet, and an assistant that is not asked for anything."""
    shelf = ask_shelf.Shelf()
    monkeypatch.setattr(ask_shelf, "shelf", lambda: shelf)
    monkeypatch.setattr(ask_session, "session", lambda: SimpleNamespace(assistant=None))
    monkeypatch.setattr(tab, "_POLL_SECONDS", 0.01)
    return shelf


def with_five(found: Experiment, *shares: float) -> Experiment:
    """The experiment with other shares among the first five, by vectors alone."""
    rows = [
        replace(row, dense=replace(row.dense, recall_at_5=share)) for row, share in zip(found.rows, shares, strict=True)
    ]
    return replace(found, rows=tuple(rows))


def test_the_recorded_figures_are_shown_at_once_and_marked(shelf):
    html, about, measured = tab.show(False)
    assert '<span class="origin">recorded</span>' in html and html.count("<svg") == 1 and "data-csv" in html
    found = recorded()
    for row in found.rows:
        assert f"<td>{row.dense.recall_at_5:.3f}</td>" in html and f"<td>{row.model_bytes / 2**20:.1f}</td>" in html
    assert found.date in html and found.command in html and escape(tab.conclusion(found)) in html
    assert text.RUN_NOTE in about and measured == ""
    assert tab.show(True)[0].count("<svg") == 1


def test_a_recording_that_is_lost_is_said(shelf, monkeypatch, tmp_path):
    monkeypatch.setattr(experiment, "recorded", lambda: recorded(tmp_path / "none.json"))
    assert 'role="alert"' in tab.show(False)[0]


def test_the_conclusion_counts_questions():
    found = replace(recorded(), questions=100)
    count = len(found.rows)
    lost = tab.conclusion(with_five(found, 0.92, *[0.92] * (count - 2), 0.89))
    assert text.LOST.format(lost=3, count=100) in lost.split("by vectors alone")[0]
    gained = tab.conclusion(with_five(found, 0.92, *[0.95] * (count - 1)))
    assert text.LOST_NONE.format(count=100) in gained.split("by vectors alone")[0]
    assert "13 %" in lost, "4.127 bits of 32"


def fake(*events, wait: threading.Event | None = None):
    def run(assistant, questions, stop):
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event
            if wait is not None:
                wait.wait(10)
            if stop.is_set():
                return

    return run


FIRST = Progress("nf4", False, 0.25)


def test_a_run_is_followed_to_its_result(shelf, monkeypatch):
    quality = Quality(0.5, 0.75, 0.6)
    row = Row("fp32", 4000, 8000, 1.0, 1.0, quality, quality)
    own = replace(recorded(), rows=(row, replace(row, data_type="nf4", linear_bytes=516)), device="<b>here</b>")
    go = threading.Event()
    monkeypatch.setattr(experiment, "run", fake(FIRST, own, wait=go))
    updates = tab.begin(False)
    shown = next(update for update in updates if "NF4" in str(update[0]))
    assert "25 %" in shown[0] and shown[3]["visible"] and not shown[2]["visible"]
    go.set()
    *_, (work, measured, start, stop) = updates
    assert work == "" and '<span class="origin">measured</span>' in measured and "&lt;b&gt;here" in measured
    assert "0.750" in measured and start["visible"] and not stop["visible"]
    assert "0.750" in tab.show(False)[2], "who comes later sees it too"


def test_a_run_is_stopped_and_can_be_begun_again(shelf, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(experiment, "run", fake(FIRST, FIRST, wait=go))
    updates = tab.begin(False)
    next(update for update in updates if "NF4" in str(update[0]))
    assert tab.end()["value"] == text.STOPPING
    go.set()
    *_, (work, measured, start, _) = updates
    assert text.STOPPED in work and measured == "" and start["visible"]
    monkeypatch.setattr(experiment, "run", fake(recorded()))
    *_, (work, measured, *_) = tab.begin(False)
    assert work == "" and "<svg" in measured


def test_what_goes_wrong_is_said(shelf, monkeypatch):
    monkeypatch.setattr(experiment, "run", fake(InputError("It is <not> there.")))
    *_, (work, *_) = tab.begin(False)
    assert "It is &lt;not&gt; there." in work


def test_nothing_is_followed_while_nothing_runs(shelf):
    assert len(list(tab.follow(False))) == 1
