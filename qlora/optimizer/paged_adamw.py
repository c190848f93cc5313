"""AdamW whose state lives in pages."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from qlora.errors import InputError
from qlora.paging.page import pages_for
from qlora.paging.pager import Move, Pager


class PagedAdamW:
    """AdamW (Loshchilov and Hutter 2019) with the paper's paged optimizer state (section 3).

    m ← β1 m + (1 - β1) g;  v ← β2 v + (1 - β2) g²;
    p ← p (1 - lr λ) - lr / (1 - β1ᵗ) · m / (√(v / (1 - β2ᵗ)) + ε)

    The parameters are moved into one flat tensor, and their gradients into another, of which they become views: a page
    is then a range of both, small factors are paged like large ones, and the gradient norm is one reduction. Unlike
    torch's AdamW, a parameter without a gradient counts as having a zero one.

    Args:
        parameters: trainable, all of one dtype on one device.
        learning_rate, betas, eps, weight_decay: as in `torch.optim.AdamW`.
        page_bytes: size of a page of state.
        budget_bytes: what may be on the device, or None; see `Pager`.
        on_move: told of each page that moves.

    Raises:
        InputError: there is nothing to train, or parameters differ in dtype or device.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        page_bytes: int = 2**21,
        budget_bytes: int | None = None,
        on_move: Callable[[Move], None] = lambda move: None,
    ):
        self.parameters = [p for p in parameters if p.requires_grad]
        if not self.parameters:
            raise InputError("There is no trainable parameter: attach adapters to the model first.")
        kinds = {(p.dtype, p.device) for p in self.parameters}
        if len(kinds) > 1:
            raise InputError(
                f"All trainable parameters must share one dtype and device, got {sorted(map(str, kinds))}."
            )
        self.learning_rate, self.betas, self.eps, self.weight_decay = learning_rate, betas, eps, weight_decay
        self.steps = 0
        self.flat, self.flat_gradient = _flatten(self.parameters)
        self.pager = Pager(pages_for(self.flat.numel(), page_bytes), self.flat.device, budget_bytes, on_move)

    def zero_grad(self) -> None:
        """Set all gradients to zero, keeping their memory."""
        self.flat_gradient.zero_()

    def gradient_norm(self) -> torch.Tensor:
        """fp32 (): the Euclidean norm of all gradients together."""
        return torch.linalg.vector_norm(self.flat_gradient, dtype=torch.float32)

    def scale_gradient(self, factor: float | torch.Tensor) -> None:
        """Multiply all gradients by `factor`."""
        self.flat_gradient.mul_(factor)

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters, a page at a time."""
        self.steps += 1
        beta1, beta2 = self.betas
        step_size = self.learning_rate / (1 - beta1**self.steps)
        root_correction = (1 - beta2**self.steps) ** 0.5
        for page in self.pager.pages:
            mean, square = self.pager.acquire(page)
            parameter = self.flat[page.start : page.stop]
            gradient = self.flat_gradient[page.start : page.stop].float()
            mean.lerp_(gradient, 1 - beta1)
            square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            denominator = (square.sqrt() / root_correction).add_(self.eps)
            if parameter.dtype == torch.float32:
                parameter.mul_(1 - self.learning_rate * self.weight_decay).addcdiv_(mean, denominator, value=-step_size)
            else:  # one rounding to the parameter's dtype, not two
                updated = parameter.float().mul_(1 - self.learning_rate * self.weight_decay)
                parameter.copy_(updated.addcdiv_(mean, denominator, value=-step_size))
        self.pager.release()

    def close(self) -> None:
        """Free all optimizer state."""
        self.pager.close()


def _flatten(parameters: list[nn.Parameter]) -> tuple[torch.Tensor, torch.Tensor]:
    total = sum(p.numel() for p in parameters)
    flat = torch.empty(total, dtype=parameters[0].dtype, device=parameters[0].device)
    gradient = torch.zeros_like(flat)
    start = 0
    for parameter in parameters:
        stop = start + parameter.numel()
        flat[start:stop].copy_(parameter.data.flatten())
        parameter.data = flat[start:stop].view(parameter.shape)
        parameter.grad = gradient[start:stop].view(parameter.shape)
        start = stop
    return flat, gradient
