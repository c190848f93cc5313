"""The state of a run's pages at every moment."""

import json
import random

import pytest

from app import recordings
from app.tabs import paging_replay
from app.tabs.paging_replay import AWAY, RESIDENT, STEP, UNUSED, replay, state_at
from qlora import events

PAGES, PAGE_BYTES = 4, 1000


def started(pages: int = PAGES, at: float = 100.0) -> events.RunStarted:
    return events.RunStarted(
        time=at,
        config={},
        device="CPU",
        emulated_device=True,
        versions={},
        steps=9,
        samples=9,
        parameters=9,
        trainable_parameters=9,
        memory_bytes={"base_model": 5000, "adapters": 10, "gradients": 10, "optimizer": pages * PAGE_BYTES - 400},
        pages=pages,
        page_bytes=PAGE_BYTES,
        device_budget_bytes=9000,
    )


def move(page: int, direction: str, at: float = 101.0, step: int = 2, ms: float = 1.5) -> events.PageMoved:
    reason = "activations" if direction == "out" else "prefetch"
    return events.PageMoved(
        time=at, step=step, page=page, direction=direction, reason=reason, bytes=PAGE_BYTES, milliseconds=ms
    )


def step(
    number: int, at: float = 101.0, pages_in: int = 0, pages_out: int = 0, tokens: int = 50
) -> events.StepFinished:
    return events.StepFinished(
        time=at,
        step=number,
        epoch=0.1,
        loss=2.0,
        learning_rate=1e-3,
        gradient_norm=1.0,
        tokens=tokens,
        trained_tokens=tokens,
        step_seconds=0.5,
        tokens_per_second=100.0,
        seconds_left=1.0,
        memory_bytes={"optimizer": 3600, "activations": 700},
        pages_on_device=4,
        pages_in=pages_in,
        pages_out=pages_out,
    )


def paged() -> list[events.Event]:
    return [
        started(),
        step(1, 101.0),
        move(3, "out", 101.5),
        move(2, "out", 101.6),
        move(2, "in", 101.9),
        events.PageReached(time=101.9, step=2, page=2, hit=True, bytes=PAGE_BYTES, milliseconds=0.0),
        move(3, "in", 101.95),
        step(2, 102.0, pages_in=2, pages_out=2, tokens=90),
    ]


def test_pages_are_unused_until_the_first_update_then_follow_their_events():
    run = replay(paged())
    assert state_at(run, 0) == [UNUSED] * 4
    assert state_at(run, 1) == [RESIDENT] * 4
    assert state_at(run, 2) == [RESIDENT, RESIDENT, RESIDENT, AWAY]
    assert state_at(run, 3) == [RESIDENT, RESIDENT, AWAY, AWAY]
    assert state_at(run, 4) == [RESIDENT, RESIDENT, RESIDENT, AWAY]
    assert state_at(run, len(run.rows)) == [RESIDENT] * 4
    assert [paging_replay.moving_at(run, row) for row in range(8)] == [None, None, 3, 2, 2, None, 3, None]


def test_bytes_count_the_last_page_for_what_it_is():
    run = replay(paged())
    assert run.last_page_bytes == 600
    assert paging_replay.resident_bytes(run, [RESIDENT] * 4) == 3600
    assert paging_replay.resident_bytes(run, [RESIDENT, AWAY, UNUSED, AWAY]) == 1000
    times = [(1000, 3600), (1500, 3000), (1600, 2000), (1900, 3000), (1950, 3600)]
    assert paging_replay.resident_over_time(run) == [(0, 0), *times]


def test_absences_last_from_leaving_to_return():
    assert paging_replay.absences(replay(paged())) == [(2, 1600, 1900), (3, 1500, 1950)]
    cut = replay(paged()[:4])
    assert sorted(paging_replay.absences(cut)) == [(2, 1600, 1600), (3, 1500, 1600)], "the log ends while they are away"


def test_fullest_moment_and_the_steps_around_it():
    run = replay(paged())
    assert paging_replay.most_away(run) == (3, 2)
    quiet, busy = run.steps
    assert (quiet.moving_ms, busy.moving_ms) == (0.0, 6.0)
    assert (busy.began_ms, busy.ended_ms, busy.tokens) == (1500, 2000, 90)
    assert paging_replay.most_away(replay([started(), step(1)])) == (1, 0)


def test_neighbouring_moves_share_a_sentence_and_its_rows():
    told = replay(paged()).sentences
    assert [(first, last) for first, last, _ in told] == [(1, 2), (3, 5)]
    assert told[0][2].startswith("Step 2: pages 3 and 2 left the device")


def test_page_that_comes_in_after_a_resumption_was_away():
    log = [*paged(), events.RunResumed(time=9000.0, step=2, steps=9, path="x"), move(1, "in", 9001.0, step=3)]
    log += [move(0, "out", 9002.0, step=3), move(0, "in", 9003.0, step=3), step(3, 9004.0)]
    run = replay(log)
    resumed = next(number for number, row in enumerate(run.rows) if row[0] == paging_replay.RESUMED)
    assert state_at(run, resumed + 1) == [RESIDENT, AWAY, RESIDENT, RESIDENT]
    assert state_at(run, resumed + 2) == [RESIDENT] * 4
    assert run.rows[resumed][2] == 2000, "nobody watches the pause between a run and its resumption"


@pytest.mark.parametrize("log", [[], [step(1)], [move(1, "out"), step(1)], [started(pages=0)]])
def test_log_that_does_not_say_which_pages_there_are_has_no_replay(log):
    assert replay(log) is None


def test_page_number_that_cannot_be_is_passed_over():
    run = replay([started(), step(1), move(99, "out"), move(1, "out")])
    assert state_at(run, 3) == [RESIDENT, AWAY, RESIDENT, RESIDENT]


def test_very_long_run_keeps_its_latest_part(monkeypatch):
    chance = random.Random(0)
    away, log = set(), [started(), step(1)]
    for number in range(500):
        page = chance.randrange(PAGES)
        log.append(move(page, "in" if page in away else "out", 102.0 + number, step=2 + number))
        away ^= {page}
    whole = replay(log)
    monkeypatch.setattr(paging_replay, "_MOST_ROWS", 100)
    part = replay(log)
    assert len(part.rows) == 100 < len(whole.rows)
    assert AWAY in part.initial, "else this proves nothing"
    for row in range(101):
        assert state_at(part, row) == state_at(whole, len(whole.rows) - 100 + row)


def test_json_is_compact_and_says_the_same():
    log = recordings.read("smollm2-cpu-budget").log
    run = replay(log)
    told = paging_replay.compact_json(run)
    assert run.moves > 100, "else this proves nothing"
    assert len(told) < 40 * len(run.rows)
    sent = json.loads(told)
    assert [tuple(row) for row in sent["rows"]] == run.rows
    assert (sent["pages"], sent["start"]) == (run.pages, paging_replay.most_away(run)[0])
    assert sum(row[0] == STEP for row in sent["rows"]) == len(sent["steps"]) == len(run.steps)
