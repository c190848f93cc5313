import pytest
import torch

import qlora
from qlora.kernels import ops
from qlora.quantization.codebook import decision_thresholds


def quantized(shape, **options):
    return qlora.quantize(torch.randn(shape, generator=torch.Generator().manual_seed(0)), **options)


@pytest.mark.parametrize("double_quantization", [False, True])
def test_operators_pass_torchs_own_check(double_quantization):
    weight = quantized((70, 96), double_quantization=double_quantization)
    x = torch.randn(3, 96, requires_grad=True)
    torch.library.opcheck(torch.ops.qlora.quantize, (torch.randn(70, 33), *decision_thresholds("nf4"), 64))
    torch.library.opcheck(torch.ops.qlora.dequantize, (*weight.tensors(), 64, (70, 96), torch.float32))
    torch.library.opcheck(torch.ops.qlora.quantized_linear, (x, *weight.tensors(), 64, 70, "nf4"))
    torch.library.opcheck(torch.ops.qlora.quantize_absmax, (torch.rand(300),))
    torch.library.opcheck(torch.ops.qlora.drop, (x.detach(), 0.3, torch.tensor(5)))


def test_gradient_of_quantized_linear_is_the_decoded_weights():
    weight = quantized((7, 12))
    x = torch.randn(2, 5, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda v: torch.ops.qlora.quantized_linear(v, *weight.tensors(), 64, 7, weight.quant_type), x
    )


def test_linear_equals_the_product_with_the_decoded_weight():
    weight = quantized((33, 130), block_size=32)
    x = torch.randn(4, 130)
    y = ops.quantized_linear(x, *weight.tensors(), 32, 33, weight.quant_type)
    torch.testing.assert_close(y, x @ weight.dequantize().T)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.randn(5, 30), r"packed: expected 105 bytes for 210 weights of 4 bits, got 112"),
        (torch.randn(5, 34), r"packed: expected 119 bytes for 238 weights of 4 bits, got 112"),
        (torch.ones(5, 32, dtype=torch.int64), r"x: expected floating numbers .* got torch.int64 \(5, 32\)"),
        (torch.tensor(1.0), r"x: expected floating numbers \(…, in_features\), got torch.float32 \(\)"),
        (torch.randn(5, 32, device="meta"), r"x: expected it on the weight's device cpu, got meta"),
    ],
    ids=["narrow", "wide", "integers", "no dimension", "other device"],
)
def test_an_input_that_does_not_fit_is_named(x, message):
    weight = quantized((7, 32))
    with pytest.raises(ValueError, match=message):
        ops.quantized_linear(x, *weight.tensors(), 64, 7, weight.quant_type)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (7, 31)}, "packed: expected 109 bytes for 217 weights of 4 bits, got 112"),
        ({"absmax": torch.zeros(3)}, "absmax: expected 4 blocks of 64 weights, got 3"),
        ({"block_size": 128}, "absmax: expected 2 blocks of 128 weights, got 4"),
        ({"dtype": torch.int8}, "dtype: expected a floating one to decode to, got torch.int8"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_codes_that_do_not_belong_to_the_shape_are_named(device, changes, message):
    weight = quantized((7, 32), double_quantization=False)
    packed, absmax, *_, codebook = weight.tensors()
    given = {"packed": packed, "absmax": absmax, "codebook": codebook, "block_size": 64} | changes
    shape, dtype, block_size = given.pop("shape", (7, 32)), given.pop("dtype", torch.float32), given.pop("block_size")
    tensors = {name: tensor.to(device) for name, tensor in given.items()}
    nested = dict.fromkeys(("nested_absmax", "offset", "nested_codebook"))
    with pytest.raises(ValueError, match=message):
        ops.dequantize(**tensors, **nested, block_size=block_size, shape=shape, dtype=dtype)
