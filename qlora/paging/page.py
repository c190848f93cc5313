"""A page of optimizer state, and what can happen to it."""

from dataclasses import dataclass

from qlora.kernels.adamw_op import STATE_BLOCK_BYTES
from qlora.quantization.dynamic_blockwise import STATE_BLOCK_SIZE


@dataclass(frozen=True)
class Page:
    """The optimizer state of the parameters `start` to `stop` (not included) of the flattened parameters.

    Attributes:
        number: from 0, in the order of the parameters.
        bytes: of state.
    """

    number: int
    start: int
    stop: int
    bytes: int


def pages_for(parameters: int, page_bytes: int, state_bits: int = 32) -> list[Page]:
    """Cut the state of `parameters` values into pages of at most `page_bytes`, but one block of 256 at least.

    Pages cross the borders of tensors, so small LoRA factors are paged like large ones (bitsandbytes pages no tensor
    of fewer than 100,000 values).

    Args:
        parameters: a multiple of 256.
        page_bytes: of a page; the last one may be shorter.
        state_bits: 32 (8 bytes a parameter) or 8 (2 bytes and 1/32).
    """
    block_bytes = STATE_BLOCK_BYTES[state_bits]
    step = max(1, page_bytes // block_bytes) * STATE_BLOCK_SIZE
    cuts = [(start, min(start + step, parameters)) for start in range(0, parameters, step)]
    return [Page(i, a, b, (b - a) // STATE_BLOCK_SIZE * block_bytes) for i, (a, b) in enumerate(cuts)]


@dataclass(frozen=True)
class Move:
    """A page changed place.

    Attributes:
        direction: "in" (to the device) or "out" (evicted to main memory).
        reason: in: "prefetch" (the optimizer will reach it) or "update" (it waits for it). Out: "activations" (room for
            a batch), "budget" (room for another page), "out of memory", or what the caller of `Pager.evict` said.
        milliseconds: the copy took.
    """

    page: Page
    direction: str
    reason: str
    milliseconds: float


@dataclass(frozen=True)
class Arrival:
    """The optimizer reached a page that had been evicted.

    Attributes:
        hit: whether it was back already; otherwise the update waited.
        milliseconds: that the update waited.
    """

    page: Page
    hit: bool
    milliseconds: float
