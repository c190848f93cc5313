"""The operators, each declared once; other backends register against these declarations (`kernels.dispatch`).

The implementation given here is the plain reference and runs on any device. It has a name of its own, `…_reference`, so
that a backend which serves only some data types can call it for the others. A shape-only ("fake") version makes
`torch.compile` and `torch.library.opcheck` work.
"""

import math
from collections.abc import Sequence

import torch

from qlora.quantization import blockwise, double_quantization, packing


def check_stored(
    packed: torch.Tensor,
    absmax: torch.Tensor,
    codebook: torch.Tensor,
    block_size: int,
    count: int,
    dtype: torch.dtype,
) -> None:
    """Refuse codes or constants that do not belong to `count` weights: a kernel would read past their end, or decode
    another matrix. Every implementation of `dequantize` begins with it.

    Args:
        packed, absmax, codebook, block_size: as in `dequantize`.
        count: weights to decode.
        dtype: to decode to.

    Raises:
        ValueError: a tensor of another length, or a dtype that is not floating.
    """
    if not dtype.is_floating_point:
        raise ValueError(f"dtype: expected a floating one to decode to, got {dtype}")
    bits = codebook.numel().bit_length() - 1
    stored, blocks = packing.packed_bytes(count, bits), -(-count // block_size)
    if packed.numel() != stored:
        raise ValueError(f"packed: expected {stored} bytes for {count} weights of {bits} bits, got {packed.numel()}")
    if absmax.numel() != blocks:
        raise ValueError(f"absmax: expected {blocks} blocks of {block_size} weights, got {absmax.numel()}")


def check_linear(
    x: torch.Tensor,
    packed: torch.Tensor,
    absmax: torch.Tensor,
    codebook: torch.Tensor,
    block_size: int,
    out_features: int,
) -> None:
    """Refuse an input that the stored matrix cannot be multiplied by. Every implementation of `quantized_linear` begins
    with it.

    Args:
        x, packed, absmax, codebook, block_size, out_features: as in `quantized_linear`.

    Raises:
        ValueError: x has no dimension, is not floating or lies on another device, or as `check_stored`.
    """
    if not x.dim() or not x.is_floating_point():
        raise ValueError(f"x: expected floating numbers (…, in_features), got {x.dtype} {tuple(x.shape)}")
    if x.device != packed.device:
        raise ValueError(f"x: expected it on the weight's device {packed.device}, got {x.device}")
    check_stored(packed, absmax, codebook, block_size, out_features * x.shape[-1], x.dtype)


def quantize_reference(
    weights: torch.Tensor, thresholds: torch.Tensor, order: torch.Tensor, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blockwise quantization, packed (see `blockwise.quantize_blockwise`).

    Args:
        weights: (…), floating, contiguous.
        thresholds, order: from `codebook.decision_thresholds`, on the CPU whatever the device of the weights.
        block_size: weights that share one absmax.

    Returns:
        packed codes, uint8 (ceil(numel · bits / 8),); absmax, fp32 (ceil(numel / block_size),).
    """
    thresholds, order = thresholds.to(weights.device), order.to(weights.device)
    codes, absmax = blockwise.quantize_blockwise(weights.flatten(), thresholds, order, block_size)
    bits = order.numel().bit_length() - 1
    if bits == 4 and codes.numel() % 2:
        # bitsandbytes pads an odd tensor with the value 0, not with code 0, before it packs.
        zero = order[torch.bucketize(thresholds.new_zeros(1), thresholds)]
        codes = torch.cat([codes, zero])
    return packing.pack(codes, bits), absmax


quantize = torch.library.custom_op("qlora::quantize", quantize_reference, mutates_args=())


@quantize.register_fake
def _(weights, thresholds, order, block_size):
    bits = order.numel().bit_length() - 1
    blocks = -(-weights.numel() // block_size)
    return (
        weights.new_empty(packing.packed_bytes(weights.numel(), bits), dtype=torch.uint8),
        weights.new_empty(blocks, dtype=torch.float32),
    )


@torch.library.custom_op("qlora::quantize_absmax", mutates_args=())
def quantize_absmax(absmax: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Double quantization of absmax values (see `double_quantization.quantize_absmax`).

    Args:
        absmax: fp32 (n,).

    Returns:
        codes, uint8 (n,); nested_absmax, fp32 (ceil(n / 256),); offset, fp32 ().
    """
    return double_quantization.quantize_absmax(absmax)


@quantize_absmax.register_fake
def _(absmax):
    blocks = -(-absmax.numel() // double_quantization.ABSMAX_BLOCK_SIZE)
    return absmax.new_empty(absmax.shape, dtype=torch.uint8), absmax.new_empty(blocks), absmax.new_empty(())


def dequantize_reference(
    packed: torch.Tensor,
    absmax: torch.Tensor,
    nested_absmax: torch.Tensor | None,
    offset: torch.Tensor | None,
    nested_codebook: torch.Tensor | None,
    codebook: torch.Tensor,
    block_size: int,
    shape: Sequence[int],
    dtype: torch.dtype,
) -> torch.Tensor:
    """Codes to weights, through the nested constants when there are any (equation 6 of the paper).

    Args:
        packed: uint8 codes as `quantize` returns them.
        absmax: fp32 (blocks,), or uint8 codes (blocks,) when double-quantized.
        nested_absmax, offset, nested_codebook: fp32 (ceil(blocks / 256),), () and (256,); all None or all given.
        codebook: fp32 (2^bits,).
        block_size: weights that share one absmax.
        shape: of the result.
        dtype: of the result.

    Raises:
        ValueError: as `check_stored`.
    """
    check_stored(packed, absmax, codebook, block_size, math.prod(shape), dtype)
    if nested_absmax is not None:
        absmax = double_quantization.dequantize_absmax(absmax, nested_absmax, offset, nested_codebook)
    return blockwise.dequantize_blockwise(packed, absmax, codebook, block_size, math.prod(shape), dtype).view(shape)


dequantize = torch.library.custom_op("qlora::dequantize", dequantize_reference, mutates_args=())


@dequantize.register_fake
def _(packed, absmax, nested_absmax, offset, nested_codebook, codebook, block_size, shape, dtype):
    check_stored(packed, absmax, codebook, block_size, math.prod(shape), dtype)
    return packed.new_empty(shape, dtype=dtype)


def quantized_linear_reference(
    x: torch.Tensor,
    packed: torch.Tensor,
    absmax: torch.Tensor,
    nested_absmax: torch.Tensor | None,
    offset: torch.Tensor | None,
    nested_codebook: torch.Tensor | None,
    codebook: torch.Tensor,
    block_size: int,
    out_features: int,
    quant_type: str,
) -> torch.Tensor:
    """y = x · Wᵀ with W decoded to x's dtype (equation 5 of the paper, without the adapter). Bias is the caller's.

    The gradient reaches x only; the weights are frozen.

    Args:
        x: (…, in_features).
        out_features: rows of W; the other arguments are those of `dequantize`.
        quant_type: name of the data type whose levels `codebook` holds: a backend may compile them in.

    Returns:
        (…, out_features), x's dtype.

    Raises:
        ValueError: as `check_linear`.
    """
    check_linear(x, packed, absmax, codebook, block_size, out_features)
    weight = dequantize(
        packed,
        absmax,
        nested_absmax,
        offset,
        nested_codebook,
        codebook,
        block_size,
        (out_features, x.shape[-1]),
        x.dtype,
    )
    return torch.nn.functional.linear(x, weight)


quantized_linear = torch.library.custom_op("qlora::quantized_linear", quantized_linear_reference, mutates_args=())


@quantized_linear.register_fake
def _(x, packed, absmax, nested_absmax, offset, nested_codebook, codebook, block_size, out_features, quant_type):
    check_linear(x, packed, absmax, codebook, block_size, out_features)
    return x.new_empty((*x.shape[:-1], out_features))


def _save_for_backward(ctx, inputs, output):
    x, *quantized, block_size, out_features, _ = inputs
    ctx.save_for_backward(*quantized)
    ctx.block_size, ctx.shape = block_size, (out_features, x.shape[-1])


def _backward(ctx, grad):
    weight = dequantize(*ctx.saved_tensors, ctx.block_size, ctx.shape, grad.dtype)
    return (grad @ weight, *[None] * 9)


quantized_linear.register_autograd(_backward, setup_context=_save_for_backward)


@torch.library.custom_op("qlora::drop", mutates_args=())
def drop(rows: torch.Tensor, probability: float, seed: torch.Tensor) -> torch.Tensor:
    """Dropout whose mask follows from the seed alone, so that the backward pass draws it again instead of keeping it.

    Each element is zeroed with the given probability; the others are divided by 1 - probability. The gradient is
    `drop` of the gradient with the same seed; the caller takes it (`layers.lora_linear`). This is an operator, because
    a generator cannot be made inside a compiled graph.

    Args:
        rows: (…), floating.
        probability: from 0 to below 1.
        seed: int64 () on the CPU. The mask depends on it, on the shape and on the kind of device.

    Returns:
        (…), the dtype of `rows`.
    """
    generator = torch.Generator(rows.device).manual_seed(seed.item())
    kept = torch.rand(rows.shape, device=rows.device, generator=generator) >= probability
    return (rows * kept).mul_(1 / (1 - probability))


@drop.register_fake
def _(rows, probability, seed):
    return rows.new_empty(rows.shape)
