"""A model's config.json as a shape that memory is estimated from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qlora.errors import InputError
from qlora.memory.shapes import LLAMA, SMOLLM2_135M, LayerNormShape, LlamaShape, Shape, require_whole

#: Shapes that need no file, by the name that `known_shape` takes.
NAMED_SHAPES: dict[str, Shape] = {
    **{f"llama-{size.lower()}": shape for size, shape in LLAMA.items()},
    "smollm2-135m-instruct": SMOLLM2_135M,
}


def known_shape(model: str) -> Shape | None:
    """The shape of a model that is known by name or lies on this machine.

    Args:
        model: a key of `NAMED_SHAPES`, a folder with a config.json, or a config.json itself.

    Returns:
        None when it is none of these, and so may be a hub name.

    Raises:
        InputError: the file is missing from the folder or cannot be read, or as `shape_of_config`.
    """
    if model.lower() in NAMED_SHAPES:
        return NAMED_SHAPES[model.lower()]
    path = Path(model).expanduser()
    if path.is_dir():
        path = path / "config.json"
    elif path.suffix != ".json":
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"There is no model configuration {path}.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"The model configuration {path} cannot be read: {error}.") from None
    if not isinstance(config, dict):
        raise InputError(f"The model configuration {path} is not an object with named fields.")
    try:
        return shape_of_config(config, path.resolve().parent.name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def shape_of_config(config: Mapping[str, Any], name: str) -> Shape:
    """The shape that a configuration of transformers describes.

    Args:
        config: what config.json holds, or ``model.config.to_dict()``.
        name: of the model, for messages and charts.

    Raises:
        InputError: a family that is not known here, a size that is missing or out of range, or an option that changes
            the shape in a way that is not known here.
    """
    family = config.get("model_type")
    if family not in _FAMILIES:
        raise InputError(f"The model family {family!r} is not one whose memory is known: {', '.join(_FAMILIES)}.")
    return _FAMILIES[family](config, name)


def _size(config: Mapping[str, Any], *names: str) -> int:
    for name in names:
        if config.get(name) is not None:
            require_whole(config[name], f"The field {name!r}", 1, 2**31)
            return config[name]
    raise InputError(f"It has no field {names[0]!r}, which is needed for the model's shape.")


def _flag(config: Mapping[str, Any], name: str, default: bool) -> bool:
    value = config.get(name)
    return default if value is None else bool(value)


def _llama_like(config: Mapping[str, Any], name: str) -> LlamaShape:
    family = config["model_type"]
    heads = _size(config, "num_attention_heads")
    shape = LlamaShape(
        name=name,
        hidden_size=_size(config, "hidden_size"),
        layers=_size(config, "num_hidden_layers"),
        heads=heads,
        intermediate_size=_size(config, "intermediate_size"),
        vocabulary_size=_size(config, "vocab_size"),
        # LLaMA's first checkpoints were written before there were fewer of these than heads.
        key_value_heads=config.get("num_key_value_heads") or heads
        if family == "llama"
        else _size(config, "num_key_value_heads"),
        tied_embeddings=_flag(config, "tie_word_embeddings", False),
        head_size=config.get("head_dim") or (128 if family == "qwen3" else None),
        query_key_norms=family == "qwen3",
    )
    h, q, v = shape.hidden_size, shape.query_size, shape.key_value_size
    biases = 0
    if family == "qwen2":
        biases = q + 2 * v
    elif _flag(config, "attention_bias", False):
        biases = q + 2 * v + h
    if _flag(config, "mlp_bias", False):
        biases += 2 * shape.intermediate_size + h
    return LlamaShape(**{**vars(shape), "biases": biases})


def _opt(config: Mapping[str, Any], name: str) -> LayerNormShape:
    h, f, layers = (_size(config, key) for key in ("hidden_size", "ffn_dim", "num_hidden_layers"))
    if config.get("word_embed_proj_dim", h) != h:
        raise InputError("The embeddings are narrower than the model (word_embed_proj_dim), which is not known here.")
    biased, scaled = _flag(config, "enable_bias", True), _flag(config, "layer_norm_elementwise_affine", True)
    norms = 2 * layers + (_flag(config, "do_layer_norm_before", True))
    # Positions begin at the third row of their table.
    tables = _size(config, "vocab_size") * (1 if _flag(config, "tie_word_embeddings", True) else 2)
    tables += _size(config, "max_position_embeddings") + 2
    kept = tables * h + (norms * 2 * h if scaled else 0) + (layers * (5 * h + f) if biased else 0)
    return _layer_norm_shape(config, name, h, f, layers, _size(config, "num_attention_heads"), kept)


def _gpt_neox(config: Mapping[str, Any], name: str) -> LayerNormShape:
    h, f, layers = (_size(config, key) for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    tables = _size(config, "vocab_size") * (1 if _flag(config, "tie_word_embeddings", False) else 2)
    biases = f + h + (4 * h if _flag(config, "attention_bias", True) else 0)
    kept = tables * h + (2 * layers + 1) * 2 * h + layers * biases
    return _layer_norm_shape(config, name, h, f, layers, _size(config, "num_attention_heads"), kept)


def _bloom(config: Mapping[str, Any], name: str) -> LayerNormShape:
    h, layers = _size(config, "hidden_size", "n_embed"), _size(config, "n_layer", "num_hidden_layers")
    tables = _size(config, "vocab_size") * (1 if _flag(config, "tie_word_embeddings", True) else 2)
    # The embedding has a norm of its own.
    kept = tables * h + (2 * layers + 2) * 2 * h + layers * 9 * h
    return _layer_norm_shape(config, name, h, 4 * h, layers, _size(config, "n_head", "num_attention_heads"), kept)


def _layer_norm_shape(config, name: str, h: int, f: int, layers: int, heads: int, kept: int) -> LayerNormShape:
    return LayerNormShape(name, config["model_type"], h, layers, heads, f, _size(config, "vocab_size"), kept)


_FAMILIES = {
    "llama": _llama_like,
    "mistral": _llama_like,
    "qwen2": _llama_like,
    "qwen3": _llama_like,
    "opt": _opt,
    "gpt_neox": _gpt_neox,
    "bloom": _bloom,
}
