"""A quantized weight as the keys and bytes that bitsandbytes writes into a checkpoint, both directions.

For a weight ``layer.weight``:

    layer.weight                                        uint8 (bytes, 1), the packed codes
    layer.weight.absmax                                 fp32 (blocks,), or uint8 (blocks,) when nested
    layer.weight.quant_map                              fp32 (16,)
    layer.weight.nested_absmax, .nested_quant_map       fp32 (ceil(blocks / 256),) and (256,), when nested
    layer.weight.quant_state.bitsandbytes__nf4          uint8, the characters of a JSON object: quant_type, blocksize,
                                                        dtype, shape, and when nested nested_blocksize, nested_dtype,
                                                        nested_offset

Data types that bitsandbytes lacks are written in the same way, under ``quant_state.qlora__<quant_type>``, so that
another program refuses them instead of decoding them with the wrong levels.
"""

import json
from collections.abc import Mapping

import torch

from qlora.quantization.codebook import CODEBOOKS, bits_of, codebook
from qlora.quantization.double_quantization import ABSMAX_BLOCK_SIZE
from qlora.quantization.packing import packed_bytes
from qlora.quantization.weight import BLOCK_SIZES, QuantizedWeight

#: Our name -> bitsandbytes' name, for the data types that it has.
BITSANDBYTES_TYPES = {"nf4": "nf4", "fp4-e2m1": "fp4"}
#: What is stored beside the codes, without the description.
CONSTANTS = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")
#: Start of the description's key -> (name in it -> our name of the data type).
DESCRIPTIONS = {
    "quant_state.bitsandbytes__": {theirs: ours for ours, theirs in BITSANDBYTES_TYPES.items()},
    "quant_state.qlora__": {name: name for name in CODEBOOKS if name not in BITSANDBYTES_TYPES},
}
_BITSANDBYTES, _OURS = DESCRIPTIONS
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def to_bitsandbytes(weight: QuantizedWeight, name: str) -> dict[str, torch.Tensor]:
    """The tensors of `weight` under bitsandbytes' keys.

    Args:
        weight: NF4 or FP4 (E2M1).
        name: key of the weight, for example "model.layers.0.mlp.up_proj.weight".

    Raises:
        ValueError: bitsandbytes has no such data type.
    """
    if weight.quant_type not in BITSANDBYTES_TYPES:
        known = ", ".join(BITSANDBYTES_TYPES)
        raise ValueError(f"{name}: bitsandbytes' files hold {known}; {weight.quant_type} cannot be written as one")
    return to_checkpoint(weight, name)


def to_checkpoint(weight: QuantizedWeight, name: str) -> dict[str, torch.Tensor]:
    """The tensors of `weight`: in bitsandbytes' format where it has the data type, else in the like format of ours.

    The codes and absmax are `weight`'s own memory, not copies.

    Args:
        weight: of any data type.
        name: key of the weight.
    """
    start = _BITSANDBYTES if weight.quant_type in BITSANDBYTES_TYPES else _OURS
    description = {
        "quant_type": BITSANDBYTES_TYPES.get(weight.quant_type, weight.quant_type),
        "blocksize": weight.block_size,
        "dtype": str(weight.dtype).removeprefix("torch."),
        "shape": tuple(weight.shape),
    }
    state = {
        name: weight.codes[:, None],
        f"{name}.absmax": weight.absmax,
        f"{name}.quant_map": weight.codebook.clone(),  # safetensors refuses tensors that share memory
    }
    if weight.double_quantization:
        description |= {
            "nested_blocksize": ABSMAX_BLOCK_SIZE,
            "nested_dtype": "float32",
            "nested_offset": weight.offset.item(),
        }
        state[f"{name}.nested_absmax"] = weight.nested_absmax
        state[f"{name}.nested_quant_map"] = weight.nested_codebook.clone()
    text = json.dumps(description).encode()
    key = f"{name}.{start}{description['quant_type']}"
    state[key] = torch.frombuffer(bytearray(text), dtype=torch.uint8).clone()
    return state


def from_bitsandbytes(state: Mapping[str, torch.Tensor], name: str) -> QuantizedWeight:
    """Undo `to_bitsandbytes`, for files of either program. The tensors are used, not copied.

    Args:
        state: of a checkpoint; other weights in it are passed over.
        name: key of the weight.

    Raises:
        ValueError: a tensor is missing, of the wrong length or dtype, or the data type is unknown; the tensor is named.
    """
    return _read(state, name, (_BITSANDBYTES,))


def from_checkpoint(state: Mapping[str, torch.Tensor], name: str) -> QuantizedWeight:
    """Undo `to_checkpoint`: bitsandbytes' format or ours.

    Raises:
        ValueError: as `from_bitsandbytes`.
    """
    return _read(state, name, tuple(DESCRIPTIONS))


def _read(state: Mapping[str, torch.Tensor], name: str, starts: tuple[str, ...]) -> QuantizedWeight:
    found = [(key, start) for key in state for start in starts if key.startswith(f"{name}.{start}")]
    if name not in state or len(found) != 1:
        raise ValueError(
            f"{name}: expected its codes and one {name}.{_BITSANDBYTES}… (bitsandbytes' 4-bit format), "
            f"got {[key for key in state if key.startswith(name)] or 'neither'}"
        )
    key, start = found[0]
    description = _description(state[key], key)
    names = DESCRIPTIONS[start]
    quant_type = names.get(str(description["quant_type"]))
    if quant_type is None:
        raise ValueError(f"{key}: quant_type must be one of {', '.join(names)}, got {description['quant_type']!r}")
    block_size, shape = description["blocksize"], torch.Size(description["shape"])
    if block_size not in BLOCK_SIZES:
        raise ValueError(f"{key}: blocksize must be a power of two from 32 to 4096, got {block_size!r}")
    dtype = _DTYPES.get(str(description["dtype"]))
    if dtype is None:
        raise ValueError(f"{key}: dtype must be one of {', '.join(_DTYPES)}, got {description['dtype']!r}")
    bits = bits_of(quant_type)
    codes = state[name].contiguous().view(torch.uint8).flatten()
    _check(name, "codes", codes, torch.uint8, packed_bytes(shape.numel(), bits))
    blocks = -(-shape.numel() // block_size)
    nested = "nested_offset" in description
    absmax = _tensor(state, f"{name}.absmax", torch.uint8 if nested else torch.float32, blocks)
    levels = _tensor(state, f"{name}.quant_map", torch.float32, 2**bits)
    if not torch.equal(levels.cpu(), codebook(quant_type)):
        raise ValueError(f"{name}.quant_map: expected the levels of {quant_type}, got {levels.tolist()}")
    nested_absmax = offset = nested_codebook = None
    if nested:
        if description.get("nested_blocksize") != ABSMAX_BLOCK_SIZE:
            got = description.get("nested_blocksize")
            raise ValueError(f"{key}: nested_blocksize must be {ABSMAX_BLOCK_SIZE}, got {got!r}")
        groups = -(-blocks // ABSMAX_BLOCK_SIZE)
        nested_absmax = _tensor(state, f"{name}.nested_absmax", torch.float32, groups)
        nested_codebook = _tensor(state, f"{name}.nested_quant_map", torch.float32, 256)
        offset = torch.tensor(float(description["nested_offset"]), device=codes.device)
    return QuantizedWeight(
        codes=codes,
        absmax=absmax,
        nested_absmax=nested_absmax,
        offset=offset,
        nested_codebook=nested_codebook,
        codebook=codebook(quant_type).to(codes.device),
        quant_type=quant_type,
        block_size=block_size,
        shape=shape,
        dtype=dtype,
    )


def _description(tensor: torch.Tensor, key: str) -> dict:
    try:
        fields = json.loads(bytes(tensor.flatten().tolist()).decode())
        missing = {"quant_type", "blocksize", "dtype", "shape"} - fields.keys()
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{key}: expected the characters of a JSON object ({error})") from None
    if missing:
        raise ValueError(
            f"{key}: expected quant_type, blocksize, dtype and shape; {', '.join(sorted(missing))} missing"
        )
    shape, offset = fields["shape"], fields.get("nested_offset", 0.0)
    if not isinstance(shape, list) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"{key}: shape must be a list of sizes, got {shape!r}")
    if not isinstance(offset, int | float):
        raise ValueError(f"{key}: nested_offset must be a number, got {offset!r}")
    return fields


def _tensor(state: Mapping[str, torch.Tensor], key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
    if key not in state:
        raise ValueError(f"{key} is missing from the checkpoint")
    _check(key, "values", state[key], dtype, count)
    return state[key].flatten()


def _check(key: str, what: str, tensor: torch.Tensor, dtype: torch.dtype, count: int) -> None:
    if tensor.dtype != dtype or tensor.numel() != count:
        raise ValueError(f"{key}: expected {count} {what} of {dtype}, got {tensor.numel()} of {tensor.dtype}")
