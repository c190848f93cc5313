"""Files in both directions with bitsandbytes."""

import json

import pytest
import torch
from safetensors.torch import load, save

import qlora
from qlora.quantization.bitsandbytes_format import from_checkpoint, to_checkpoint

NAME = "layer.weight"


def weights():
    return torch.randn(70, 96, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)


@pytest.fixture
def bitsandbytes():
    return pytest.importorskip("bitsandbytes")


@pytest.mark.parametrize("double_quantization", [False, True])
@pytest.mark.parametrize(("ours", "theirs"), [("nf4", "nf4"), ("fp4-e2m1", "fp4")])
def test_bitsandbytes_reads_ours(bitsandbytes, ours, theirs, double_quantization):
    quantized = qlora.quantize(weights(), ours, double_quantization=double_quantization)
    state = load(save(quantized.to_bitsandbytes(NAME)))
    stats = {key.removeprefix(f"{NAME}."): value for key, value in state.items() if key != NAME}
    read = bitsandbytes.nn.Params4bit.from_prequantized(state[NAME], stats, device="cpu")
    decoded = bitsandbytes.functional.dequantize_4bit(read.data, read.quant_state)
    assert read.quant_state.quant_type == theirs
    torch.testing.assert_close(decoded, quantized.dequantize(), rtol=2**-8, atol=0)


@pytest.mark.parametrize("double_quantization", [False, True])
@pytest.mark.parametrize("theirs", ["nf4", "fp4"])
def test_we_read_bitsandbytes(bitsandbytes, theirs, double_quantization):
    codes, described = bitsandbytes.functional.quantize_4bit(
        weights(), quant_type=theirs, blocksize=64, compress_statistics=double_quantization
    )
    packed = {f"{NAME}.{key}": value for key, value in described.as_dict(packed=True).items()}
    read = qlora.QuantizedWeight.from_bitsandbytes(load(save({NAME: codes, **packed})), NAME)
    expected = bitsandbytes.functional.dequantize_4bit(codes, described)
    assert read.dtype == torch.bfloat16 and read.double_quantization == double_quantization
    torch.testing.assert_close(read.dequantize(), expected, rtol=2**-8, atol=0)


def test_the_keys_and_bytes_are_theirs(bitsandbytes):
    codes, described = bitsandbytes.functional.quantize_4bit(
        weights(), quant_type="nf4", blocksize=64, compress_statistics=True
    )
    theirs = {NAME: codes, **{f"{NAME}.{k}": v for k, v in described.as_dict(packed=True).items()}}
    ours = qlora.quantize(weights()).to_bitsandbytes(NAME)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        if "quant_state" in key:
            mine, other = (json.loads(bytes(t.tolist())) for t in (ours[key], value))
            assert mine.pop("nested_offset") == pytest.approx(other.pop("nested_offset"), rel=1e-6)
            assert mine == other
        else:
            assert torch.equal(ours[key], value), key


def test_a_round_trip_changes_nothing():
    quantized = qlora.quantize(torch.randn(3, 5, 7), block_size=128)
    again = qlora.QuantizedWeight.from_bitsandbytes(quantized.to_bitsandbytes(NAME), NAME)
    assert torch.equal(again.dequantize(), quantized.dequantize())
    assert (again.shape, again.dtype, again.block_size) == (quantized.shape, quantized.dtype, 128)


def test_codes_stored_as_another_dtype_are_read(bitsandbytes):
    codes, described = bitsandbytes.functional.quantize_4bit(
        weights(), quant_type="nf4", blocksize=64, quant_storage=torch.bfloat16
    )
    packed = {f"{NAME}.{key}": value for key, value in described.as_dict(packed=True).items()}
    read = qlora.QuantizedWeight.from_bitsandbytes({NAME: codes, **packed}, NAME)
    assert torch.equal(read.codes, qlora.quantize(weights()).codes)


def _described(**changes):
    state = qlora.quantize(weights()).to_bitsandbytes(NAME)
    key = next(k for k in state if "quant_state" in k)
    fields = json.loads(bytes(state[key].tolist())) | changes
    return state | {key: torch.tensor(list(json.dumps(fields).encode()), dtype=torch.uint8)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, r"layer.weight: expected its codes and one .* got neither"),
        (_described(quant_type="nf3"), "quant_type must be one of nf4, fp4, got 'nf3'"),
        (_described(blocksize=48), "blocksize must be a power of two from 32 to 4096, got 48"),
        (_described(dtype="float8"), "dtype must be one of .* got 'float8'"),
        (_described(shape=[70, 95]), r"layer.weight: expected 3325 codes .* got 3360"),
        (_described(nested_blocksize=128), "nested_blocksize must be 256, got 128"),
        (_described(quant_type="fp4"), r"layer.weight.quant_map: expected the levels of fp4-e2m1"),
    ],
)
def test_an_inconsistent_checkpoint_is_named(state, message):
    with pytest.raises(ValueError, match=message):
        qlora.QuantizedWeight.from_bitsandbytes(state, NAME)


@pytest.mark.parametrize("part", ["absmax", "quant_map", "nested_absmax", "nested_quant_map"])
@pytest.mark.parametrize("how", ["missing", "short"])
def test_an_incomplete_checkpoint_names_the_tensor(part, how):
    state, key = _described(), f"{NAME}.{part}"
    values = state.pop(key)
    if how == "short":
        state[key] = values[:-1]
    with pytest.raises(ValueError, match=rf"{key}.*(missing|expected {values.numel()} values)"):
        qlora.QuantizedWeight.from_bitsandbytes(state, NAME)


def test_a_damaged_description_is_named():
    state = _described()
    key = next(k for k in state if "quant_state" in k)
    state[key] = state[key][:-5]
    with pytest.raises(ValueError, match=r"quant_state.*expected the characters of a JSON object"):
        qlora.QuantizedWeight.from_bitsandbytes(state, NAME)


def test_a_data_type_that_bitsandbytes_lacks_is_not_written():
    with pytest.raises(ValueError, match="int4 cannot be written"):
        qlora.quantize(weights(), "int4").to_bitsandbytes(NAME)


@pytest.mark.parametrize("double_quantization", [False, True])
@pytest.mark.parametrize("quant_type", ["int4", "fp4-e3m0", "nf3", "nf5", "nf8"])
def test_our_own_data_types_come_back_from_a_file(quant_type, double_quantization):
    quantized = qlora.quantize(weights(), quant_type, double_quantization=double_quantization)
    state = load(save(to_checkpoint(quantized, NAME)))
    assert f"{NAME}.quant_state.qlora__{quant_type}" in state
    again = from_checkpoint(state, NAME)
    assert torch.equal(again.dequantize(), quantized.dequantize()) and again.nbytes == quantized.nbytes
    with pytest.raises(ValueError, match=r"bitsandbytes' 4-bit format"):
        qlora.QuantizedWeight.from_bitsandbytes(state, NAME)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": "70x96"}, "shape must be a list of sizes"),
        ({"nested_offset": None}, "nested_offset must be a number"),
    ],
)
def test_a_description_of_the_wrong_kind_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        qlora.QuantizedWeight.from_bitsandbytes(_described(**change), NAME)
