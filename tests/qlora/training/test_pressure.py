import dataclasses

import pytest
import torch
from torch import nn

from qlora import config as configuration
from qlora import events
from qlora.optimizer.paged_adamw import PagedAdamW
from qlora.paging.page import Arrival, Move, Page
from qlora.training import loop
from qlora.training.pressure import as_event, evict_and_repeat


@pytest.fixture
def optimizer():
    paged = PagedAdamW([nn.Parameter(torch.randn(1024))], page_bytes=2048)
    paged.step()
    assert paged.pager.resident_pages, "else there is nothing to evict"
    return paged


def out_of_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_after_an_out_of_memory_error_pages_leave_and_the_step_runs_again(optimizer):
    drawn, said, resident = [], [], []

    def attempt():
        resident.append(optimizer.pager.resident_pages)
        drawn.append(torch.rand(3))
        return out_of_memory() if len(drawn) == 1 else "done"

    assert evict_and_repeat(attempt, optimizer, said.append) == "done"
    assert resident == [[0, 1, 2, 3], []]
    assert torch.equal(*drawn), "the same random numbers"
    assert len(said) == 1 and "CUDA out of memory" in said[0] and "pages left the device" in said[0]


def test_it_runs_again_once_and_only_where_pages_can_leave(optimizer):
    calls = []

    def attempt():
        calls.append(1)
        out_of_memory()

    with pytest.raises(torch.OutOfMemoryError):
        evict_and_repeat(attempt, optimizer, calls.append)
    assert len(calls) == 3, "two runs and a notice"
    calls.clear()
    with pytest.raises(torch.OutOfMemoryError):
        evict_and_repeat(attempt, optimizer, calls.append)
    assert len(calls) == 1, "nothing is on the device: nothing can be gained"


def test_other_errors_and_successes_evict_nothing(optimizer):
    assert evict_and_repeat(lambda: 7, optimizer, None) == 7
    with pytest.raises(ZeroDivisionError):
        evict_and_repeat(lambda: 1 / 0, optimizer, None)
    assert optimizer.pager.resident_pages == [0, 1, 2, 3]


def test_a_run_that_meets_an_out_of_memory_error_takes_the_same_steps(tiny_model, tmp_path, monkeypatch):
    settings = configuration.from_mapping(
        {
            "model": {"name": str(tiny_model)},
            "adapter": {"dropout": 0.1},
            "data": {"max_length": 48, "system_prompt": ""},
            "optimizer": {"learning_rate": 1e-2, "page_kib": 16, "state_bits": 8},
            "training": {"steps": 3},
            "output": str(tmp_path / "free"),
        }
    )
    free = [e for e in loop.train(settings) if e.kind == "step"]
    accumulate, calls = loop._accumulate, []

    def fails_once(*arguments):
        calls.append(1)
        loss = accumulate(*arguments)
        if len(calls) == 2:  # after the second step's backward pass: gradients are there already
            out_of_memory()
        return loss

    monkeypatch.setattr(loop, "_accumulate", fails_once)
    happened = list(loop.train(dataclasses.replace(settings, output=str(tmp_path / "short"))))
    steps = [e for e in happened if e.kind == "step"]
    assert len(calls) == 4
    assert [s.loss for s in steps] == [s.loss for s in free]
    assert [s.gradient_norm for s in steps] == [s.gradient_norm for s in free]
    moves = [e for e in happened if isinstance(e, events.PageMoved) and e.direction == "out"]
    assert {(m.step, m.reason) for m in moves} == {(2, "out of memory")} and len(moves) == happened[0].pages
    assert [e.message for e in happened if e.kind == "notice" and "the step ran again" in e.message]


def test_what_pages_do_becomes_events():
    page = Page(3, 768, 1024, 2048)
    move = as_event(5, Move(page, "out", "activations", 0.5))
    assert dataclasses.replace(move, time=0) == events.PageMoved(
        time=0, step=5, page=3, direction="out", reason="activations", bytes=2048, milliseconds=0.5
    )
    arrival = as_event(5, Arrival(page, False, 0.25))
    assert dataclasses.replace(arrival, time=0) == events.PageReached(
        time=0, step=5, page=3, hit=False, bytes=2048, milliseconds=0.25
    )
