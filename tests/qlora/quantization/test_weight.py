"""`qlora.quantize` against bitsandbytes, an independent program, and against the paper's figures."""

import itertools
import math
import re

import pytest
import torch

import qlora
from qlora.kernels import ops
from qlora.quantization import blockwise, weight
from qlora.quantization.codebook import CODEBOOKS, bits_of, decision_thresholds
from qlora.quantization.double_quantization import quantize_absmax

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
COUNTS = (1, 63, 64, 65, 4096, 100_001)
KINDS = {
    "random": torch.randn,
    "zero": torch.zeros,
    "negative zero": lambda n: -torch.zeros(n),
    "constant": lambda n: torch.full((n,), 0.37),
    "denormal": lambda n: torch.randn(n) * 1e-40,
    "one outlier": lambda n: torch.cat([torch.randn(n - 1), torch.tensor([1000.0])]),
}

STRIDED = {
    "transposed": lambda w: w.T,
    "every second column": lambda w: w[:, ::2],
    "every third row": lambda w: w[::3],
    "shifted": lambda w: w.flatten()[3:],
    "expanded": lambda w: w[:1].expand(50, -1),
    "three dimensions": lambda w: w.view(7, 10, 130).permute(2, 0, 1),
}


@pytest.fixture
def functional():
    return pytest.importorskip("bitsandbytes.functional")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_bytes_equal_bitsandbytes(functional, kind, dtype):
    torch.manual_seed(0)
    for count in COUNTS:
        weights = KINDS[kind](count).to(dtype)
        for ours, theirs in (("nf4", "nf4"), ("fp4-e2m1", "fp4")):
            for block_size in (32, 64, 4096):
                where = f"{count} weights, {ours}, blocks of {block_size}"
                plain = qlora.quantize(weights, ours, block_size=block_size, double_quantization=False)
                codes, state = functional.quantize_4bit(weights, blocksize=block_size, quant_type=theirs)
                assert torch.equal(plain.codes, codes.flatten()), where
                assert torch.equal(plain.absmax, state.absmax), where
                nested = qlora.quantize(weights, ours, block_size=block_size)
                _, state = functional.quantize_4bit(
                    weights, blocksize=block_size, quant_type=theirs, compress_statistics=True
                )
                assert torch.equal(nested.absmax, state.absmax), where
                assert torch.equal(nested.nested_absmax, state.state2.absmax), where
                torch.testing.assert_close(nested.offset, state.offset, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("double_quantization", [False, True])
def test_decoded_values_equal_bitsandbytes(functional, dtype, double_quantization):
    weights = torch.randn(96, 640, generator=torch.Generator().manual_seed(1)).to(dtype)
    ours = qlora.quantize(weights, double_quantization=double_quantization).dequantize()
    codes, state = functional.quantize_4bit(
        weights, blocksize=64, quant_type="nf4", compress_statistics=double_quantization
    )
    theirs = functional.dequantize_4bit(codes, state)
    # Their CPU kernel may round a product differently in the last bit of the dtype.
    torch.testing.assert_close(ours, theirs, rtol=torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1_000_000])
def test_nested_codes_equal_bitsandbytes_on_many_values(functional, count):
    absmax = torch.rand(count, generator=torch.Generator().manual_seed(2)) * 3
    codes, nested_absmax, offset = quantize_absmax(absmax)
    theirs, state = functional.quantize_blockwise(absmax - offset, blocksize=256)
    assert torch.equal(codes, theirs)
    assert torch.equal(nested_absmax, state.absmax)


def test_error_of_nf4_on_normal_weights_is_the_known_one():
    weights = torch.randn(4096, 4096, generator=torch.Generator().manual_seed(3))
    error = (qlora.quantize(weights, double_quantization=False).dequantize() - weights).abs().mean().item()
    assert error == pytest.approx(0.072798, abs=0.000074)


def test_bits_per_parameter_are_the_papers():
    weights = torch.randn(1024, 1024)
    assert qlora.quantize(weights, double_quantization=False).bits_per_parameter == 4.5
    assert qlora.quantize(weights).bits_per_parameter == pytest.approx(4.127, abs=0.0005)


@pytest.mark.parametrize("name", CODEBOOKS)
@pytest.mark.parametrize("shape", [(1823, 781), (1, 64), (7, 1), (0, 5), ()])
def test_each_weight_gets_a_nearest_level(name, shape):
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    quantized = qlora.quantize(weights, name, double_quantization=False)
    assert quantized.dequantize().shape == weights.shape
    if not weights.numel():
        return
    scales = quantized.absmax_values().repeat_interleave(64)[: weights.numel()]
    best = (weights.flatten()[:, None] - quantized.codebook * scales[:, None])[:20_000].abs().amin(1)
    got = (quantized.dequantize() - weights).flatten()[:20_000].abs()
    torch.testing.assert_close(got, best, rtol=0, atol=1e-6)
    assert int(quantized.unpacked_codes().max()) < 2 ** bits_of(name)


def test_more_bits_mean_less_error():
    weights = torch.randn(100_000, generator=torch.Generator().manual_seed(5))
    errors = [(qlora.quantize(weights, f"nf{k}").dequantize() - weights).abs().mean() for k in range(2, 9)]
    assert all(after < before * 0.65 for before, after in itertools.pairwise(errors))


def test_an_outlier_spoils_its_block_alone():
    weights = torch.randn(64 * 10, generator=torch.Generator().manual_seed(6))
    clean = qlora.quantize(weights, double_quantization=False)
    weights[100] = 50.0
    spoilt = qlora.quantize(weights, double_quantization=False)
    changed = (clean.dequantize() != spoilt.dequantize()).view(10, 64).any(1)
    assert changed.tolist() == [False, True] + [False] * 8


@pytest.mark.parametrize("double_quantization", [False, True])
@pytest.mark.parametrize("make", STRIDED.values(), ids=STRIDED)
def test_a_strided_weight_is_read_in_its_logical_order(make, double_quantization):
    weights = make(torch.randn(70, 130, generator=torch.Generator().manual_seed(7)))
    ours = qlora.quantize(weights, double_quantization=double_quantization)
    dense = torch.empty(weights.shape).copy_(weights)
    expected = qlora.quantize(dense, double_quantization=double_quantization)
    assert ours.shape == weights.shape
    assert torch.equal(ours.codes, expected.codes)
    assert torch.equal(ours.dequantize(), expected.dequantize())


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", [(1, 530_003), (777, 1000), (530_003,)])
@pytest.mark.parametrize(("quant_type", "block_size"), [("nf4", 64), ("nf3", 32), ("nf5", 4096)])
def test_a_large_tensor_quantized_in_slices_is_the_tensor_quantized_at_once(shape, quant_type, block_size, transposed):
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    weights = weights.mT if transposed and weights.ndim == 2 else weights
    assert weights.numel() > 2 * weight._SLICE, "else there is one slice"
    codes, absmax = ops.quantize(weights.contiguous(), *decision_thresholds(quant_type), block_size)
    quantized = qlora.quantize(weights, quant_type, block_size=block_size, double_quantization=False)
    assert torch.equal(quantized.codes, codes) and torch.equal(quantized.absmax, absmax)


@pytest.mark.parametrize(("name", "block_size"), [("nf4", 64), ("nf3", 32), ("nf5", 4096)])
def test_a_large_tensor_decoded_in_slices_is_the_tensor_decoded_at_once(name, block_size, monkeypatch):
    weights = torch.randn(3 * 2**20 + 777, generator=torch.Generator().manual_seed(8))
    quantized = qlora.quantize(weights, name, block_size=block_size)
    assert weights.numel() > 2 * blockwise._SLICE, "else there is one slice"
    for dtype in DTYPES:
        in_slices = quantized.dequantize(dtype)
        with monkeypatch.context() as patch:
            patch.setattr(blockwise, "_SLICE", weights.numel())
            assert torch.equal(in_slices, quantized.dequantize(dtype))


@pytest.mark.parametrize("name", CODEBOOKS)
@pytest.mark.parametrize("double_quantization", [False, True])
@pytest.mark.parametrize("shape", [(0, 64), (64, 0), (0,), ()], ids=str)
def test_a_weight_of_no_or_one_element_survives(name, double_quantization, shape):
    weights = torch.full(shape, -0.25, dtype=torch.bfloat16)
    quantized = qlora.quantize(weights, name, double_quantization=double_quantization)
    decoded = quantized.dequantize()
    assert (decoded.shape, decoded.dtype) == (weights.shape, weights.dtype)
    assert torch.isfinite(decoded).all()
    if not double_quantization and name != "int4":
        torch.testing.assert_close(decoded, weights)  # alone in its block, a weight is its own absmax
    if not weights.numel():
        assert quantized.nbytes == (4 if double_quantization else 0)  # the offset alone


NOT_FINITE = {"NaN": math.nan, "infinity": math.inf, "-infinity": -math.inf}


@pytest.mark.parametrize("value", NOT_FINITE.values(), ids=NOT_FINITE)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("place", [0, 64, 4096 * 70 - 1], ids=["first", "start of a block", "last"])
def test_one_number_that_is_not_finite_is_found(place, dtype, value):
    weights = torch.randn(4096, 70).to(dtype)
    weights.view(-1)[place] = value
    with pytest.raises(ValueError, match=r"layer 3: expected finite numbers, got 1 NaN or infinite of 286720"):
        qlora.quantize(weights, name="layer 3")
    with pytest.raises(ValueError, match="1 NaN or infinite"):
        qlora.quantize(weights.T, block_size=4096)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.float64, torch.complex64], ids=str)
def test_another_dtype_is_named(dtype):
    with pytest.raises(ValueError, match=f"layer 3: expected float32, float16 or bfloat16, got {dtype}"):
        qlora.quantize(torch.ones(4, 4).to(dtype), name="layer 3")


@pytest.mark.parametrize("block_size", [-64, 0, 1, 16, 48, 65, 8192, 64.0, "64", None, True])
def test_another_block_size_is_named(block_size):
    message = f"layer 3: block_size must be a power of two from 32 to 4096, got {block_size!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        qlora.quantize(torch.ones(64), block_size=block_size, name="layer 3")


@pytest.mark.parametrize(
    ("weights", "quant_type", "message"),
    [
        (torch.ones(4), "nf16", "layer 3: quant_type must be one of nf4.*got 'nf16'"),
        (torch.ones(4), None, "layer 3: quant_type must be one of nf4.*got None"),
        ([1.0, 2.0], "nf4", "layer 3: expected a tensor, got list"),
        (torch.ones(4, 4).to_sparse(), "nf4", "layer 3: expected a dense tensor, got torch.sparse_coo"),
        (torch.ones(4, device="meta"), "nf4", "layer 3: expected a dense tensor, got .* on the meta device"),
    ],
    ids=["data type", "no data type", "list", "sparse", "meta"],
)
def test_other_unusable_input_is_named(weights, quant_type, message):
    with pytest.raises(ValueError, match=message):
        qlora.quantize(weights, quant_type, name="layer 3")
