"""Copies like those of a GPU's side streams, without a GPU: none is made before something waits for it."""

import dataclasses

import torch

from qlora.paging.transfer import Wait


@dataclasses.dataclass
class DelayedCopy:
    source: torch.Tensor | None
    target: torch.Tensor | None
    after: list["DelayedCopy"]
    ended: object = True  # not None: under way
    done: bool = False

    def milliseconds(self) -> float:
        assert self.done, "its time was asked for before anything waited for it"
        return 0.5

    def make(self) -> None:
        if not self.done:
            for earlier in self.after:
                earlier.make()
            self.target.copy_(self.source)
            self.done, self.source, self.target = True, None, None


class DelayedTransfer:
    """As late as a stream may be: a copy is made when the computation waits for it, after what it comes behind on its
    stream and after what it was told to wait for. Until then its target holds garbage, as a test should assume."""

    def __init__(self):
        self.copies = []
        self.streams = {"in": [], "out": []}

    def begin(self) -> None:
        pass

    def to_host(self, slot, host) -> DelayedCopy:
        return self._copy("out", slot, host, [])

    def to_device(self, host, slot, after) -> DelayedCopy:
        if after is None:  # it comes behind the computation so far, and so behind all that the computation waited for
            assert not any(c.target is host for c in self.streams["out"])
            slot.fill_(255)
            return self._copy("in", host, slot, [])
        assert after.done or after.source is slot, "it waits for a copy that has nothing to do with its slot"
        return self._copy("in", host, slot, [after])

    def wait(self, copy: DelayedCopy) -> Wait:
        copy.make()
        return Wait(copy)

    def synchronize(self) -> None:
        for copy in self.copies:
            copy.make()

    def _copy(self, stream, source, target, after) -> DelayedCopy:
        copy = DelayedCopy(source, target, [*self.streams[stream][-1:], *after])
        self.streams[stream].append(copy)
        self.copies.append(copy)
        return copy
