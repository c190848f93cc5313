"""The operator that updates pages of parameters with AdamW: what a page holds, the declaration, the plain reference."""

from collections.abc import Sequence

import torch

from qlora.quantization.dynamic_blockwise import STATE_BLOCK_SIZE, dequantize_dynamic, quantize_dynamic

#: Bytes of state of 256 parameters, by the bits of a state: two fp32 values each; or two codes each, and two absmax.
STATE_BLOCK_BYTES = {32: STATE_BLOCK_SIZE * 8, 8: STATE_BLOCK_SIZE * 2 + 8}


def state_views(page: torch.Tensor, state_bits: int) -> tuple[torch.Tensor, ...]:
    """The parts of a page's memory.

    Args:
        page: uint8 (bytes,), the state of n parameters, n a multiple of 256.
        state_bits: 32 or 8.

    Returns:
        Views, in the order in which they lie in the page. 32 bits: exp_avg and exp_avg_sq, fp32 (n,). 8 bits: their
        codes, uint8 (n,), then the absmax of each, fp32 (n / 256,).
    """
    blocks = page.numel() // STATE_BLOCK_BYTES[state_bits]
    if state_bits == 32:
        mean, square = page.view(torch.float32).view(2, -1)
        return mean, square
    count = blocks * STATE_BLOCK_SIZE
    mean, square = page[: 2 * count].view(2, -1)
    mean_absmax, square_absmax = page[2 * count :].view(torch.float32).view(2, -1)
    return mean, square, mean_absmax, square_absmax


def check_pages(
    parameters: torch.Tensor, gradient: torch.Tensor, pages: Sequence[torch.Tensor], starts: Sequence[int], bits: int
) -> None:
    """Refuse what a kernel would read or write past the end of. Every implementation of `adamw` begins with it.

    Raises:
        ValueError: the arguments do not belong together.
    """
    if bits not in STATE_BLOCK_BYTES:
        raise ValueError(f"state_bits: expected 32 or 8, got {bits}")
    if parameters.shape != gradient.shape or parameters.dim() != 1 or parameters.numel() % STATE_BLOCK_SIZE:
        raise ValueError(
            f"parameters, gradient: expected one shape (n,), n a multiple of {STATE_BLOCK_SIZE}, got "
            f"{tuple(parameters.shape)} and {tuple(gradient.shape)}"
        )
    if len(pages) != len(starts):
        raise ValueError(f"starts: expected one for each of {len(pages)} pages, got {len(starts)}")
    for page, start in zip(pages, starts, strict=True):
        stop = start + page.numel() // STATE_BLOCK_BYTES[bits] * STATE_BLOCK_SIZE
        if (
            page.numel() % STATE_BLOCK_BYTES[bits]
            or start % STATE_BLOCK_SIZE
            or not 0 <= start <= stop <= parameters.numel()
        ):
            raise ValueError(
                f"pages: {page.numel()} bytes from parameter {start} on are not the state of whole blocks of "
                f"{STATE_BLOCK_SIZE} of {parameters.numel()} parameters"
            )
        if page.device != parameters.device or page.dtype != torch.uint8:
            raise ValueError(f"pages: expected uint8 on {parameters.device}, got {page.dtype} on {page.device}")


def adamw_reference(
    parameters: torch.Tensor,
    gradient: torch.Tensor,
    pages: list[torch.Tensor],
    starts: list[int],
    state_bits: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
) -> None:
    """One AdamW step (Loshchilov and Hutter 2019, algorithm 2) of the parameters whose state is in `pages`, in place.

    m ← β1 m + (1 - β1) g;  v ← β2 v + (1 - β2) g²;
    p ← p (1 - lr λ) - lr / (1 - β1ᵗ) · m / (√v / √(1 - β2ᵗ) + ε)

    in fp32, in the order of `torch.optim.AdamW`; a 16-bit parameter is rounded once. With 8 bits the states are
    decoded, updated, used and then encoded again, as in bitsandbytes.

    Args:
        parameters: (n,), floating, n a multiple of 256.
        gradient: (n,), of the parameters' dtype.
        pages: the memory of each page (see `state_views`).
        starts: the first parameter of each page, a multiple of 256.
        state_bits: 32 or 8.
        learning_rate, beta1, beta2, eps, weight_decay: lr, β1, β2, ε and λ.
        step: t, from 1.

    Raises:
        ValueError: as `check_pages`.
    """
    check_pages(parameters, gradient, pages, starts, state_bits)
    step_size = learning_rate / (1 - beta1**step)
    root_correction = (1 - beta2**step) ** 0.5
    decay = 1 - learning_rate * weight_decay
    for page, start in zip(pages, starts, strict=True):
        stored = state_views(page, state_bits)
        if state_bits == 32:
            mean, square = stored
        else:
            mean = dequantize_dynamic(stored[0], stored[2], True)
            square = dequantize_dynamic(stored[1], stored[3], False)
        parameter, g = (t[start : start + mean.numel()] for t in (parameters, gradient))
        g = g.float()
        mean.lerp_(g, 1 - beta1)
        square.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        denominator = (square.sqrt() / root_correction).add_(eps)
        if parameter.dtype == torch.float32:
            parameter.mul_(decay).addcdiv_(mean, denominator, value=-step_size)
        else:  # one rounding to the parameter's dtype, not two
            parameter.copy_(parameter.float().mul_(decay).addcdiv_(mean, denominator, value=-step_size))
        if state_bits == 8:
            for values, codes, absmax, signed in ((mean, *stored[::2], True), (square, *stored[1::2], False)):
                for part, new in zip((codes, absmax), quantize_dynamic(values, signed), strict=True):
                    part.copy_(new)


adamw = torch.library.custom_op("qlora::adamw", adamw_reference, mutates_args=("parameters", "pages"))


@adamw.register_fake
def _(parameters, gradient, pages, starts, state_bits, *settings):
    check_pages(parameters, gradient, pages, starts, state_bits)


def register() -> None:
    """Register the Triton kernel for CUDA tensors; `dispatch.register` calls this where there are any."""
    adamw.register_kernel("cuda")(_adamw)


def _adamw(parameters, gradient, pages, starts, state_bits, learning_rate, beta1, beta2, eps, weight_decay, step):
    from qlora.kernels.adamw import adamw_pages

    check_pages(parameters, gradient, pages, starts, state_bits)
    adamw_pages(parameters, gradient, pages, starts, state_bits, learning_rate, beta1, beta2, eps, weight_decay, step)
