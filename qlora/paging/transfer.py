"""Copies of pages between the device and main memory, and the main memory itself."""

import mmap
import time
import weakref
from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass
class Copy:
    """A copy of a page, perhaps still under way.

    Attributes:
        began, ended: recorded around it on its stream; None for a copy that was done at once.
        elapsed: its milliseconds, where it was done at once.
    """

    began: torch.cuda.Event | None = None
    ended: torch.cuda.Event | None = None
    elapsed: float = 0.0

    def milliseconds(self) -> float:
        """How long it took; waits for its end."""
        if self.ended is None:
            return self.elapsed
        self.ended.synchronize()
        return self.began.elapsed_time(self.ended)


@dataclass
class Wait:
    """The computation waits for a copy from here on.

    Attributes:
        reached: when the computation came to this point; origin: an earlier moment, from which both are measured.
    """

    copy: Copy
    origin: torch.cuda.Event | None = None
    reached: torch.cuda.Event | None = None

    def milliseconds(self) -> float:
        """How long the computation stood still; waits for the end of the copy."""
        if self.reached is None:
            return 0.0
        self.copy.ended.synchronize()
        self.reached.synchronize()
        return max(0.0, self.origin.elapsed_time(self.copy.ended) - self.origin.elapsed_time(self.reached))


class Transfer(Protocol):
    """What moves pages. The computation is what the current stream of the device does."""

    def begin(self) -> None:
        """Measure waits from here on; no earlier copy is under way."""

    def to_host(self, slot: torch.Tensor, host: torch.Tensor) -> Copy:
        """Copy `slot` to `host` once the computation so far is done with it."""

    def to_device(self, host: torch.Tensor, slot: torch.Tensor, after: Copy | None) -> Copy:
        """Copy `host` to `slot`, once `after` (which empties the slot) has ended, or else the computation so far."""

    def wait(self, copy: Copy) -> Wait:
        """Let the computation, not the caller, wait for `copy`."""

    def synchronize(self) -> None:
        """Let the caller wait for everything."""


class DirectTransfer:
    """Copies at once: the device is emulated, both places are main memory."""

    def begin(self) -> None:
        """Nothing ever waits."""

    def to_host(self, slot: torch.Tensor, host: torch.Tensor) -> Copy:
        return self._copy(slot, host)

    def to_device(self, host: torch.Tensor, slot: torch.Tensor, after: Copy | None) -> Copy:
        return self._copy(host, slot)

    def wait(self, copy: Copy) -> Wait:
        return Wait(copy)

    def synchronize(self) -> None:
        """Nothing is ever under way."""

    def _copy(self, source: torch.Tensor, target: torch.Tensor) -> Copy:
        began = time.perf_counter()
        target.copy_(source)
        return Copy(elapsed=(time.perf_counter() - began) * 1e3)


class StreamTransfer:
    """Copies between a GPU and pinned memory on two side streams, one for each direction of the bus, in step with the
    computation through events alone: the caller never waits.

    A page's memory on the device belongs to the stream of the computation. It is given back only after that stream
    waits for the copy, so the allocator may hand it to the computation right away.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._out, self._in = torch.cuda.Stream(device), torch.cuda.Stream(device)
        self._origin: torch.cuda.Event | None = None

    def begin(self) -> None:
        self._origin = torch.cuda.Event(enable_timing=True)
        self._origin.record(torch.cuda.current_stream(self._device))

    def to_host(self, slot: torch.Tensor, host: torch.Tensor) -> Copy:
        self._out.wait_stream(torch.cuda.current_stream(self._device))
        return self._copy(self._out, slot, host)

    def to_device(self, host: torch.Tensor, slot: torch.Tensor, after: Copy | None) -> Copy:
        if after is None:
            self._in.wait_stream(torch.cuda.current_stream(self._device))
        else:
            self._in.wait_event(after.ended)
        return self._copy(self._in, host, slot)

    def wait(self, copy: Copy) -> Wait:
        stream = torch.cuda.current_stream(self._device)
        reached = torch.cuda.Event(enable_timing=True)
        reached.record(stream)
        stream.wait_event(copy.ended)
        return Wait(copy, self._origin, reached)

    def synchronize(self) -> None:
        self._out.synchronize()
        self._in.synchronize()
        torch.cuda.current_stream(self._device).synchronize()

    def _copy(self, stream: torch.cuda.Stream, source: torch.Tensor, target: torch.Tensor) -> Copy:
        copy = Copy(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
        with torch.cuda.stream(stream):
            copy.began.record(stream)
            target.copy_(source, non_blocking=True)
            copy.ended.record(stream)
        return copy


class HostMemory:
    """Main memory for evicted pages: it grows by chunks and goes back to the system as a whole.

    For a GPU it is pinned, so that copies run beside the computation. Pinned memory from torch's own allocator would
    be rounded up to a power of two and stay with the process; ours is registered with the driver, and freed.

    Args:
        pinned: whether a GPU copies from and to it.
        chunk_bytes: by which it grows.

    Attributes:
        reserved_bytes: taken from the system.
    """

    def __init__(self, pinned: bool, chunk_bytes: int = 2**25):
        self._pinned, self._chunk_bytes = pinned, chunk_bytes
        self._chunks: list[torch.Tensor] = []
        self._used = 0
        self.reserved_bytes = 0
        # Memory that goes back to the system while it is registered could never be registered again.
        self._release = weakref.finalize(self, _release, self._chunks, pinned)
        self._release.atexit = False

    def take(self, count: int) -> torch.Tensor:
        """uint8 (count,), not initialized.

        Raises:
            MemoryError: the memory cannot be pinned.
        """
        if not self._chunks or self._used + count > self._chunks[-1].numel():
            self._grow(max(count, self._chunk_bytes))
        begin, self._used = self._used, self._used + -(-count // 64) * 64
        return self._chunks[-1][begin : begin + count]

    def close(self) -> None:
        """Give all of it back. No copy may be under way, and what was taken must not be used again."""
        self._release()
        self._used = self.reserved_bytes = 0

    def _grow(self, count: int) -> None:
        chunk = torch.frombuffer(mmap.mmap(-1, count), dtype=torch.uint8)
        if self._pinned:
            error = int(torch.cuda.cudart().cudaHostRegister(chunk.data_ptr(), count, 1))  # 1: for every CUDA context
            if error:
                _forget_error()
                raise MemoryError(
                    f"{count / 2**20:.0f} MiB of main memory for optimizer pages cannot be pinned (CUDA error "
                    f"{error}): free main memory or raise the limit of locked memory (ulimit -l)."
                )
        self._chunks.append(chunk)
        self._used = 0
        self.reserved_bytes += count


def _release(chunks: list[torch.Tensor], pinned: bool) -> None:
    while chunks:
        chunk = chunks.pop()
        error = int(torch.cuda.cudart().cudaHostUnregister(chunk.data_ptr())) if pinned else 0
        if error:
            _forget_error()
            raise RuntimeError(f"Main memory cannot be unpinned: CUDA error {error}.")


def _forget_error() -> None:
    """The driver's interface keeps the error of a call for whoever asks next: let that be us, not a later kernel."""
    try:
        torch.zeros(1, device="cuda")
    except RuntimeError:
        return
