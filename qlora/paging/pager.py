"""Which pages are on the device, what leaves when room is needed, and when the rest comes back.

The paper pages optimizer state through NVIDIA unified memory, where the driver decides (section 3). Here pages are
explicit: they stay on the device while there is room, which costs nothing, leave when something else needs the room,
and come back on a side stream while the optimizer still updates others.
"""

from collections.abc import Callable, Iterator, Sequence

import torch

from qlora.errors import InputError
from qlora.paging.ledger import Ledger, PagingReport
from qlora.paging.page import Arrival, Move, Page
from qlora.paging.transfer import Copy, DirectTransfer, HostMemory, StreamTransfer, Transfer

_CHUNK_PAGES = 16


class Pager:
    """Keeps the pages of one optimizer.

    State is zero at first and takes no room anywhere until a page is used. On a machine without a GPU both places are
    main memory ("emulated device"): the moves, their order and their bytes are real, only the bus is missing.

    Args:
        pages: all pages.
        device: where the optimizer computes.
        budget_bytes: what may be on the device in all, or None for no limit.
        on_paging: told of each move and arrival. On a GPU that is at the end of a visit, when their times are known.

    Attributes:
        capacity_bytes: what the device has been found to hold (see `training.pressure`), or None; a second limit.
        other_bytes: what everything but the pages takes.
        resident_bytes: of the pages on the device.
    """

    def __init__(
        self,
        pages: Sequence[Page],
        device: torch.device,
        budget_bytes: int | None = None,
        on_paging: Callable[[Move | Arrival], None] = lambda happening: None,
    ):
        self.pages = list(pages)
        self.device = device
        self.budget_bytes = budget_bytes
        self.capacity_bytes: int | None = None
        self.other_bytes = 0
        self.resident_bytes = 0
        on_gpu = device.type == "cuda"
        self._transfer: Transfer | None = StreamTransfer(device) if on_gpu else DirectTransfer()
        self._host_memory = HostMemory(on_gpu, _CHUNK_PAGES * max((page.bytes for page in self.pages), default=0))
        self._slots: dict[int, torch.Tensor] = {}  # on the device
        self._host: dict[int, torch.Tensor] = {}  # a page keeps its place in main memory once it has one
        self._evicted: set[int] = set()
        self._arriving: dict[int, tuple[Copy, str]] = {}  # resident, but the copy may be under way; and its reason
        self._leaving: list[tuple[torch.Tensor, Copy]] = []  # memory of the device whose page is on its way out
        self._in_use: frozenset[int] = frozenset()
        self._ledger = Ledger(on_paging)
        self._closed = False

    @property
    def resident_pages(self) -> list[int]:
        """Numbers of the pages on the device, ascending."""
        return sorted(self._slots)

    @property
    def evicted_pages(self) -> list[int]:
        """Numbers of the pages in main memory, ascending."""
        return sorted(self._evicted)

    def set_other_bytes(self, other_bytes: int, headroom_bytes: int = 0, reason: str = "activations") -> None:
        """Tell how much of the device everything but the pages takes; pages leave until all fits.

        Args:
            other_bytes: now.
            headroom_bytes: that will be needed besides before the next call.
            reason: of the moves.

        Raises:
            InputError: it does not fit into the budget even with no page on the device.
        """
        self._require_open()
        # Room is made first and taken then: whoever is told of a move never sees more than the budget.
        growth = other_bytes - self.other_bytes
        while self._excess(growth + headroom_bytes) > 0 and self._evict_last(reason):
            pass
        self._hand_back()
        self.other_bytes = other_bytes
        if self.budget_bytes is not None and other_bytes > self.budget_bytes:
            raise InputError(
                f"The device budget of {_mib(self.budget_bytes)} MiB is too small: weights, adapters, gradients and "
                f"activations alone take {_mib(other_bytes)} MiB. Raise optimizer.device_budget_mib, or lower "
                "training.batch_size or data.max_length."
            )

    def evict(self, numbers: Sequence[int] | None = None, reason: str = "request") -> int:
        """Move pages out now; those that are being updated stay.

        Args:
            numbers: of the pages, all by default.
            reason: of the moves.

        Returns:
            Bytes that left the device.
        """
        self._require_open()
        before = self.resident_bytes
        for number in self.resident_pages if numbers is None else numbers:
            if number in self._slots and number not in self._in_use:
                self._move_out(number, reason)
        self._hand_back()
        return before - self.resident_bytes

    def visit(self) -> Iterator[list[tuple[Page, torch.Tensor]]]:
        """All pages, each once, in groups that are on the device together: first those that are there, in one group,
        then each that comes back.

        Evicted pages are on their way while those before them are updated. Where there is not room for all, they take
        the places of pages that have been visited. So a step moves only as many pages as there is not room for, while
        going through the pages in a fixed order and evicting the least recently used one would move all of them.

        Yields:
            Pages with their memory on the device, uint8 (bytes,), which may be changed until the next group.

        Raises:
            InputError: the budget has no room for one page.
        """
        self._require_open()
        self._transfer.begin()
        waiting = {page.number: page for page in self.pages}
        try:
            while waiting:
                self._fetch(waiting)
                group = [n for n in waiting if n in self._slots and n not in self._arriving]
                if not group:
                    group = [next(n for n in self._arriving if n in waiting)]
                    self._reach(group[0])
                for number in group:
                    del waiting[number]
                self._in_use = frozenset(group)
                memory = [(self.pages[number], self._slots[number]) for number in group]
                yield memory
                memory.clear()  # the caller's variable must not keep memory that is needed for the next group
                self._in_use = frozenset()
        finally:
            self._in_use = frozenset()
        self._hand_back()
        self._ledger.flush()

    def read(self, page: Page) -> torch.Tensor | None:
        """A copy of the state of `page` in main memory, wherever the page is: uint8 (bytes,); None if it was never
        used."""
        self._require_open()
        self._transfer.synchronize()
        stored = self._slots.get(page.number)
        if stored is None and page.number in self._evicted:
            stored = self._host[page.number]
        return None if stored is None else stored.detach().to("cpu", copy=True)

    def write(self, page: Page, state: torch.Tensor | None, resident: bool) -> None:
        """Replace the state of `page`.

        Args:
            state: uint8 (bytes,), or None for never used.
            resident: whether it goes to the device, if there is room; otherwise it goes to main memory.
        """
        self._require_open()
        self._transfer.synchronize()
        self._arriving.pop(page.number, None)
        if self._slots.pop(page.number, None) is not None:
            self.resident_bytes -= page.bytes
        self._evicted.discard(page.number)
        if state is None:
            return
        if resident and self._excess(page.bytes) <= 0:
            self._slots[page.number] = state.to(self.device, copy=True)
            self.resident_bytes += page.bytes
        else:
            self._place_in_host(page).copy_(state)
            self._evicted.add(page.number)

    def report(self) -> PagingReport:
        """Where the pages are and what has moved so far."""
        self._require_open()
        return self._ledger.report(
            pages=len(self.pages),
            resident_pages=len(self._slots),
            evicted_pages=len(self._evicted),
            device_bytes=self.resident_bytes,
            host_bytes=sum(self.pages[number].bytes for number in self._evicted),
            host_reserved_bytes=self._host_memory.reserved_bytes,
            budget_bytes=self.budget_bytes,
            emulated_device=self.device.type != "cuda",
        )

    def close(self) -> None:
        """Free all pages, on the device and in main memory, and the streams. Closing again does nothing; anything else
        raises RuntimeError afterwards."""
        if self._closed:
            return
        self._transfer.synchronize()
        self._ledger.flush()
        self._closed = True
        for kept in (self._slots, self._host, self._evicted, self._arriving, self._leaving):
            kept.clear()
        self._host_memory.close()
        self._transfer = None
        self.resident_bytes = 0

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("This paged optimizer is closed: its state is gone. Make a new one to go on training.")

    def _excess(self, wanted: int) -> int:
        limits = [limit for limit in (self.budget_bytes, self.capacity_bytes) if limit is not None]
        return self.other_bytes + self.resident_bytes + wanted - min(limits) if limits else 0

    def _fetch(self, waiting: dict[int, Page]) -> None:
        """Bring in, or make, as many waiting pages as there is room for."""
        for number, page in waiting.items():
            if number in self._slots:
                continue
            while self._excess(page.bytes) > 0:
                if not self._evict_last("budget", waiting):
                    return self._require_progress(page, waiting)
            while True:
                try:
                    self._bring_in(page, waiting)
                    break
                except torch.OutOfMemoryError:
                    if not self._evict_last("out of memory", waiting):
                        if not any(n in self._slots for n in waiting):
                            raise
                        return None
        return None

    def _require_progress(self, page: Page, waiting: dict[int, Page]) -> None:
        if any(number in self._slots for number in waiting):
            return
        limit = min(limit for limit in (self.budget_bytes, self.capacity_bytes) if limit is not None)
        raise InputError(
            f"The device budget of {_mib(limit)} MiB leaves no room for one optimizer page of {_mib(page.bytes)} MiB "
            f"beside {_mib(self.other_bytes)} MiB of weights, adapters and gradients. Raise "
            "optimizer.device_budget_mib or lower optimizer.page_kib."
        )

    def _evict_last(self, reason: str, waiting: dict[int, Page] | None = None) -> bool:
        """Move one page out that is neither in use nor among `waiting`; the last one, so that what becomes free is
        contiguous. Returns whether there was any."""
        kept = self._in_use.union(waiting or ())
        victim = max((number for number in self._slots if number not in kept), default=None)
        if victim is not None:
            self._move_out(victim, reason)
        return victim is not None

    def _bring_in(self, page: Page, waiting: dict[int, Page]) -> None:
        reason = "prefetch" if any(number in self._slots for number in waiting) else "update"
        slot, after = self._slot(page.bytes)
        if page.number in self._evicted:
            copy = self._transfer.to_device(self._host[page.number], slot, after)
            self._evicted.remove(page.number)
            self._arriving[page.number] = copy, reason
            self._ledger.moved(page, "in", reason, copy)
        else:
            if after is not None:
                self._transfer.wait(after)
            slot.zero_()
        self._slots[page.number] = slot
        self.resident_bytes += page.bytes

    def _slot(self, count: int) -> tuple[torch.Tensor, Copy | None]:
        """Memory on the device, and the copy that still reads it."""
        fitting = next((i for i, (slot, _) in enumerate(self._leaving) if slot.numel() == count), None)
        if fitting is not None:
            return self._leaving.pop(fitting)
        self._hand_back()
        return torch.empty(count, dtype=torch.uint8, device=self.device), None

    def _reach(self, number: int) -> None:
        copy, reason = self._arriving.pop(number)
        self._ledger.reached(self.pages[number], reason, self._transfer.wait(copy))

    def _move_out(self, number: int, reason: str) -> None:
        page = self.pages[number]
        if number in self._arriving:
            self._transfer.wait(self._arriving.pop(number)[0])
        slot = self._slots.pop(number)
        copy = self._transfer.to_host(slot, self._place_in_host(page))
        self._leaving.append((slot, copy))
        self._evicted.add(number)
        self.resident_bytes -= page.bytes
        self._ledger.moved(page, "out", reason, copy)

    def _hand_back(self) -> None:
        """Give memory whose page is leaving back to the device's allocator."""
        while self._leaving:
            self._transfer.wait(self._leaving.pop()[1])

    def _place_in_host(self, page: Page) -> torch.Tensor:
        if page.number not in self._host:
            self._host[page.number] = self._host_memory.take(page.bytes)
        return self._host[page.number]


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f}"
