"""Modules that an adapter trains whole."""

import pytest
import torch
from torch import nn

import qlora
from qlora.layers.trained_copy import TrainedCopy


def test_each_adapter_trains_a_copy_and_the_module_stays():
    base = nn.Linear(8, 3)
    before = base.weight.clone()
    layer = TrainedCopy(base, "one", torch.float32)
    layer.add("two", torch.float32)
    x = torch.randn(4, 8)
    plain = base(x)
    torch.testing.assert_close(layer(x), plain)
    layer(x).sum().backward()
    assert layer.adapters["one"].weight.grad is not None and layer.adapters["two"].weight.grad is None
    layer.adapters["one"].weight.data.add_(1)
    assert not torch.allclose(layer(x), plain)
    for active in ("two", None, "elsewhere"):
        layer.active = active
        torch.testing.assert_close(layer(x), plain)
    assert torch.equal(base.weight, before) and not base.weight.requires_grad


def test_a_copy_in_fp32_serves_a_computation_in_bf16():
    layer = TrainedCopy(nn.Linear(8, 3, dtype=torch.bfloat16), "one", torch.float32)
    x = torch.randn(4, 8, dtype=torch.bfloat16)
    y = layer(x)
    assert y.dtype == torch.bfloat16
    expected = x.float() @ layer.weight.T + layer.adapters["one"].bias
    torch.testing.assert_close(y, expected.bfloat16(), rtol=0, atol=0)


def test_embeddings_can_be_trained_whole():
    layer = TrainedCopy(nn.Embedding(5, 4), "one", torch.float32)
    ids = torch.tensor([[1, 4]])
    assert torch.equal(layer(ids), layer.weight[ids])


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (qlora.QuantizedLinear.from_linear(nn.Linear(64, 3)), "a quantized weight cannot be trained"),
        (nn.Sequential(qlora.LoraLinear(nn.Linear(8, 3), 2, 4.0)), "another adapter has low-rank factors inside"),
    ],
    ids=["quantized", "adapted"],
)
def test_what_cannot_be_copied_is_refused(base, message):
    with pytest.raises(ValueError, match=message):
        TrainedCopy(base, "one", torch.float32)


def test_a_name_that_is_taken_is_refused():
    layer = TrainedCopy(nn.Linear(8, 3), "one", torch.float32)
    with pytest.raises(ValueError, match="has a copy for the adapter 'one' already"):
        layer.add("one", torch.float32)
