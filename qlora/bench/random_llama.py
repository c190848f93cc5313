"""Models of LLaMA's shape with random weights: time and memory do not depend on the values."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn

from qlora.layers.quantized_linear import QuantizedLinear
from qlora.memory.shapes import LlamaShape
from qlora.quantization.weight import quantize

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


def quantized_layer(weight: torch.Tensor) -> nn.Module:
    """A `QuantizedLinear` in NF4 with double quantization, of `weight` (out, in)."""
    layer = QuantizedLinear(weight.shape[1], weight.shape[0], bias=False, device="meta", dtype=weight.dtype)
    layer.quantized_weight = quantize(weight)
    return layer


def bitsandbytes_layer(weight: torch.Tensor) -> nn.Module:
    """bitsandbytes' layer of the same format, of `weight` (out, in) on a GPU."""
    import bitsandbytes

    options = {"compress_statistics": True, "quant_type": "nf4"}
    layer = bitsandbytes.nn.Linear4bit(
        weight.shape[1], weight.shape[0], bias=False, compute_dtype=weight.dtype, device="meta", **options
    )
    layer.weight = bitsandbytes.nn.Params4bit(weight, requires_grad=False, module=layer, **options)
    layer.weight = layer.weight.to(weight.device)
    return layer


def unquantized_layer(weight: torch.Tensor) -> nn.Module:
    """An `nn.Linear` with `weight` (out, in)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer


def random_llama(
    shape: LlamaShape,
    device: torch.device,
    dtype: torch.dtype,
    layer_of: Callable[[torch.Tensor], nn.Module] = quantized_layer,
) -> "LlamaForCausalLM":
    """A frozen model whose linear layers are made one at a time, so that no more than one of them is ever there
    unquantized.

    Args:
        shape: sizes.
        device, dtype: of the weights that are not quantized.
        layer_of: makes a linear layer, the output head excepted, from its weight.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers,
        intermediate_size=shape.intermediate_size,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        vocab_size=shape.vocabulary_size,
        max_position_embeddings=2**16,
        tie_word_embeddings=shape.tied_embeddings,
        attn_implementation="sdpa",
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config).to(dtype)
    generator = torch.Generator(device).manual_seed(0)

    def values(like: torch.Tensor) -> torch.Tensor:
        if like.dim() == 1:  # of a norm
            return torch.ones(like.shape, device=device, dtype=dtype)
        return torch.empty(like.shape, device=device, dtype=dtype).normal_(0, 0.02, generator=generator)

    head = model.get_output_embeddings()
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and module is not head:
            model.set_submodule(name, layer_of(values(module.weight)))
    for module in list(model.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_meta:
                setattr(module, name, nn.Parameter(values(parameter), requires_grad=False))
    model.tie_weights()
    with device:
        model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return model.requires_grad_(False)
