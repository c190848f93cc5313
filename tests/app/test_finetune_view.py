"""A run's events as HTML."""

import dataclasses
import re

import pytest

from app import runs
from app.tabs import finetune_charts
from app.tabs import finetune_view as view
from app.text import finetune as text
from qlora import events

MIB = 2**20
RUN = runs.Run(runs.Path("20260102-030405-000000"))


def started(**changes) -> events.RunStarted:
    fields = {
        "config": {},
        "device": "CPU <x>",
        "emulated_device": True,
        "versions": {},
        "steps": 40,
        "samples": 10,
        "parameters": 100,
        "trainable_parameters": 10,
        "memory_bytes": {},
        "pages": 19,
        "page_bytes": 2 * MIB,
        "device_budget_bytes": 300 * MIB,
    }
    return events.RunStarted(**(fields | changes))


def step(number: int, loss: float = 1.0, **changes) -> events.StepFinished:
    fields = {
        "step": number,
        "epoch": number / 10,
        "loss": loss,
        "learning_rate": 1e-3,
        "gradient_norm": 1.0,
        "tokens": 100,
        "trained_tokens": 50,
        "step_seconds": 0.5,
        "tokens_per_second": 200.0,
        "seconds_left": 75.0,
        "memory_bytes": {
            "base_model": 100 * MIB,
            "adapters": 20 * MIB,
            "gradients": 20 * MIB,
            "activations": 60 * MIB,
            "optimizer": 30 * MIB,
        },
        "pages_on_device": 15,
        "pages_in": 4,
        "pages_out": 4,
    }
    return events.StepFinished(**(fields | changes))


def move(number: int, page: int, direction: str = "out", reason: str = "activations") -> events.PageMoved:
    return events.PageMoved(
        step=number, page=page, direction=direction, reason=reason, bytes=2 * MIB, milliseconds=0.25
    )


def sample(number: int, words: str, prompt: str = "Why?") -> events.SampleGenerated:
    return events.SampleGenerated(step=number, prompt=prompt, text=words, new_tokens=3, seconds=1.0)


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


RUNNING = runs.Status("running")


def test_nothing_to_show_before_the_first_event():
    told = view.story([])
    assert view.cards_html(RUN, runs.Status("starting"), told) == ""
    assert finetune_charts.charts_html(told, live=True) == view.table_html(told) == view.samples_html(told) == ""
    assert text.STATES["starting"] in plain(view.status_html(RUN, runs.Status("starting"), told))


def test_cards_before_the_first_step():
    words = plain(view.cards_html(RUN, RUNNING, view.story([started()])))
    assert "Step 0 of 40" in words
    assert "Loss" not in words


def test_cards_hold_the_logs_numbers():
    log = [started(), *(step(number, loss=5.0 - number / 10) for number in range(1, 21))]
    words = plain(view.cards_html(RUN, RUNNING, view.story(log)))
    assert "Step 20 of 40" in words
    # Means of 4.9 … 4.5 and of 3.4 … 3.0.
    assert "Loss 3.20 mean of the last 5 steps; −32 % from 4.70 in the first 5" in words
    assert "Tokens a second 200" in words
    assert "Time left 1 min 15 s" in words
    assert "230 MiB of 300 MiB allowed" in words
    assert "Pages on the device 15 of 19 with 2.0 MiB each" in words


@pytest.mark.parametrize(("count", "words"), [(1, "first step"), (2, "from 4.90 in the first step")])
def test_loss_card_of_the_first_steps(count, words):
    log = [started(), *(step(number, loss=5.0 - number / 10) for number in range(1, count + 1))]
    assert words in plain(view.cards_html(RUN, RUNNING, view.story(log)))


def test_ended_run_says_the_time_it_took():
    begun = 1767323045.0  # 2026-01-02 03:04:05 UTC, the run's name
    log = [
        started(),
        step(1, time=begun + 60),
        events.RunEnded(outcome="finished", step=1, message="", time=begun + 65),
    ]
    words = plain(view.cards_html(RUN, runs.Status("finished"), view.story(log)))
    assert "Time taken 1 min 05 s" in words
    assert "Time left" not in words


def test_status_tells_notices_failures_and_the_emulated_device():
    log = [
        started(),
        events.Notice(message="3 answers were cut."),
        events.StepSkipped(step=2, reason="loss nan"),
    ]
    html = view.status_html(RUN, runs.Status("failed", "No <room>."), view.story(log), unreadable=2)
    words = plain(html)
    for part in ("3 answers were cut.", "Step 2 was passed over: loss nan.", "2 damaged lines", text.EMULATED_DEVICE):
        assert part in words
    assert 'role="alert"' in html
    assert "No &lt;room&gt;." in html
    on_gpu = view.story([started(emulated_device=False)])
    assert text.EMULATED_DEVICE not in plain(view.status_html(RUN, RUNNING, on_gpu))
    assert "<x>" not in view.status_html(RUN, RUNNING, view.story(log))


def test_stop_that_was_asked_for_is_said():
    asked = dataclasses.replace(RUNNING, stopping_seconds=1.0)
    assert text.STATES["stopping"] in plain(view.status_html(RUN, asked, view.story([started()])))


def test_charts_have_text_alternatives_with_the_numbers():
    log = [started(), step(1, loss=3.0), step(2, loss=2.0)]
    html = finetune_charts.charts_html(view.story(log), live=False)
    descriptions = re.findall(r"<desc[^>]*>([^<]+)</desc>", html)
    assert len(descriptions) == html.count("<svg") == 6
    assert any("activations 60.0 MiB" in words for words in descriptions)
    assert any("8 optimizer pages came to the device and 8 left it" in words for words in descriptions)


def test_neighbouring_moves_share_a_sentence():
    log = [move(3, 1), move(3, 4), move(3, 2, "in", "update"), move(4, 2, "out", "budget"), move(0, 7)]
    assert view.moves_in_words(log) == [
        "Step 3: pages 1 and 4 left the device: room for activations.",
        "Step 3: page 2 came to the device: the optimizer updates what belongs to it.",
        "Step 4: page 2 left the device: room for another page.",
        "Before the first step: page 7 left the device: room for activations.",
    ]


def test_pages_that_follow_each_other_are_told_as_a_run():
    down = [move(3, page) for page in (9, 8, 7, 6, 2)]
    assert view.moves_in_words(down) == ["Step 3: pages 9 to 6 and 2 left the device: room for activations."]
    up = [move(3, page) for page in (1, 2, 3)]
    assert view.moves_in_words(up) == ["Step 3: pages 1 to 3 left the device: room for activations."]
    two = [move(3, page) for page in (1, 2)]
    assert view.moves_in_words(two) == ["Step 3: pages 1 and 2 left the device: room for activations."]


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ([started(), step(1, pages_on_device=19)], "All 19 pages stayed on the device"),
        ([started(), step(1, pages_on_device=0)], text.PAGES_NOT_YET),
        ([started(), move(1, 3), move(1, 3, "in", "update"), step(1)], "Moves off the device: 1; back: 1."),
    ],
)
def test_pages_in_words(log, words):
    assert words in plain(view.pages_html(view.story(log)))


def test_samples_stand_side_by_side_as_text():
    told = view.story([started(), sample(0, "<script>alert(1)</script>"), sample(40, "Because.")])
    html = view.samples_html(told)
    assert "<script>" not in html
    assert plain(html).count("Why?") == 1
    assert "After step 40 Because. 3 tokens in 1.0 s" in plain(html)
    waiting = view.samples_html(view.story([started(), sample(0, "")]))
    assert text.SAMPLE_EMPTY in plain(waiting)
    assert text.SAMPLE_PENDING in plain(waiting)


def test_table_of_a_long_run_is_thinned_and_ends_with_the_last_step():
    told = view.story([started(), *(step(number) for number in range(1, 1001))])
    rows = re.findall(r'<th scope="row">([\d,]+)</th>', view.table_html(told))
    assert len(rows) <= 41
    assert rows[0] == "1"
    assert rows[-1] == "1,000"
    assert "One step in 25" in view.table_html(told)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_duration(seconds, words):
    assert view.duration(seconds) == words
