"""A page of optimizer state."""

from dataclasses import dataclass

#: fp32 values that AdamW keeps for each parameter: exp_avg and exp_avg_sq.
STATES = 2
BYTES_PER_PARAMETER = STATES * 4


@dataclass(frozen=True)
class Page:
    """The optimizer state of the parameters `start` to `stop` (not included) of the flattened parameters.

    Attributes:
        number: from 0, in the order of the parameters.
    """

    number: int
    start: int
    stop: int

    @property
    def bytes(self) -> int:
        """Bytes of state: 8 for each parameter."""
        return (self.stop - self.start) * BYTES_PER_PARAMETER


def pages_for(parameters: int, page_bytes: int) -> list[Page]:
    """Cut the state of `parameters` values into pages of `page_bytes`; the last one may be shorter.

    Pages cross the borders of tensors, so small LoRA factors are paged like large ones.
    """
    step = max(1, page_bytes // BYTES_PER_PARAMETER)
    return [Page(i, a, min(a + step, parameters)) for i, a in enumerate(range(0, parameters, step))]
