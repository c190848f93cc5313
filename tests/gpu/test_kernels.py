"""The Triton kernels on a GPU against the reference on the CPU."""

import pytest
import torch

import qlora
from qlora.kernels import ops
from qlora.quantization.codebook import decision_thresholds

pytestmark = pytest.mark.gpu

SHAPES = ((1823, 781), (1, 64), (64, 1), (0, 5), (4096, 1111), (33, 31), (1, 1))
NAMES = ("nf4", "fp4-e2m1", "fp4-e3m0", "int4", "nf3")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_quantize_equals_the_reference(name, dtype, shape):
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    thresholds, order = decision_thresholds(name)
    for block_size in (32, 64, 4096):
        codes, absmax = ops.quantize(weights, thresholds, order, block_size)
        gpu_codes, gpu_absmax = ops.quantize(weights.cuda(), thresholds, order, block_size)
        assert torch.equal(gpu_absmax.cpu(), absmax)
        wrong = (gpu_codes.cpu() != codes).sum().item()
        assert wrong <= codes.numel() * 1e-6
        for ours, theirs in zip(ops.quantize_absmax(gpu_absmax)[:2], ops.quantize_absmax(absmax)[:2], strict=True):
            torch.testing.assert_close(ours.cpu().float(), theirs.float(), rtol=1e-5, atol=1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_dequantize_equals_the_reference_to_the_bit(name, dtype, shape):
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    for double_quantization in (False, True):
        for block_size in (32, 64, 4096):
            quantized = qlora.quantize(weights, name, block_size=block_size, double_quantization=double_quantization)
            expected = quantized.dequantize(dtype)
            moved = [None if t is None else t.cuda() for t in quantized.tensors()]
            assert torch.equal(ops.dequantize(*moved, block_size, shape, dtype).cpu(), expected)


@pytest.mark.parametrize("rows", [1, 2, 5, 16, 31, 33])
@pytest.mark.parametrize("shape", [(4096, 4096), (300, 1984), (1000, 11008), (1, 256), (77, 96)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_products_are_as_exact_as_plain_ones(dtype, shape, rows):
    torch.manual_seed(rows)
    for name, block_size, nested in (
        ("nf4", 64, True),
        ("nf4", 32, False),
        ("fp4-e2m1", 64, True),
        ("int4", 128, True),
    ):
        weight = torch.randn(shape, device="cuda", dtype=torch.bfloat16)
        weight = qlora.quantize(weight, name, block_size=block_size, double_quantization=nested)
        x = torch.randn(2, rows, shape[1], device="cuda", dtype=dtype)
        x[..., 7] *= 100
        for part in (x, x[0], x[0, 0], x[:, :, :]):
            exact = part.double() @ weight.dequantize(torch.float32).double().T
            plain = part @ weight.dequantize(dtype).T
            y = ops.quantized_linear(part, *weight.tensors(), block_size, shape[0], name)
            assert y.shape == plain.shape and y.dtype == dtype
            again = ops.quantized_linear(part, *weight.tensors(), block_size, shape[0], name)
            assert torch.equal(y, again), "the order of the sums must not change from run to run"
            # A few elements can be lucky in the plain product: its result's own rounding is allowed beside the factor.
            allowed = 2 * (plain - exact).norm() + torch.finfo(dtype).eps / 2 * exact.norm()
            if y.numel() == 1:
                # One output alone can have a weight near zero where x has its outlier; then the fixed point of a single
                # row, 16 bits of the largest x, is coarse beside the rest: five standard deviations of its rounding.
                step = part.abs().max().double() / 2**15
                allowed += 5 * step / 12**0.5 * weight.dequantize(torch.float32).norm()
            assert (y - exact).norm() <= allowed, (name, block_size, tuple(part.shape))


@pytest.mark.parametrize("rows", [1, 4])
def test_infinity_and_nan_in_x_reach_the_result(rows):
    weight = qlora.quantize(torch.randn(64, 512, device="cuda"))
    for bad in (float("nan"), float("inf")):
        x = torch.randn(rows, 512, device="cuda", dtype=torch.bfloat16)
        x[:, 100] = bad
        y = ops.quantized_linear(x, *weight.tensors(), 64, 64, "nf4")
        assert not torch.isfinite(y).any()


def test_codes_of_ten_million_weights_differ_in_at_most_one_of_a_million():
    weights = torch.randn(10_000_000, generator=torch.Generator().manual_seed(2))
    here, there = qlora.quantize(weights), qlora.quantize(weights.cuda())
    assert (here.unpacked_codes() != there.unpacked_codes().cpu()).sum().item() <= 10
    torch.testing.assert_close(here.offset, there.offset.cpu(), rtol=1e-5, atol=0)


def test_a_layer_trains_on_the_gpu_as_on_the_cpu():
    torch.manual_seed(0)
    base = torch.nn.Linear(256, 96)
    layer = qlora.LoraLinear(qlora.QuantizedLinear.from_linear(base), 8, 16.0)
    torch.nn.init.normal_(layer.lora_B)
    x = torch.randn(5, 256, requires_grad=True)
    layer(x).square().sum().backward()
    on_gpu = qlora.LoraLinear(qlora.QuantizedLinear.from_linear(base).cuda(), 8, 16.0).cuda()
    on_gpu.load_state_dict({k: v for k, v in layer.state_dict().items() if "lora" in k}, strict=False)
    y = x.detach().cuda().requires_grad_()
    on_gpu(y).square().sum().backward()
    torch.testing.assert_close(y.grad.cpu(), x.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(on_gpu.lora_A.grad.cpu(), layer.lora_A.grad, rtol=1e-4, atol=1e-2)


def test_operators_pass_torchs_own_check():
    quantized = qlora.quantize(torch.randn(70, 96, device="cuda"))
    x = torch.randn(3, 96, device="cuda", requires_grad=True)
    torch.library.opcheck(torch.ops.qlora.dequantize, (*quantized.tensors(), 64, (70, 96), torch.bfloat16))
    torch.library.opcheck(torch.ops.qlora.quantized_linear, (x, *quantized.tensors(), 64, 70, "nf4"))


def test_a_run_trains_on_the_gpu(tmp_path):
    import transformers

    from qlora import config as configuration
    from qlora.training import loop

    folder = tmp_path / "model"
    torch.manual_seed(0)
    shape = transformers.LlamaConfig(
        hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4,
        vocab_size=300, max_position_embeddings=256,
    )  # fmt: skip
    transformers.LlamaForCausalLM(shape).save_pretrained(folder)
    _byte_tokenizer().save_pretrained(folder)
    settings = configuration.from_mapping(
        {
            "model": {"name": str(folder)},
            "data": {"max_length": 256},
            "optimizer": {"learning_rate": 1e-2, "page_kib": 64},
            "training": {"steps": 12, "batch_size": 8, "device": "cuda", "compute_dtype": "bfloat16"},
            "output": str(tmp_path / "run"),
        }
    )
    losses = [event.loss for event in loop.train(settings) if event.kind == "step"]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3]), losses


def _byte_tokenizer():
    import tokenizers
    import transformers

    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    model = tokenizers.models.BPE(vocab={c: i for i, c in enumerate([*alphabet, "<end>"])}, merges=[])
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
