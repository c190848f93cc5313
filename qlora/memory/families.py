"""What a configuration of transformers says of a model's shape, family by family.

A reader takes the configuration's fields and the number of labels where the model is to be a classifier, and returns
the fields of the shape but its name. Defaults are those of transformers, because a configuration need not name them.
"""

from collections.abc import Mapping
from typing import Any

from qlora.errors import InputError
from qlora.memory.shapes import LayerNormShape, LlamaShape, MixtureShape, T5Shape, require_whole


class UnknownFamily(InputError):
    """A model whose memory is not known here. It may train all the same."""


def _size(config: Mapping[str, Any], *names: str) -> int:
    for name in names:
        if config.get(name) is not None:
            require_whole(config[name], f"The field {name!r}", 1, 2**31)
            return config[name]
    raise InputError(f"It has no field {names[0]!r}, which is needed for the model's shape.")


def _flag(config: Mapping[str, Any], name: str, default: bool) -> bool:
    value = config.get(name)
    return default if value is None else bool(value)


def _llama(config: Mapping[str, Any], labels: int | None) -> dict[str, Any]:
    family = config["model_type"]
    heads, h, f = (_size(config, key) for key in ("num_attention_heads", "hidden_size", "intermediate_size"))
    head_size = config.get("head_dim") or {"qwen3": 128, "gemma": 256}.get(family)
    if family in ("llama", "phi3"):
        # LLaMA's first checkpoints were written before there were fewer of these than heads.
        key_value_heads = config.get("num_key_value_heads") or heads
    else:
        key_value_heads = _size(config, "num_key_value_heads")
    query_size, key_value_size = ((head_size or h // heads) * count for count in (heads, key_value_heads))
    biases = 0
    if family == "qwen2" or (family == "qwen2_moe" and _flag(config, "qkv_bias", True)):
        biases = query_size + 2 * key_value_size
    elif _flag(config, "attention_bias", False):
        biases = query_size + 2 * key_value_size + h
    if _flag(config, "mlp_bias", False):
        biases += 2 * f + h
    return {
        "hidden_size": h,
        "layers": _size(config, "num_hidden_layers"),
        "heads": heads,
        "intermediate_size": f,
        "vocabulary_size": _size(config, "vocab_size"),
        "key_value_heads": key_value_heads,
        "tied_embeddings": _flag(config, "tie_word_embeddings", family == "gemma"),
        "head_size": head_size,
        "query_key_norms": family in ("qwen3", "qwen3_moe"),
        "biases": biases,
        "fused": family == "phi3",
        "shifted_norms": family == "gemma",
        "dropout": _flag(config, "resid_pdrop", False),
        "labels": labels,
    }


def _mixtral(config: Mapping[str, Any], labels: int | None) -> dict[str, Any]:
    return {
        **_llama(config, labels),
        "experts": _size(config, "num_local_experts", "num_experts"),
        "experts_per_token": _size(config, "num_experts_per_tok"),
        "exact_scores": True,
    }


def _qwen_mixture(config: Mapping[str, Any], labels: int | None) -> dict[str, Any]:
    fields = _llama(config, labels)
    every, dense = config.get("decoder_sparse_step") or 1, config.get("mlp_only_layers") or ()
    return {
        **fields,
        "experts": _size(config, "num_experts", "num_local_experts"),
        "experts_per_token": _size(config, "num_experts_per_tok"),
        "expert_size": _size(config, "moe_intermediate_size"),
        "shared_expert_size": _size(config, "shared_expert_intermediate_size")
        if config["model_type"] == "qwen2_moe"
        else 0,
        "dense_layers": tuple(i for i in range(fields["layers"]) if i in dense or (i + 1) % every),
        "normalized_scores": _flag(config, "norm_topk_prob", False),
    }


def _opt(config: Mapping[str, Any], labels: int | None) -> dict[str, Any]:
    h, f, layers = (_size(config, key) for key in ("hidden_size", "ffn_dim", "num_hidden_layers"))
    width = config.get("word_embed_proj_dim") or h
    norms_after = not _flag(config, "do_layer_norm_before", True)
    norms = 2 * layers + (not norms_after)
    # Positions begin at the third row of their table.
    kept = _tables(config, width, labels, tied=True) + (_size(config, "max_position_embeddings") + 2) * h
    if _flag(config, "layer_norm_elementwise_affine", True):
        kept += norms * 2 * h
    if _flag(config, "enable_bias", True):
        kept += layers * (5 * h + f)
    return {
        **_layer_norm(config, (h, f, layers, _size(config, "num_attention_heads")), kept, labels),
        "embedding_size": width,
        "norms_after": norms_after,
        "dropout": _drops(config, "dropout", 0.1),
    }


def _gpt_neox(config: Mapping[str, Any], labels: int | None) -> dict[str, Any]:
    h, f, layers = (_size(config, key) for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    heads = _size(config, "num_attention_heads")
    biases = f + h + (4 * h if _flag(config, "attention_bias", True) else 0)
    kept = _tables(config, h, labels, tied=False) + (2 * layers + 1) * 2 * h + layers * biases
    return {
        **_layer_norm(config, (h, f, layers, heads), kept, labels),
        "parallel": _flag(config, "use_parallel_residual", True),
        "rotary_size": _rotated(config, h // heads),
        "dropout": _drops(config, "hidden_dropout", 0.0),
    }


def _bloom(config: Mapping[str, Any], labels: int | None) -> dict[str, Any]:
    h, layers = _size(config, "hidden_size", "n_embed"), _size(config, "n_layer", "num_hidden_layers")
    # The embedding has a norm of its own.
    kept = _tables(config, h, labels, tied=True) + (2 * layers + 2) * 2 * h + layers * 9 * h
    return {
        **_layer_norm(config, (h, 4 * h, layers, _size(config, "n_head", "num_attention_heads")), kept, labels),
        "dropout": _drops(config, "hidden_dropout", 0.0),
    }


def _bert(config: Mapping[str, Any], labels: int | None) -> dict[str, Any]:
    h, f, layers = (_size(config, key) for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    # transformers takes two classes where a configuration names none.
    labels = labels or len(config.get("id2label") or ()) or config.get("num_labels") or 2
    tables = sum(_size(config, key) for key in ("vocab_size", "max_position_embeddings", "type_vocab_size"))
    # RoBERTa's head has two matrices; before BERT's comes a pooler, of which the bias is left.
    head = (h * h + h if config["model_type"] == "roberta" else h) + labels * (h + 1)
    kept = (tables + 2) * h + layers * (9 * h + f) + head
    return {
        **_layer_norm(config, (h, f, layers, _size(config, "num_attention_heads")), kept, labels),
        "norms_after": True,
        "dropout": _drops(config, "hidden_dropout_prob", 0.1),
    }


def _layer_norm(config: Mapping[str, Any], sizes: tuple[int, ...], kept: int, labels: int | None) -> dict[str, Any]:
    names = ("hidden_size", "intermediate_size", "layers", "heads")
    return {
        "family": config["model_type"],
        **dict(zip(names, sizes, strict=True)),
        "vocabulary_size": _size(config, "vocab_size"),
        "unquantized_parameters": kept,
        "labels": labels,
    }


def _t5(config: Mapping[str, Any], labels: int | None) -> dict[str, Any]:
    if labels is not None:
        raise UnknownFamily("T5 is known here as a model that writes, not as a classifier.")
    part = config.get("feed_forward_proj") or "relu"
    if part not in ("relu", "gated-gelu"):
        raise UnknownFamily(f"T5's feed-forward part is known here as relu or gated-gelu, not as {part!r}.")
    encoder = _size(config, "num_layers")
    return {
        "hidden_size": _size(config, "d_model"),
        "encoder_layers": encoder,
        "decoder_layers": config.get("num_decoder_layers") or encoder,
        "heads": _size(config, "num_heads"),
        "head_size": _size(config, "d_kv"),
        "intermediate_size": _size(config, "d_ff"),
        "vocabulary_size": _size(config, "vocab_size"),
        "gated": part == "gated-gelu",
        "tied_embeddings": _flag(config, "tie_word_embeddings", True),
        "position_buckets": config.get("relative_attention_num_buckets") or 32,
        "dropout": _drops(config, "dropout_rate", 0.1),
    }


def _tables(config: Mapping[str, Any], width: int, labels: int | None, *, tied: bool) -> int:
    """Weights of the embedding, and of the head unless it is the same; a classifier has a small one."""
    vocabulary = _size(config, "vocab_size")
    if labels is not None:
        return (vocabulary + labels) * width
    return vocabulary * width * (1 if _flag(config, "tie_word_embeddings", tied) else 2)


def _rotated(config: Mapping[str, Any], head_size: int) -> int:
    """Of a GPT-NeoX head's width, what is rotated, in pairs; the share stands under its newer name or its older one."""
    rope = config.get("rope_parameters") or {}
    width = int(head_size * (rope.get("partial_rotary_factor") or config.get("rotary_pct") or 0.25))
    return width + width % 2


def _drops(config: Mapping[str, Any], name: str, default: float) -> bool:
    value = config.get(name)
    return bool(default if value is None else value)


#: Family, as ``model_type`` names it -> its kind of shape, and what reads the shape's fields from a configuration.
FAMILIES = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "phi3"), (LlamaShape, _llama)),
    "mixtral": (MixtureShape, _mixtral),
    **dict.fromkeys(("qwen2_moe", "qwen3_moe"), (MixtureShape, _qwen_mixture)),
    "opt": (LayerNormShape, _opt),
    "gpt_neox": (LayerNormShape, _gpt_neox),
    "bloom": (LayerNormShape, _bloom),
    **dict.fromkeys(("bert", "roberta"), (LayerNormShape, _bert)),
    "t5": (T5Shape, _t5),
}
