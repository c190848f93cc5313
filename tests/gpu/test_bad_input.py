"""What `qlora.quantize` and the layers refuse on a GPU, where the kernels see the numbers first."""

import math

import pytest
import torch
from torch import nn

import qlora

pytestmark = pytest.mark.gpu

NOT_FINITE = {"NaN": math.nan, "infinity": math.inf, "-infinity": -math.inf}


@pytest.mark.parametrize("value", NOT_FINITE.values(), ids=NOT_FINITE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("place", [0, 64, 4096 * 70 + 16], ids=["first", "start of a block", "last, in a short block"])
@pytest.mark.parametrize("block_size", [32, 64, 4096])
def test_one_number_that_is_not_finite_is_found(block_size, place, dtype, value):
    weights = torch.randn(4096 * 70 + 17, device="cuda").to(dtype)
    weights[place] = value
    with pytest.raises(ValueError, match=r"layer 3: expected finite numbers, got 1 NaN or infinite of 286737"):
        qlora.quantize(weights, name="layer 3", block_size=block_size)


@pytest.mark.parametrize("shape", [(0, 64), (64, 0), ()], ids=str)
@pytest.mark.parametrize("double_quantization", [False, True])
def test_a_weight_of_no_or_one_element_survives(shape, double_quantization):
    weights = torch.full(shape, -0.25, device="cuda")
    decoded = qlora.quantize(weights, double_quantization=double_quantization).dequantize()
    assert decoded.shape == weights.shape and torch.isfinite(decoded).all()


def test_an_input_on_another_device_is_named():
    layer = qlora.QuantizedLinear.from_linear(nn.Linear(64, 32)).cuda()
    with pytest.raises(ValueError, match=r"x: expected it on the weight's device cuda:0, got cpu"):
        layer(torch.randn(2, 64))
    weight = qlora.quantize(torch.randn(32, 64))
    with pytest.raises(ValueError, match=r"x: expected it on the weight's device cpu, got cuda:0"):
        torch.ops.qlora.quantized_linear(
            torch.randn(2, 64, device="cuda"), *weight.tensors(), 64, 32, weight.quant_type
        )


def test_codes_that_do_not_belong_to_the_shape_are_named():
    stored = qlora.quantize(torch.randn(32, 64, device="cuda")).tensors()
    with pytest.raises(ValueError, match="packed: expected 1056 bytes for 2112 weights of 4 bits, got 1024"):
        torch.ops.qlora.dequantize(*stored, 64, (33, 64), torch.bfloat16)
