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
        return torch.func.functional_call(
            layer, {"adapters.default.lora_A": lora_A, "adapters.default.lora_B": lora_B}, (x,)
        )

    assert torch.autograd.gradcheck(call, (x, layer.lora_A, layer.lora_B))


def kept_for_backward(layer, x):
    """Tensors that autograd keeps of a call, besides the layer's own."""
    own = {t.untyped_storage().data_ptr() for t in [*layer.parameters(), *layer.buffers()]}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(x)
    return [tensor for place, tensor in kept.items() if place not in own]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("quantized", [False, True])
def test_only_the_input_and_the_seed_are_kept_for_the_backward_pass(quantized, dtype, dropout):
    base = nn.Linear(64, 48)
    layer = adapted(qlora.QuantizedLinear.from_linear(base) if quantized else base, dropout=dropout)
    layer.add("other", 8, 8.0)
    x = torch.randn(16, 64, dtype=dtype, requires_grad=True)
    kept = kept_for_backward(layer, x)
    assert sum(t is x or t.data_ptr() == x.data_ptr() for t in kept) == 1
    assert sum(t.nbytes for t in kept) == x.nbytes + (8 if dropout else 0)


def test_a_disabled_adapter_keeps_nothing():
    layer = adapted(qlora.QuantizedLinear.from_linear(nn.Linear(64, 48)))
    layer.active = None
    assert kept_for_backward(layer, torch.randn(16, 64, requires_grad=True)) == []


def test_a_layer_uses_the_active_one_of_its_adapters():
    layer = adapted(nn.Linear(32, 8), name="one")
    layer.add("two", 2, 4.0, rslora=True)
    x = torch.randn(3, 32)
    one = layer(x)
    nn.init.normal_(layer.adapters["two"].lora_B)
    assert torch.equal(layer(x), one), "an adapter that is not active has an effect"
    layer.active = "two"
    factors = layer.adapters["two"]
    expected = layer.base(x) + 4.0 / 2**0.5 * x @ factors.lora_A.T @ factors.lora_B.T
    torch.testing.assert_close(layer(x), expected)
    layer.active = "elsewhere"  # an adapter that other layers have
    assert torch.equal(layer(x), layer.base(x))
    with pytest.raises(ValueError, match="has an adapter 'two' already"):
        layer.add("two", 2, 4.0)


def test_a_fresh_adapter_changes_nothing_and_a_disabled_one_neither():
    base = qlora.QuantizedLinear.from_linear(nn.Linear(32, 8))
    x = torch.randn(3, 32)
    torch.testing.assert_close(qlora.LoraLinear(base, 2, 4.0)(x), base(x))
    layer = adapted(base)
    assert not torch.allclose(layer(x), base(x))
    layer.active = None
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


LAYERS = {
    "quantized": lambda: qlora.QuantizedLinear.from_linear(nn.Linear(32, 8)),
    "adapted": lambda: qlora.LoraLinear(qlora.QuantizedLinear.from_linear(nn.Linear(32, 8)), 2, 4.0),
    "adapted in 16 bit": lambda: qlora.LoraLinear(nn.Linear(32, 8), 2, 4.0),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.randn(5, 31), r"x: expected floating numbers \(…, 32\), got torch.float32 \(5, 31\)"),
        (torch.randn(32, 5), r"\(…, 32\), got torch.float32 \(32, 5\)"),
        (torch.ones(5, 32, dtype=torch.int32), r"\(…, 32\), got torch.int32 \(5, 32\)"),
        (torch.tensor(1.0), r"\(…, 32\), got torch.float32 \(\)"),
        (torch.randn(5, 32, device="meta"), r"x: expected it on the weight's device cpu, got meta"),
    ],
    ids=["narrow", "transposed", "integers", "no dimension", "other device"],
)
def test_an_input_that_does_not_fit_is_named(kind, x, message):
    with pytest.raises(ValueError, match=message):
        LAYERS[kind]()(x)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("rows", [(), (0,), (2, 0), (1,), (3, 2)], ids=str)
def test_any_number_of_rows_goes_forward_and_back(kind, rows):
    layer = LAYERS[kind]()
    x = torch.randn(*rows, 32, requires_grad=True)
    y = layer(x)
    assert y.shape == (*rows, 8)
    y.sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize(("in_features", "out_features"), [(64, 0), (0, 64), (0, 0)])
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_weight_without_elements_goes_forward_and_back(in_features, out_features):
    linear = nn.Linear(in_features, out_features)
    layer = qlora.QuantizedLinear.from_linear(linear)
    x = torch.randn(3, in_features, requires_grad=True)
    y = layer(x)
    assert torch.equal(y, linear(x))
    y.sum().backward()
    assert torch.equal(x.grad, torch.zeros(3, in_features))


def test_a_strided_input_is_read_in_its_logical_order():
    x = torch.randn(32, 5)
    for make in LAYERS.values():
        layer = make()
        torch.testing.assert_close(layer(x.T), layer(x.T.contiguous()))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Embedding(4, 4), "mlp.up: expected a torch.nn.Linear to quantize, got Embedding"),
        (nn.Conv1d(4, 4, 1), "mlp.up: expected a torch.nn.Linear to quantize, got Conv1d"),
        (torch.randn(4, 4), "mlp.up: expected a torch.nn.Linear to quantize, got Tensor"),
        (qlora.QuantizedLinear(4, 4), "mlp.up: expected a torch.nn.Linear to quantize, got QuantizedLinear"),
        (nn.Linear(4, 4).double(), "mlp.up: expected float32, float16 or bfloat16, got torch.float64"),
        (nn.Linear(4, 4, device="meta"), "mlp.up: expected a dense tensor, got .* on the meta device"),
    ],
    ids=["embedding", "convolution", "tensor", "quantized", "float64", "meta"],
)
def test_what_cannot_be_quantized_is_named(module, message):
    with pytest.raises(ValueError, match=message):
        qlora.QuantizedLinear.from_linear(module, name="mlp.up")


def test_a_layer_without_its_weight_says_so():
    with pytest.raises(ValueError, match=r"QuantizedLinear\(8, 4\) holds no weight yet"):
        qlora.QuantizedLinear(8, 4)(torch.randn(2, 8))


@pytest.mark.parametrize(("option", "value"), [("quant_type", "nf9"), ("block_size", 48), ("block_size", 8192)])
def test_a_layer_of_an_unknown_format_is_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} must be .* got {value!r}"):
        qlora.QuantizedLinear(8, 4, **{option: value})


@pytest.mark.parametrize(
    ("base", "options", "message"),
    [
        (nn.Embedding(4, 4), {}, "base: expected a torch.nn.Linear or QuantizedLinear, got Embedding"),
        (nn.Linear(4, 4), {"r": 0}, "r: expected a rank of at least 1, got 0"),
        (nn.Linear(4, 4), {"dropout": 1.0}, "dropout: expected a probability from 0 to below 1, got 1.0"),
    ],
    ids=["base", "r", "dropout"],
)
def test_an_adapter_that_cannot_be_is_refused(base, options, message):
    with pytest.raises(ValueError, match=message):
        qlora.LoraLinear(base, **{"r": 2, "alpha": 4.0, **options})


@pytest.mark.parametrize("double_quantization", [False, True])
def test_converting_a_layer_does_not_round_its_constants(double_quantization):
    linear = nn.Linear(128, 8, dtype=torch.bfloat16)
    layer = qlora.QuantizedLinear.from_linear(linear, double_quantization=double_quantization)
    before = layer.quantized_weight.dequantize(torch.float32)
    layer.to(torch.float16)
    assert layer.bias.dtype == torch.float16, "else nothing was converted"
    assert torch.equal(layer.quantized_weight.dequantize(torch.float32), before)
