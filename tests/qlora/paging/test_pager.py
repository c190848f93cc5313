import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qlora.errors import InputError
from qlora.paging.page import BYTES_PER_PARAMETER, pages_for
from qlora.paging.pager import Pager

CPU = torch.device("cpu")


@given(parameters=st.integers(1, 5000), page_bytes=st.integers(8, 4096))
def test_pages_cover_every_parameter_once(parameters, page_bytes):
    pages = pages_for(parameters, page_bytes)
    assert [p.number for p in pages] == list(range(len(pages)))
    assert pages[0].start == 0 and pages[-1].stop == parameters
    assert all(a.stop == b.start for a, b in itertools.pairwise(pages))
    assert all(0 < p.bytes <= max(page_bytes, BYTES_PER_PARAMETER) for p in pages)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_nothing_is_lost_and_the_budget_holds_at_all_times(data):
    pages = pages_for(1000, 800)  # ten pages of 100 parameters
    budget = data.draw(st.integers(800, 9000))
    moves = []
    pager = Pager(pages, CPU, budget, moves.append)
    expected = {p.number: torch.zeros(2, 100) for p in pages}
    for value in range(1, 40):
        if data.draw(st.booleans()):
            pager.set_other_bytes(data.draw(st.integers(0, budget - 800)))
        page = pages[data.draw(st.integers(0, 9))]
        state = pager.acquire(page)
        assert torch.equal(state, expected[page.number])
        state.fill_(value)
        expected[page.number] = torch.full((2, 100), float(value))
        assert pager.resident_bytes == sum(pages[n].bytes for n in pager.resident_pages)
        assert pager.resident_bytes + pager.other_bytes <= budget
    for page in pages:
        assert torch.equal(pager.state(page), expected[page.number])
    for page in pages:
        directions = [m.direction for m in moves if m.page == page]
        assert directions == ["out", "in"] * (len(directions) // 2) + ["out"] * (len(directions) % 2)


def test_pages_stay_while_there_is_room():
    pages, moves = pages_for(1000, 800), []
    pager = Pager(pages, CPU, 8000, moves.append)
    for _ in range(3):
        for page in pages:
            pager.acquire(page)
    assert moves == [] and pager.resident_pages == list(range(10))


def test_what_leaves_is_what_is_needed_last():
    pages, moves = pages_for(1000, 800), []
    pager = Pager(pages, CPU, 8000, moves.append)
    for page in pages:
        pager.acquire(page)
    pager.release()
    pager.set_other_bytes(1600, "activations")
    # The next step begins at page 0 again, so the last two pages can wait longest.
    assert [(m.page.number, m.direction, m.reason) for m in moves] == [
        (9, "out", "activations"),
        (8, "out", "activations"),
    ]
    pager.set_other_bytes(0)
    for page in pages:
        pager.acquire(page)
    assert [(m.page.number, m.direction, m.reason) for m in moves[2:]] == [(8, "in", "update"), (9, "in", "update")]


def test_a_cycle_over_one_page_too_many_moves_few_pages():
    pages, moves = pages_for(1000, 800), []
    pager = Pager(pages, CPU, 9 * 800, moves.append)
    for page in pages:
        pager.acquire(page)
    moves.clear()
    for _ in range(8):
        for page in pages:
            pager.acquire(page)
    # Least-recently-used would miss on each of the 80 visits; the farthest next use misses on about one in nine.
    assert sum(m.direction == "in" for m in moves) <= 10


def test_a_budget_without_room_for_one_page_is_refused():
    pager = Pager(pages_for(1000, 800), CPU, 700)
    with pytest.raises(InputError, match=r"no room for one optimizer page.*device_budget_mib"):
        pager.acquire(pager.pages[0])


def test_activations_beyond_the_budget_are_refused_with_the_figures():
    pager = Pager(pages_for(1000, 800), CPU, 2**20)
    with pytest.raises(InputError, match=r"budget of 1.0 MiB is too small.*take 3.0 MiB"):
        pager.set_other_bytes(3 * 2**20)


def test_closing_frees_everything():
    pager = Pager(pages_for(1000, 800), CPU, 2000)
    for page in pager.pages:
        pager.acquire(page)
    pager.close()
    assert pager.resident_bytes == 0 and pager.resident_pages == []
    assert not pager.state(pager.pages[0]).any()
