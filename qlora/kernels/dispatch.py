"""Which implementation runs where: Triton for 4-bit tensors on CUDA, the reference everywhere else."""

import functools
import importlib.util
import math

import torch

from qlora.kernels import adamw_op, ops

_LEVELS = 16


@functools.cache
def register() -> None:
    """Register the Triton kernels for CUDA tensors. Without CUDA or triton this does nothing and the reference runs.

    Triton itself is imported when a kernel first runs.
    """
    if not torch.cuda.is_available() or importlib.util.find_spec("triton") is None:
        return
    adamw_op.register()
    ops.quantize.register_kernel("cuda")(_quantize)
    ops.quantize_absmax.register_kernel("cuda")(_quantize_absmax)
    ops.dequantize.register_kernel("cuda")(_dequantize)
    ops.quantized_linear.register_kernel("cuda")(_quantized_linear)


def _quantize(weights, thresholds, order, block_size):
    if order.numel() != _LEVELS:
        return ops.quantize_reference(weights, thresholds, order, block_size)
    from qlora.kernels.quantize import quantize_4bit

    return quantize_4bit(weights, thresholds, order, block_size)


def _quantize_absmax(absmax):
    from qlora.kernels.quantize import quantize_absmax

    return quantize_absmax(absmax)


def _dequantize(packed, absmax, nested_absmax, offset, nested_codebook, codebook, block_size, shape, dtype):
    if codebook.numel() != _LEVELS:
        return ops.dequantize_reference(
            packed, absmax, nested_absmax, offset, nested_codebook, codebook, block_size, shape, dtype
        )
    from qlora.kernels.dequantize import dequantize_4bit

    ops.check_stored(packed, absmax, codebook, block_size, math.prod(shape), dtype)
    out = packed.new_empty(shape, dtype=dtype)
    return dequantize_4bit(packed, absmax, nested_absmax, offset, nested_codebook, codebook, block_size, out)


def _quantized_linear(
    x, packed, absmax, nested_absmax, offset, nested_codebook, codebook, block_size, out_features, quant_type
):
    in_features = x.shape[-1]
    rows = x.numel() // in_features if in_features else 0
    stored = packed, absmax, nested_absmax, offset, nested_codebook, codebook, block_size, out_features, quant_type
    if (
        rows
        and codebook.numel() == _LEVELS
        and x.dtype in (torch.float16, torch.bfloat16)
        and in_features % block_size == 0
    ):
        from qlora.kernels import matmul, matvec

        product = None
        if rows == 1 and in_features % matvec.GROUP == 0:
            product = matvec.linear_one_row
        elif rows <= matmul.MOST_ROWS and block_size % matmul.CHUNK == 0:
            product = matmul.linear_few_rows
        if product is not None:
            ops.check_linear(x, packed, absmax, codebook, block_size, out_features)
            y = product(x.reshape(rows, in_features).contiguous(), *stored)
            return y.view(*x.shape[:-1], out_features)
    return ops.quantized_linear_reference(x, *stored)
