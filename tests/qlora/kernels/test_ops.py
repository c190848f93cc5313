import pytest
import torch

import qlora
from qlora.quantization.codebook import decision_thresholds


def quantized(shape, **options):
    return qlora.quantize(torch.randn(shape, generator=torch.Generator().manual_seed(0)), **options)


@pytest.mark.parametrize("double_quantization", [False, True])
def test_operators_pass_torchs_own_check(double_quantization):
    weight = quantized((70, 96), double_quantization=double_quantization)
    x = torch.randn(3, 96, requires_grad=True)
    torch.library.opcheck(torch.ops.qlora.quantize, (torch.randn(70, 33), *decision_thresholds("nf4"), 64))
    torch.library.opcheck(torch.ops.qlora.dequantize, (*weight.tensors(), 64, (70, 96), torch.float32))
    torch.library.opcheck(torch.ops.qlora.quantized_linear, (x, *weight.tensors(), 64, 70))
    torch.library.opcheck(torch.ops.qlora.quantize_absmax, (torch.rand(300),))
    torch.library.opcheck(torch.ops.qlora.drop, (x.detach(), 0.3, torch.tensor(5)))


def test_gradient_of_quantized_linear_is_the_decoded_weights():
    weight = quantized((7, 12))
    x = torch.randn(2, 5, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: torch.ops.qlora.quantized_linear(v, *weight.tensors(), 64, 7), x)


def test_linear_equals_the_product_with_the_decoded_weight():
    weight = quantized((33, 130), block_size=32)
    x = torch.randn(4, 130)
    y = torch.ops.qlora.quantized_linear(x, *weight.tensors(), 32, 33)
    torch.testing.assert_close(y, x @ weight.dequantize().T)
