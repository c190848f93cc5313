"""8-bit optimizer state against bitsandbytes."""

import pytest
import torch
from bitsandbytes import functional

from qlora.quantization.codebook import dynamic_map
from qlora.quantization.dynamic_blockwise import dequantize_dynamic, quantize_dynamic

SIGNED = pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])


def values(signed, blocks=400):
    """Many orders of magnitude in one block, blocks of very different size, and one of zeros."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(blocks * 256, generator=generator) * torch.rand(blocks * 256, generator=generator) ** 8
    x = x.view(blocks, 256) * 10.0 ** torch.linspace(-12, 3, blocks)[:, None]
    x[blocks // 2] = 0.0
    return x.flatten() if signed else x.flatten().square()


def plain_bitsandbytes(x, signed):
    """bitsandbytes' implementation in plain torch: on a CPU it serves what its compiled one does not, such as fp64."""
    return torch.ops.bitsandbytes.quantize_blockwise(x.double(), functional.create_dynamic_map(signed=signed), 256)


@SIGNED
def test_the_data_type_is_theirs(signed):
    assert torch.equal(dynamic_map(signed), functional.create_dynamic_map(signed=signed))


@SIGNED
def test_codes_and_absmax_equal_theirs(signed):
    x = values(signed)
    codes, absmax = quantize_dynamic(x, signed)
    their_codes, their_absmax = plain_bitsandbytes(x, signed)
    assert len(codes.unique()) >= 255, "else few levels were tried"
    assert torch.equal(absmax, their_absmax)
    assert torch.equal(codes, their_codes)


@SIGNED
def test_decoding_equals_theirs(signed):
    codes, absmax = quantize_dynamic(values(signed), signed)
    levels = functional.create_dynamic_map(signed=signed)
    theirs = functional.dequantize_blockwise(codes, absmax=absmax, code=levels, blocksize=256)
    assert torch.equal(dequantize_dynamic(codes, absmax, signed), theirs)


def test_small_squares_keep_a_value_that_their_compiled_cpu_code_raises():
    x = torch.full((256,), 1e-6)
    x[0] = 1.0
    levels = functional.create_dynamic_map(signed=False)
    theirs = functional.dequantize_blockwise(*functional.quantize_blockwise(x, code=levels, blocksize=256))
    assert theirs[1] > 1.5e-5, "else the docstring of quantize_dynamic is out of date"
    assert dequantize_dynamic(*quantize_dynamic(x, False), False)[1] == pytest.approx(1e-6, rel=0.3)


@SIGNED
def test_memory_set_to_zero_is_zero(signed):
    codes, absmax = quantize_dynamic(torch.zeros(512), signed)
    assert not codes.any() and not absmax.any()
    assert not dequantize_dynamic(codes, absmax, signed).any()
