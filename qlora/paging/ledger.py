"""The account of what pages did: counts, and who is told."""

from collections.abc import Callable
from dataclasses import dataclass

from qlora.paging.page import Arrival, Move, Page
from qlora.paging.transfer import Copy, Wait


@dataclass(frozen=True)
class PagingReport:
    """Where the pages are and what has moved so far.

    Attributes:
        pages: in all; of them resident_pages are on the device, evicted_pages in main memory, and the others have not
            been used yet and take no room.
        device_bytes, host_bytes: of the pages here and there.
        host_reserved_bytes: main memory taken for evicted pages (pinned on a GPU); it is kept until `close`.
        budget_bytes: what may be on the device in all, or None for no limit.
        emulated_device: both places are main memory.
        moves_in, moves_out, bytes_in, bytes_out: to and from the device.
        prefetch_hits, prefetch_late: pages that were back when the optimizer reached them, and that it waited for.
        waited_ms: for how long in all.
    """

    pages: int
    resident_pages: int
    evicted_pages: int
    device_bytes: int
    host_bytes: int
    host_reserved_bytes: int
    budget_bytes: int | None
    emulated_device: bool
    moves_in: int
    moves_out: int
    bytes_in: int
    bytes_out: int
    prefetch_hits: int
    prefetch_late: int
    waited_ms: float


class Ledger:
    """Counts moves as they begin, and tells of them when their times are known: at once where copies are instant, at
    `flush` where they are under way.

    Args:
        on_paging: told of each move and arrival.
    """

    def __init__(self, on_paging: Callable[[Move | Arrival], None]):
        self._on_paging = on_paging
        self._pending: list[tuple[Page, str, str, Copy | Wait]] = []
        self._moves = {"in": 0, "out": 0}
        self._bytes = {"in": 0, "out": 0}
        self._arrivals = {True: 0, False: 0}
        self._waited_ms = 0.0

    def moved(self, page: Page, direction: str, reason: str, copy: Copy) -> None:
        """`page` is on its way."""
        self._moves[direction] += 1
        self._bytes[direction] += page.bytes
        self._pending.append((page, direction, reason, copy))
        if copy.ended is None:
            self.flush()

    def reached(self, page: Page, reason: str, wait: Wait) -> None:
        """The update needs `page`, which was brought in for `reason`."""
        self._pending.append((page, "reached", reason, wait))

    def flush(self) -> None:
        """Tell of what has not been told; waits for copies that are under way."""
        pending, self._pending = self._pending, []
        for page, what, reason, copy in pending:
            milliseconds = copy.milliseconds()
            if what != "reached":
                self._on_paging(Move(page, what, reason, milliseconds))
                continue
            # A copy that began only when the update needed it is no hit, even where copies are instant.
            hit = reason == "prefetch" and milliseconds == 0.0
            self._arrivals[hit] += 1
            self._waited_ms += milliseconds
            self._on_paging(Arrival(page, hit, milliseconds))

    def report(self, **places: int | bool | None) -> PagingReport:
        """The account, with `places`, where the pages are now."""
        return PagingReport(
            **places,
            moves_in=self._moves["in"],
            moves_out=self._moves["out"],
            bytes_in=self._bytes["in"],
            bytes_out=self._bytes["out"],
            prefetch_hits=self._arrivals[True],
            prefetch_late=self._arrivals[False],
            waited_ms=self._waited_ms,
        )
