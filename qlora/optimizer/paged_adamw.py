"""AdamW whose state lives in pages."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from qlora.errors import InputError
from qlora.kernels import dispatch
from qlora.kernels.adamw_op import STATE_BLOCK_BYTES, adamw
from qlora.optimizer import state as states
from qlora.paging.page import Arrival, Move, pages_for
from qlora.paging.pager import Pager, PagingReport
from qlora.quantization.dynamic_blockwise import STATE_BLOCK_SIZE


class PagedAdamW:
    """AdamW (Loshchilov and Hutter 2019) with the paper's paged optimizer state (section 3), in 32 or 8 bits.

    m ← β1 m + (1 - β1) g;  v ← β2 v + (1 - β2) g²;
    p ← p (1 - lr λ) - lr / (1 - β1ᵗ) · m / (√(v / (1 - β2ᵗ)) + ε)

    The parameters are moved into one flat tensor, and their gradients into another, of which they become views: a page
    is then a range of both, small factors are paged like large ones, the gradient norm is one reduction, and all pages
    on the device are updated in one launch. Each parameter begins at a multiple of 256 values, so that blocks of 8-bit
    state are those of bitsandbytes, which cuts each tensor for itself. Unlike torch's AdamW, a parameter without a
    gradient counts as having a zero one; unlike bitsandbytes' 8-bit AdamW, tensors below 4096 values have 8-bit state
    too.

    Args:
        parameters: trainable, all of one dtype on one device; those that are not trainable are passed over.
        learning_rate, betas, eps, weight_decay: as in `torch.optim.AdamW`. The learning rate may be set before each
            step.
        state_bits: 32, or 8 for bitsandbytes' blockwise 8-bit state (`quantization.dynamic_blockwise`).
        page_bytes: size of a page of state.
        budget_bytes: what may be on the device, or None; see `Pager`.
        on_paging: told of each page that moves, and of each evicted page that the update reaches.

    Raises:
        InputError: there is nothing to train, parameters differ in dtype or device, or state_bits is neither 32 nor 8.
        RuntimeError: anything but `close` is called after `close`.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        state_bits: int = 32,
        page_bytes: int = 2**21,
        budget_bytes: int | None = None,
        on_paging: Callable[[Move | Arrival], None] = lambda happening: None,
    ):
        self.parameters = [p for p in parameters if p.requires_grad]
        if not self.parameters:
            raise InputError("There is no trainable parameter: attach adapters to the model first.")
        kinds = {(p.dtype, p.device) for p in self.parameters}
        if len(kinds) > 1:
            raise InputError(
                f"All trainable parameters must share one dtype and device, got {sorted(map(str, kinds))}."
            )
        if state_bits not in STATE_BLOCK_BYTES:
            raise InputError(f"state_bits must be 32 or 8, got {state_bits!r}.")
        dispatch.register()
        self.learning_rate, self.betas, self.eps, self.weight_decay = learning_rate, betas, eps, weight_decay
        self.state_bits = state_bits
        self.steps = 0
        self.starts = _starts(self.parameters)
        self.flat, self.flat_gradient = _flatten(self.parameters, self.starts)
        pages = pages_for(self.flat.numel(), page_bytes, state_bits)
        self.pager = Pager(pages, self.flat.device, budget_bytes, on_paging)

    @property
    def parameter_count(self) -> int:
        """Trainable values; the flat tensors are longer by what aligns each parameter."""
        return sum(p.numel() for p in self.parameters)

    def zero_grad(self) -> None:
        """Set all gradients to zero, keeping their memory."""
        self._require_open()
        self.flat_gradient.zero_()

    def gradient_norm(self) -> torch.Tensor:
        """fp32 (): the Euclidean norm of all gradients together."""
        self._require_open()
        return torch.linalg.vector_norm(self.flat_gradient, dtype=torch.float32)

    def scale_gradient(self, factor: float | torch.Tensor) -> None:
        """Multiply all gradients by `factor`."""
        self._require_open()
        self.flat_gradient.mul_(factor)

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters: all pages on the device in one launch, and each evicted page when it is back.

        Raises:
            InputError: the budget has no room for one page.
        """
        self._require_open()
        self.steps += 1
        for group in self.pager.visit():
            adamw(
                self.flat,
                self.flat_gradient,
                [memory for _, memory in group],
                [page.start for page, _ in group],
                self.state_bits,
                self.learning_rate,
                *self.betas,
                self.eps,
                self.weight_decay,
                self.steps,
            )

    def evict(self, reason: str = "request") -> int:
        """Move all pages out now, for example to make room for something else; returns the bytes that left."""
        return self.pager.evict(reason=reason)

    def paging_report(self) -> PagingReport:
        """Where the pages are and what has moved so far."""
        return self.pager.report()

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, in main memory: see `optimizer.state.save`."""
        return states.save(self)

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take up what `state_dict` returned, pages on the device included: see `optimizer.state.load`.

        Raises:
            InputError: it belongs to other parameters or has other state_bits; nothing is changed then.
        """
        states.load(self, saved)

    def close(self) -> None:
        """Free all optimizer state and gradients, pinned memory and streams. The parameters stay what they are."""
        self.pager.close()
        if self.flat_gradient is not None:
            for parameter in self.parameters:
                parameter.grad = None
        self.flat_gradient = None

    def _require_open(self) -> None:
        if self.flat_gradient is None:
            raise RuntimeError("This paged optimizer is closed: its state is gone. Make a new one to go on training.")


def _starts(parameters: Sequence[nn.Parameter]) -> list[int]:
    """Where each parameter begins in the flat tensors, and where the last one ends."""
    starts = [0]
    for parameter in parameters:
        starts.append(starts[-1] + -(-parameter.numel() // STATE_BLOCK_SIZE) * STATE_BLOCK_SIZE)
    return starts


def _flatten(parameters: Sequence[nn.Parameter], starts: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    flat = torch.zeros(starts[-1], dtype=parameters[0].dtype, device=parameters[0].device)
    gradient = torch.zeros_like(flat)
    for parameter, start in zip(parameters, starts[:-1], strict=True):
        stop = start + parameter.numel()
        flat[start:stop].copy_(parameter.data.flatten())
        parameter.data = flat[start:stop].view(parameter.shape)
        parameter.grad = gradient[start:stop].view(parameter.shape)
    return flat, gradient
