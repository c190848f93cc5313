"""A quantized weight as the keys and bytes that bitsandbytes writes into a checkpoint, both directions.

For a weight ``layer.weight``:

    layer.weight                                        uint8 (bytes, 1), the packed codes
    layer.weight.absmax                                 fp32 (blocks,), or uint8 (blocks,) when nested
    layer.weight.quant_map                              fp32 (16,)
    layer.weight.nested_absmax, .nested_quant_map       fp32 (ceil(blocks / 256),) and (256,), when nested
    layer.weight.quant_state.bitsandbytes__nf4          uint8, the characters of a JSON object: quant_type, blocksize,
                                                        dtype, shape, and when nested nested_blocksize, nested_dtype,
                                                        nested_offset
"""

import json
from collections.abc import Mapping

import torch

from qlora.quantization.codebook import codebook
from qlora.quantization.double_quantization import ABSMAX_BLOCK_SIZE
from qlora.quantization.packing import packed_bytes
from qlora.quantization.weight import BLOCK_SIZES, QuantizedWeight

#: Our name -> bitsandbytes' name, for the data types that it has.
_THEIR_NAMES = {"nf4": "nf4", "fp4-e2m1": "fp4"}
_OUR_NAMES = {theirs: ours for ours, theirs in _THEIR_NAMES.items()}
_STATE = "quant_state.bitsandbytes__"
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def to_bitsandbytes(weight: QuantizedWeight, name: str) -> dict[str, torch.Tensor]:
    """The tensors of `weight` under bitsandbytes' keys.

    Args:
        weight: NF4 or FP4 (E2M1).
        name: key of the weight, for example "model.layers.0.mlp.up_proj.weight".

    Raises:
        ValueError: bitsandbytes has no such data type.
    """
    if weight.quant_type not in _THEIR_NAMES:
        known = ", ".join(_THEIR_NAMES)
        raise ValueError(f"{name}: bitsandbytes' files hold {known}; {weight.quant_type} cannot be written as one")
    description = {
        "quant_type": _THEIR_NAMES[weight.quant_type],
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
    key = f"{name}.{_STATE}{description['quant_type']}"
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
    found = [key for key in state if key.startswith(f"{name}.{_STATE}")]
    if name not in state or len(found) != 1:
        raise ValueError(
            f"{name}: expected its codes and one {name}.{_STATE}… (bitsandbytes' 4-bit format), "
            f"got {[key for key in state if key.startswith(name)] or 'neither'}"
        )
    description = _description(state[found[0]], found[0])
    quant_type = _OUR_NAMES.get(description["quant_type"])
    if quant_type is None:
        raise ValueError(
            f"{found[0]}: quant_type must be one of {', '.join(_OUR_NAMES)}, got {description['quant_type']!r}"
        )
    block_size, shape = description["blocksize"], torch.Size(description["shape"])
    if block_size not in BLOCK_SIZES:
        raise ValueError(f"{found[0]}: blocksize must be a power of two from 32 to 4096, got {block_size!r}")
    dtype = _DTYPES.get(description["dtype"])
    if dtype is None:
        raise ValueError(f"{found[0]}: dtype must be one of {', '.join(_DTYPES)}, got {description['dtype']!r}")
    # A packed tensor may be stored as another dtype of the same bytes ("quant_storage").
    codes = state[name].contiguous().view(torch.uint8).flatten()
    _check(name, "codes", codes, torch.uint8, packed_bytes(shape.numel(), 4))
    blocks = -(-shape.numel() // block_size)
    nested = "nested_offset" in description
    absmax = _tensor(state, f"{name}.absmax", torch.uint8 if nested else torch.float32, blocks)
    levels = _tensor(state, f"{name}.quant_map", torch.float32, 16)
    if not torch.equal(levels.cpu(), codebook(quant_type)):
        raise ValueError(f"{name}.quant_map: expected the levels of {quant_type}, got {levels.tolist()}")
    nested_absmax = offset = nested_codebook = None
    if nested:
        if description.get("nested_blocksize") != ABSMAX_BLOCK_SIZE:
            got = description.get("nested_blocksize")
            raise ValueError(f"{found[0]}: nested_blocksize must be {ABSMAX_BLOCK_SIZE}, got {got!r}")
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
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{key}: expected the characters of a JSON object ({error})") from None
    if missing:
        raise ValueError(
            f"{key}: expected quant_type, blocksize, dtype and shape; {', '.join(sorted(missing))} missing"
        )
    return fields


def _tensor(state: Mapping[str, torch.Tensor], key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
    if key not in state:
        raise ValueError(f"{key} is missing from the checkpoint")
    _check(key, "values", state[key], dtype, count)
    return state[key].flatten()


def _check(key: str, what: str, tensor: torch.Tensor, dtype: torch.dtype, count: int) -> None:
    if tensor.dtype != dtype or tensor.numel() != count:
        raise ValueError(f"{key}: expected {count} {what} of {dtype}, got {tensor.numel()} of {tensor.dtype}")
