import pytest
import torch
from torch import nn

import qlora


def adapted(base, **options):
    layer = qlora.LoraLinear(base, 4, 8.0, **options)
    with torch.no_grad():
        layer.lora_B.normal_()
    return layer


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("quantized", [False, True])
def test_gradients_by_finite_differences(dropout, quantized):
    torch.manual_seed(0)
    base = nn.Linear(24, 10)
    base = qlora.QuantizedLinear.from_linear(base) if quantized else base.double()
    if quantized:
        base.bias.data = base.bias.data.double()
    layer = adapted(base, dtype=torch.float64, dropout=dropout)
    x = torch.randn(2, 3, 24, dtype=torch.float64, requires_grad=True)

    def call(x, lora_A, lora_B):
        torch.manual_seed(1)  # the same dropout each time
        return torch.func.functional_call(layer, {"lora_A": lora_A, "lora_B": lora_B}, (x,))

    assert torch.autograd.gradcheck(call, (x, layer.lora_A, layer.lora_B))


def test_only_the_input_is_kept_for_the_backward_pass():
    layer = adapted(qlora.QuantizedLinear.from_linear(nn.Linear(64, 48)))
    x = torch.randn(16, 64, requires_grad=True)
    own = {t.untyped_storage().data_ptr() for t in [*layer.parameters(), *layer.buffers()]}
    kept = set()

    def keep(tensor):
        kept.add(tensor.untyped_storage().data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(x)
    assert kept - own == {x.untyped_storage().data_ptr()}


def test_a_fresh_adapter_changes_nothing_and_a_disabled_one_neither():
    base = qlora.QuantizedLinear.from_linear(nn.Linear(32, 8))
    x = torch.randn(3, 32)
    torch.testing.assert_close(qlora.LoraLinear(base, 2, 4.0)(x), base(x))
    layer = adapted(base)
    assert not torch.allclose(layer(x), base(x))
    layer.enabled = False
    assert torch.equal(layer(x), base(x))


def test_adapter_adds_the_scaled_low_rank_product():
    base = nn.Linear(32, 8)
    layer = adapted(base)
    x = torch.randn(2, 5, 32)
    torch.testing.assert_close(layer(x), base(x) + 2.0 * x @ layer.lora_A.T @ layer.lora_B.T)


def test_dropout_is_off_in_evaluation_and_keeps_the_mean_in_training():
    layer = adapted(nn.Linear(32, 8, bias=False), dropout=0.5)
    x = torch.randn(1, 32)
    plain = layer.eval()(x)
    assert torch.equal(plain, layer(x))
    layer.train()
    mean = torch.stack([layer(x) for _ in range(4000)]).mean(0)
    assert (mean - plain).abs().max() < 0.25 * (plain - layer.base(x)).abs().max()


def test_bfloat16_input_stays_bfloat16_and_gradients_keep_the_adapters_dtype():
    layer = adapted(qlora.QuantizedLinear.from_linear(nn.Linear(64, 8)), dtype=torch.float32)
    y = layer(torch.randn(3, 64, dtype=torch.bfloat16))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert layer.lora_A.grad.dtype == torch.float32


def test_frozen_weights_get_no_gradient():
    layer = adapted(nn.Linear(16, 8))
    layer(torch.randn(2, 16)).sum().backward()
    assert layer.base.weight.grad is None and layer.base.bias.grad is None
    assert layer.lora_A.grad.abs().sum() > 0


def test_a_weight_of_another_shape_is_refused():
    layer = qlora.QuantizedLinear(8, 4)
    with pytest.raises(ValueError, match=r"expected a weight of shape \(4, 8\), got \(8, 4\)"):
        layer.quantized_weight = qlora.quantize(torch.randn(8, 4))
