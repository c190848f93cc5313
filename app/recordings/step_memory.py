"""The memory of one step, read after every operator."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from app.recordings import StepMemory
from qlora import events
from qlora.config import RunConfig
from qlora.data.batches import Batch
from qlora.training.loss import summed_loss
from qlora.training.setup import Setup, prepare, run_started

_MOST_SAMPLES = 360
_LOOKED_AT = 60


class _AfterEachOperator(TorchDispatchMode):
    def __init__(self, act: Callable[[], None]):
        super().__init__()
        self._act = act

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self._act()
        return result


def record_step(config: RunConfig) -> tuple[events.RunStarted, StepMemory]:
    """Take a step with each of the run's two shortest batches, so that all optimizer state exists, then watch one with
    the longest.

    Activations are what is there besides weights, adapters, gradients and pages: on a GPU as the allocator says, on a
    CPU as the pager was told last, which is at every tensor of the passes that is made (`training.pressure`).

    Raises:
        InputError: as `training.setup.prepare`.
    """
    setup = prepare(config, lambda happening: None)
    try:
        by_length = sorted(map(setup.batches.at, range(min(_LOOKED_AT, setup.batches.per_epoch))), key=_tokens)
        for batch in by_length[:2]:
            _step(setup, batch, contextlib.nullcontext())
        watch = _Watch(setup)
        with _AfterEachOperator(watch.sample):
            _step(setup, by_length[-1], watch.update())
        return run_started(setup), watch.result(by_length[-1].tokens)
    finally:
        setup.optimizer.close()


def _tokens(batch: Batch) -> int:
    return batch.tokens


def _step(setup: Setup, batch: Batch, update: contextlib.AbstractContextManager) -> None:
    """A step as `training.loop` takes it, with one batch; `update` is around the optimizer's part."""
    batch = batch.to(setup.device)
    setup.pressure.begin_step()
    setup.optimizer.zero_grad()
    with setup.pressure.passes():
        chunk = setup.config.training.loss_chunk_tokens
        (summed_loss(setup.model, batch, chunk) / batch.trained_tokens).backward()
    with update:
        setup.optimizer.step()
    setup.pressure.after_update()


class _Watch:
    def __init__(self, setup: Setup):
        self._pager, self._device = setup.optimizer.pager, setup.device
        self._fixed = sum(setup.pressure.fixed_bytes.values())
        self._samples: list[tuple[int, int]] = []  # activations, pages
        self._phases = {"forward": 0}

    @contextlib.contextmanager
    def update(self) -> Iterator[None]:
        """Around the optimizer's part of the step."""
        self._phases["update"] = len(self._samples)
        yield

    def result(self, tokens: int) -> StepMemory:
        """What was seen, thinned."""
        count = len(self._samples)
        size = -(-count // _MOST_SAMPLES)
        fullest = [
            max(range(first, min(first + size, count)), key=lambda i: sum(self._samples[i]))
            for first in range(0, count, size)
        ]
        return StepMemory(tokens, count, self._phases, [(i, *self._samples[i]) for i in fullest])

    def sample(self) -> None:
        """After an operator."""
        if "backward" not in self._phases and torch._C._current_graph_task_id() != -1:
            self._phases["backward"] = len(self._samples)
        other = self._pager.other_bytes
        if self._device.type == "cuda":
            other = torch.cuda.memory_allocated(self._device) - self._pager.resident_bytes
        self._samples.append((max(0, other - self._fixed), self._pager.resident_bytes))
