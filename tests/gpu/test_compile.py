"""`torch.compile` with its own code generator on a GPU, where it matters."""

import pytest
import torch
from torch import nn

import qlora
from qlora.kernels import ops
from qlora.quantization.codebook import decision_thresholds

pytestmark = pytest.mark.gpu


def test_the_operators_make_one_graph():
    thresholds, order = decision_thresholds("nf4")
    weight = qlora.quantize(torch.randn(256, 512, device="cuda"))

    def all_of_them(weights, x):
        codes, absmax = ops.quantize(weights, thresholds, order, 64)
        nested, nested_absmax, offset = ops.quantize_absmax(absmax)
        stored = (codes, nested, nested_absmax, offset, weight.nested_codebook, weight.codebook)
        decoded = ops.dequantize(*stored, 64, weights.shape, torch.bfloat16)
        return *stored[:4], decoded, ops.quantized_linear(x, *stored, 64, weights.shape[0], "nf4")

    compiled = torch.compile(all_of_them, fullgraph=True)
    for rows in (1, 16, 512):
        weights = torch.randn(256, 512, device="cuda", dtype=torch.bfloat16)
        x = torch.randn(rows, 512, device="cuda", dtype=torch.bfloat16)
        for ours, expected in zip(compiled(weights, x), all_of_them(weights, x), strict=True):
            torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_an_adapted_layer_makes_one_graph_forward_and_backward(dtype, dropout):
    torch.manual_seed(0)
    base = qlora.QuantizedLinear.from_linear(nn.Linear(512, 256))
    layer = qlora.LoraLinear(base, 16, 16.0, dropout=dropout).cuda()
    nn.init.normal_(layer.lora_B, std=0.02)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, options={"fallback_random": True})

    def results(call, rows):
        layer.zero_grad()
        x = torch.randn(2, rows, 512, generator=torch.Generator().manual_seed(rows)).to("cuda", dtype).requires_grad_()
        torch.manual_seed(1)  # the same dropout each time
        y = call(x)
        y.float().square().sum().backward()
        return [y.detach(), x.grad, layer.lora_A.grad, layer.lora_B.grad]

    tolerance = 1e-4 if dtype == torch.float32 else 3e-2
    for rows in (5, 130):
        for ours, expected in zip(results(compiled, rows), results(layer, rows), strict=True):
            scale = expected.float().abs().max().item()
            torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance * scale)
