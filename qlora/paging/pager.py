"""Which pages are on the device, what leaves when room is needed, and the moves themselves.

The paper pages optimizer state through NVIDIA unified memory, where the driver decides (section 3). Here pages are
explicit: they stay on the device while there is room, which costs nothing, leave when something else needs the room,
and come back when the optimizer reaches them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from qlora.errors import InputError
from qlora.paging.page import STATES, Page


@dataclass(frozen=True)
class Move:
    """A page that changed place: `direction` is "in" (to the device) or "out"."""

    page: Page
    direction: str
    reason: str
    milliseconds: float


class Pager:
    """Keeps the pages of one optimizer.

    State is zero at first and takes no room anywhere until a page is used. On a machine without a GPU both places are
    main memory ("emulated device"): the moves, their order and their bytes are real, only the bus is missing.

    Args:
        pages: all pages.
        device: where the optimizer computes.
        budget_bytes: what may be on the device in all, or None for no limit.
        on_move: told of each move after it happened.
    """

    def __init__(
        self,
        pages: Sequence[Page],
        device: torch.device,
        budget_bytes: int | None = None,
        on_move: Callable[[Move], None] = lambda move: None,
    ):
        self.pages = list(pages)
        self.device = device
        self.budget_bytes = budget_bytes
        self.on_move = on_move
        self.other_bytes = 0
        self.resident_bytes = 0
        self._on_device: dict[int, torch.Tensor] = {}
        self._on_host: dict[int, torch.Tensor] = {}
        self._cursor = 0
        self._locked: int | None = None

    def is_resident(self, page: Page) -> bool:
        """Whether `page` is on the device."""
        return page.number in self._on_device

    @property
    def resident_pages(self) -> list[int]:
        """Numbers of the pages on the device, ascending."""
        return sorted(self._on_device)

    def set_other_bytes(self, other_bytes: int, reason: str = "activations") -> None:
        """Tell how much of the device everything but the pages takes; pages leave until all fits.

        Raises:
            InputError: it does not fit even with no page on the device.
        """
        self.other_bytes = other_bytes
        self._make_room(0, reason)
        if self.budget_bytes is not None and other_bytes > self.budget_bytes:
            raise InputError(
                f"The device budget of {_mib(self.budget_bytes)} MiB is too small: weights, adapters, gradients and "
                f"activations alone take {_mib(other_bytes)} MiB. Raise optimizer.device_budget_mib, or lower "
                "training.batch_size or data.max_length."
            )

    def acquire(self, page: Page) -> torch.Tensor:
        """The state of `page` on the device, moved in if need be: fp32 (2, page parameters), writable.

        It stays until the next call at least.

        Raises:
            InputError: the budget has no room for this one page.
        """
        self._cursor = page.number
        self._locked = None
        if page.number not in self._on_device:
            self._make_room(page.bytes, "budget")
            if self._excess(page.bytes) > 0:
                raise InputError(
                    f"The device budget of {_mib(self.budget_bytes)} MiB leaves no room for one optimizer page of "
                    f"{_mib(page.bytes)} MiB beside {_mib(self.other_bytes)} MiB of weights, adapters and gradients. "
                    "Raise optimizer.device_budget_mib or lower optimizer.page_kib."
                )
            self._bring_in(page)
        self._locked = page.number
        return self._on_device[page.number]

    def release(self) -> None:
        """Say that the page acquired last is no longer in use."""
        self._locked = None

    def state(self, page: Page) -> torch.Tensor:
        """A copy of the state of `page` in main memory, wherever the page is; zeros when it was never used."""
        stored = self._on_device.get(page.number, self._on_host.get(page.number))
        if stored is None:
            return torch.zeros(STATES, page.stop - page.start)
        return stored.detach().to("cpu", copy=True)

    def close(self) -> None:
        """Free all pages, on the device and in main memory. The pager is empty afterwards."""
        self._on_device.clear()
        self._on_host.clear()
        self.resident_bytes = 0
        self._locked = None

    def _excess(self, wanted: int) -> int:
        if self.budget_bytes is None:
            return 0
        return self.other_bytes + self.resident_bytes + wanted - self.budget_bytes

    def _make_room(self, wanted: int, reason: str) -> None:
        while self._excess(wanted) > 0:
            candidates = [n for n in self._on_device if n != self._locked]
            if not candidates:
                return
            # The optimizer visits the pages in order, again and again, so the page it will need last is the one just
            # behind its cursor. Least-recently-used would evict exactly the page that is needed next.
            count = len(self.pages)
            self._move_out(self.pages[max(candidates, key=lambda n: (n - self._cursor - 1) % count)], reason)

    def _bring_in(self, page: Page) -> None:
        began = time.perf_counter()
        host = self._on_host.pop(page.number, None)
        if host is None:
            self._on_device[page.number] = torch.zeros(STATES, page.stop - page.start, device=self.device)
            self.resident_bytes += page.bytes
            return
        self._on_device[page.number] = host.to(self.device, copy=True)
        self.resident_bytes += page.bytes
        self.on_move(Move(page, "in", "update", self._elapsed(began)))

    def _move_out(self, page: Page, reason: str) -> None:
        began = time.perf_counter()
        stored = self._on_device.pop(page.number)
        self._on_host[page.number] = stored.to("cpu", copy=True)
        self.resident_bytes -= page.bytes
        self.on_move(Move(page, "out", reason, self._elapsed(began)))

    def _elapsed(self, began: float) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return (time.perf_counter() - began) * 1e3


def _mib(count: int | None) -> str:
    return "?" if count is None else f"{count / 2**20:.1f}"
