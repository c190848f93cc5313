"""QLoRA: finetuning of 4-bit language models (Dettmers et al. 2023, arXiv 2305.14314).

The names below are loaded when they are first used, so that ``import qlora`` costs nothing and needs neither CUDA,
triton nor transformers.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "InputError": "qlora.errors",
    "QuantizedWeight": "qlora.quantization.weight",
    "quantize": "qlora.quantization.weight",
    "normal_float": "qlora.quantization.codebook",
    "QuantizedLinear": "qlora.layers.quantized_linear",
    "LoraLinear": "qlora.layers.lora_linear",
    "PagedAdamW": "qlora.optimizer.paged_adamw",
    "QuantizationConfig": "qlora.models.huggingface",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'qlora' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
