"""`torch.compile(fullgraph=True)`: operators and layers become one graph each, with eager's values and gradients."""

import shutil

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import qlora
from qlora.kernels import ops
from qlora.quantization.codebook import codebook, decision_thresholds, dynamic_map


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch.compiler.reset()


def lora(quantized=True, dropout=0.0, **options):
    torch.manual_seed(0)
    base = nn.Linear(64, 32)
    if quantized:
        base = qlora.QuantizedLinear.from_linear(base, **options)
    layer = qlora.LoraLinear(base, 4, 8.0, dropout=dropout)
    nn.init.normal_(layer.lora_B)
    return layer


def results(call, layer, rows):
    """Output of one call, and the gradients of x and of all that trains."""
    layer.zero_grad()
    x = torch.randn(2, rows, 64, generator=torch.Generator().manual_seed(rows)).requires_grad_()
    torch.manual_seed(1)  # the same dropout each time
    y = call(x)
    y.square().sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in layer.parameters() if p.requires_grad)]


def same(ours, expected):
    assert len(ours) == len(expected)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", ["nf4", "nf3"])
def test_the_operators_make_one_graph(name):
    thresholds, order = decision_thresholds(name)
    levels, nested_levels = codebook(name), dynamic_map()

    def all_of_them(weights, x):
        codes, absmax = ops.quantize(weights, thresholds, order, 64)
        nested, nested_absmax, offset = ops.quantize_absmax(absmax)
        stored = (codes, nested, nested_absmax, offset, nested_levels, levels)
        decoded = ops.dequantize(*stored, 64, weights.shape, torch.float32)
        return *stored[:4], decoded, ops.quantized_linear(x, *stored, 64, weights.shape[0], "nf4")

    weights, x = torch.randn(33, 31), torch.randn(5, 31)
    compiled = torch.compile(all_of_them, fullgraph=True, backend="aot_eager")(weights, x)
    for ours, expected in zip(compiled, all_of_them(weights, x), strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("double_quantization", [False, True])
def test_a_quantized_layer_makes_one_graph_forward_and_backward(double_quantization):
    layer = qlora.QuantizedLinear.from_linear(nn.Linear(64, 32), double_quantization=double_quantization)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    same(results(compiled, layer, 5), results(layer, layer, 5))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("quantized", [False, True])
def test_an_adapted_layer_makes_one_graph_forward_and_backward(quantized, dropout):
    layer = lora(quantized, dropout)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    expected = results(layer, layer, 5)
    same(results(compiled, layer, 5), expected)
    if dropout:
        assert not torch.allclose(expected[0], results(layer.eval(), layer, 5)[0]), "else nothing was dropped"
        same(results(compiled, layer, 5), results(layer, layer, 5))  # evaluation is another graph


def test_other_batch_sizes_need_no_other_graph():
    layer = lora(dropout=0.3)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    same(results(compiled, layer, 5), results(layer, layer, 5))
    with torch.compiler.set_stance("fail_on_recompile"):
        for rows in (9, 130):
            same(results(compiled, layer, rows), results(layer, layer, rows))


def test_a_recomputed_layer_drops_the_same_elements_again():
    layer = lora(dropout=0.5)

    def recomputed(x):
        return checkpoint(layer, x, use_reentrant=False)

    compiled = torch.compile(recomputed, fullgraph=True, backend="aot_eager")
    x = torch.randn(20, 64)
    layer.zero_grad()
    y = compiled(x)
    y.sum().backward()
    # The adapter's part is linear in each factor, so (Euler) it is the factor's product with its gradient, if and only
    # if the backward pass saw the mask of the forward pass.
    part = (y - layer.base(x)).sum()
    for factor in (layer.lora_A, layer.lora_B):
        torch.testing.assert_close((factor * factor.grad).sum(), part, rtol=1e-4, atol=1e-3)
    assert not torch.allclose(part, (layer.eval()(x) - layer.base(x)).sum()), "else nothing was dropped"


@pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler on a CPU")
def test_generated_code_equals_eager():
    layer = lora(dropout=0.3)
    # Inductor draws random numbers in its own way unless it is told to draw them as eager does.
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, options={"fallback_random": True})
    for rows in (5, 9):
        same(results(compiled, layer, rows), results(layer, layer, rows))
