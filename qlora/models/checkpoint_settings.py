"""What a checkpoint's config.json says about its quantization, read and written.

Where bitsandbytes has the data type the settings are bitsandbytes' own, so that plain transformers with bitsandbytes
loads what we save; other data types stand under ``quant_method: qlora``.
"""

from typing import Any

import torch

from qlora.errors import InputError
from qlora.quantization.bitsandbytes_format import BITSANDBYTES_TYPES

METHOD = "qlora"
_BITSANDBYTES = "bitsandbytes"


def read_settings(saved: dict[str, Any]) -> tuple[dict[str, Any], torch.dtype]:
    """Arguments of `QuantizationConfig` for a checkpoint that is quantized already, and the dtype its codes stand in.

    bitsandbytes does not write its block size here; each tensor's own description has it.

    Args:
        saved: ``quantization_config`` of config.json.

    Raises:
        InputError: the checkpoint is quantized in a way that we do not read.
    """
    method = str(getattr(saved.get("quant_method"), "value", saved.get("quant_method")))
    if saved.get("load_in_8bit"):
        raise InputError(
            "The checkpoint is quantized to 8 bits by bitsandbytes (load_in_8bit in config.json); expected 4 bits or a "
            "checkpoint that is not quantized: take the original 16-bit model."
        )
    if method == METHOD:
        return {name: value for name, value in saved.items() if name != "quant_method"}, torch.uint8
    if not saved.get("load_in_4bit"):
        raise InputError(
            f"The checkpoint is quantized already, by {method}; expected bitsandbytes' 4-bit format or a checkpoint "
            "that is not quantized: take the original 16-bit model."
        )
    ours = {theirs: name for name, theirs in BITSANDBYTES_TYPES.items()}
    theirs = saved.get("bnb_4bit_quant_type", "fp4")
    if theirs not in ours:
        raise InputError(f"config.json: bnb_4bit_quant_type must be one of {', '.join(ours)}, got {theirs!r}")
    storage = str(saved.get("bnb_4bit_quant_storage") or "uint8").removeprefix("torch.")
    arguments = {
        "quant_type": ours[theirs],
        "double_quantization": bool(saved.get("bnb_4bit_use_double_quant", False)),
        "skip_modules": saved.get("llm_int8_skip_modules"),
    }
    return arguments, getattr(torch, storage)


def write_settings(
    quant_type: str, block_size: int, double_quantization: bool, skip_modules: list[str] | None, compute_dtype: str
) -> dict[str, Any]:
    """``quantization_config`` for config.json.

    Args:
        quant_type, block_size, double_quantization, skip_modules: as in `QuantizationConfig`.
        compute_dtype: "bfloat16", …: what bitsandbytes is to compute in.
    """
    if quant_type not in BITSANDBYTES_TYPES:
        return {
            "quant_method": METHOD,
            "quant_type": quant_type,
            "block_size": block_size,
            "double_quantization": double_quantization,
            "skip_modules": skip_modules,
        }
    return {
        "quant_method": _BITSANDBYTES,
        "load_in_4bit": True,
        "load_in_8bit": False,
        "bnb_4bit_quant_type": BITSANDBYTES_TYPES[quant_type],
        "bnb_4bit_use_double_quant": double_quantization,
        "bnb_4bit_compute_dtype": compute_dtype,
        "bnb_4bit_quant_storage": "uint8",
        "llm_int8_skip_modules": skip_modules,
    }
