import itertools
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qlora.errors import InputError
from qlora.memory.measure import LiveTensorBytes
from qlora.paging.page import Arrival, Move, pages_for
from qlora.paging.pager import Pager

sys.path.insert(0, str(Path(__file__).parent))
from delayed_transfer import DelayedTransfer

CPU = torch.device("cpu")
PAGE = 2048  # bytes of one block of 256 parameters with 32-bit states


def pages(count=10):
    return pages_for(count * 256, PAGE)


def visit_all(pager):
    for _ in pager.visit():
        pass


@given(blocks=st.integers(1, 300), page_bytes=st.integers(8, 2**16), state_bits=st.sampled_from([32, 8]))
def test_pages_cover_every_parameter_once(blocks, page_bytes, state_bits):
    cut = pages_for(blocks * 256, page_bytes, state_bits)
    block_bytes = {32: 256 * 8, 8: 256 * 2 + 2 * 4}[state_bits]
    assert [p.number for p in cut] == list(range(len(cut)))
    assert cut[0].start == 0 and cut[-1].stop == blocks * 256
    assert all(a.stop == b.start for a, b in itertools.pairwise(cut))
    assert all(p.start % 256 == 0 and p.bytes == (p.stop - p.start) // 256 * block_bytes for p in cut)
    assert all(0 < p.bytes <= max(page_bytes, block_bytes) for p in cut)


@pytest.mark.parametrize("delayed", [False, True], ids=["copies at once", "copies as late as can be"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_nothing_is_lost_and_the_budget_holds_at_all_times(delayed, data):
    """Any order of visits, evictions (also in the middle of a visit) and pressure."""
    count = data.draw(st.integers(1, 9))
    cut = pages_for(count * 256, PAGE * 2)  # the last one is shorter for odd counts
    room = data.draw(st.integers(2 * PAGE, (count + 2) * PAGE))
    happened, pager = [], None

    def within_budget(happening):
        happened.append(happening)
        assert pager.resident_bytes + pager.other_bytes <= room

    pager = Pager(cut, CPU, room, within_budget)
    if delayed:
        pager._transfer = DelayedTransfer()
    expected = {page.number: 0 for page in cut}
    numbers = st.lists(st.sampled_from(sorted(expected)), max_size=4)
    with LiveTensorBytes() as meter:
        for value in range(1, data.draw(st.integers(2, 5))):
            if data.draw(st.booleans()):
                pager.set_other_bytes(data.draw(st.integers(0, room - 2 * PAGE)))
            pager.evict(data.draw(numbers))
            seen = []
            for group in pager.visit():
                evicted = data.draw(numbers)
                pager.evict(evicted)
                for page, memory in group:
                    assert pager.resident_bytes + pager.other_bytes <= room
                    content = memory.numpy()  # numpy makes no tensors, which the meter would count
                    assert (content == expected[page.number]).all()
                    content.fill(value)
                    expected[page.number] = value
                    seen.append(page.number)
                    del memory, content
            assert sorted(seen) == sorted(expected)
    assert 0 < meter.peak_bytes <= room, "what the tensors take, counted without the pager"
    for page in cut:
        assert bool((pager.read(page) == expected[page.number]).all())
    moves = [h for h in happened if isinstance(h, Move)]
    for page in cut:
        directions = [m.direction for m in moves if m.page == page]
        assert directions == ["out", "in"] * (len(directions) // 2) + ["out"] * (len(directions) % 2)
    report = pager.report()
    assert (report.moves_in, report.moves_out) == tuple(
        sum(m.direction == direction for m in moves) for direction in ("in", "out")
    )
    assert report.bytes_in == sum(m.page.bytes for m in moves if m.direction == "in")
    assert report.device_bytes + report.host_bytes == sum(page.bytes for page in cut)
    assert report.prefetch_hits + report.prefetch_late == sum(isinstance(h, Arrival) for h in happened)


def test_pages_stay_while_there_is_room():
    moves = []
    pager = Pager(pages(), CPU, 10 * PAGE, moves.append)
    groups = []
    for _ in range(3):
        groups += [len(group) for group in pager.visit()]
    assert moves == [] and pager.resident_pages == list(range(10))
    assert groups == [10, 10, 10], "all resident pages come in one group"


def test_what_left_for_activations_comes_back_while_the_rest_is_updated():
    happened = []
    pager = Pager(pages(), CPU, 10 * PAGE, happened.append)
    visit_all(pager)
    pager.set_other_bytes(2 * PAGE)
    assert [(m.page.number, m.direction, m.reason) for m in happened] == [
        (9, "out", "activations"),
        (8, "out", "activations"),
    ]
    pager.set_other_bytes(0)
    happened.clear()
    groups = [[page.number for page, _ in group] for group in pager.visit()]
    assert groups == [[0, 1, 2, 3, 4, 5, 6, 7], [8], [9]]
    assert [(m.page.number, m.reason) for m in happened if isinstance(m, Move)] == [(8, "prefetch"), (9, "prefetch")]
    assert [(a.page.number, a.hit) for a in happened if isinstance(a, Arrival)] == [(8, True), (9, True)]


def test_pressure_in_the_middle_of_an_update_leaves_the_pages_in_use():
    pager = Pager(pages(), CPU, 10 * PAGE)
    pager.set_other_bytes(6 * PAGE)
    visit = pager.visit()
    used = [page.number for page, _ in next(visit)]
    pager.set_other_bytes(9 * PAGE)
    assert pager.resident_pages == used == [0, 1, 2, 3]
    next(visit)
    assert pager.resident_bytes + pager.other_bytes <= 10 * PAGE


def test_the_budget_holds_while_several_pages_leave_for_one_thing():
    seen = []
    pager = Pager(pages(5), CPU, 5 * PAGE, lambda move: seen.append(pager.resident_bytes + pager.other_bytes))
    visit_all(pager)
    pager.set_other_bytes(3 * PAGE - 1)
    assert len(seen) == 3 and max(seen) <= 5 * PAGE
    assert pager.other_bytes == 3 * PAGE - 1


def test_headroom_makes_pages_leave_and_is_no_use_of_the_budget():
    pager = Pager(pages(), CPU, 10 * PAGE)
    visit_all(pager)
    pager.set_other_bytes(0, headroom_bytes=3 * PAGE)
    assert pager.resident_pages == list(range(7))
    pager.set_other_bytes(0, headroom_bytes=100 * PAGE)
    assert pager.resident_pages == []


def test_what_the_device_was_found_to_hold_is_a_limit_too():
    pager = Pager(pages(), CPU)
    visit_all(pager)
    pager.capacity_bytes = 4 * PAGE
    pager.set_other_bytes(PAGE)
    assert pager.resident_pages == [0, 1, 2]


@pytest.mark.parametrize("room", [1, 5, 9])
def test_a_step_moves_only_the_pages_that_there_is_no_room_for(room):
    happened = []
    pager = Pager(pages(), CPU, room * PAGE, happened.append)
    visit_all(pager)
    for _ in range(4):
        happened.clear()
        visit_all(pager)
        moves = [h.direction for h in happened if isinstance(h, Move)]
        # In a fixed order, evicting the least recently used page, all ten would move each time.
        assert moves.count("in") == moves.count("out") == 10 - room


def test_a_page_with_nothing_beside_which_it_could_come_is_late():
    happened = []
    pager = Pager(pages(3), CPU, PAGE, happened.append)
    visit_all(pager)
    visit_all(pager)
    assert {h.reason for h in happened if isinstance(h, Move) and h.direction == "in"} == {"update"}
    assert not any(h.hit for h in happened if isinstance(h, Arrival))
    assert pager.report().prefetch_late == sum(isinstance(h, Arrival) for h in happened) > 0


def test_memory_that_the_device_does_not_have_is_taken_from_pages_that_are_done(monkeypatch):
    happened = []
    pager = Pager(pages(), CPU, None, happened.append)
    empty = torch.empty

    def full(count, **options):
        if len(pager.resident_pages) + len(pager._leaving) >= 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return empty(count, **options)

    monkeypatch.setattr("qlora.paging.pager.torch.empty", full)
    for value in (0, 1):
        for group in pager.visit():
            for _, memory in group:
                assert bool((memory == value).all())
                memory.fill_(value + 1)
            assert len(pager.resident_pages) <= 4
    assert {h.reason for h in happened if isinstance(h, Move) and h.direction == "out"} == {"out of memory"}


def test_a_budget_without_room_for_one_page_is_refused():
    pager = Pager(pages(), CPU, PAGE - 1)
    with pytest.raises(InputError, match=r"no room for one optimizer page.*device_budget_mib"):
        visit_all(pager)


def test_activations_beyond_the_budget_are_refused_with_the_figures():
    pager = Pager(pages(), CPU, 2**20)
    with pytest.raises(InputError, match=r"budget of 1.0 MiB is too small.*take 3.0 MiB"):
        pager.set_other_bytes(3 * 2**20)


def test_closing_frees_everything_and_says_so_afterwards():
    with LiveTensorBytes() as meter:
        pager = Pager(pages(), CPU, 5 * PAGE)
        visit_all(pager)
        assert meter.live_bytes >= 5 * PAGE, "else there is nothing to free"
        assert pager.report().host_reserved_bytes >= 5 * PAGE
        pager.close()
        assert meter.live_bytes == 0
    assert pager.resident_bytes == 0 and pager.resident_pages == [] == pager.evicted_pages
    assert pager._host_memory.reserved_bytes == 0
    pager.close()
    for use in (lambda: visit_all(pager), pager.evict, pager.report, lambda: pager.read(pager.pages[0])):
        with pytest.raises(RuntimeError, match="closed"):
            use()
