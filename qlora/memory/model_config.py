"""A model's config.json as a shape that memory is estimated from."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from qlora import hub
from qlora.errors import InputError
from qlora.memory.families import FAMILIES, UnknownFamily
from qlora.memory.shapes import LLAMA, SMOLLM2_135M, Shape

#: Shapes that need no file, by the name that `known_shape` takes.
NAMED_SHAPES: dict[str, Shape] = {
    **{f"llama-{size.lower()}": shape for size, shape in LLAMA.items()},
    "smollm2-135m-instruct": SMOLLM2_135M,
}


def shape_of(model: str, labels: int | None = None) -> Shape:
    """The shape of a model known by name, lying here, or on the hub, of which its configuration alone is fetched.

    Args:
        model: a key of `NAMED_SHAPES`, a folder with a config.json, a config.json itself, or a hub name.
        labels: classes, where the model is to be a classifier.

    Raises:
        UnknownFamily: its family is not known here.
        InputError: no such model, no network, or as `known_shape`.
    """
    if (shape := known_shape(model, labels)) is not None:
        return shape
    if not hub.is_name(model):
        raise InputError(
            f"There is no model {model}: give one of {', '.join(NAMED_SHAPES)}, a folder, a config.json or a hub name."
        )
    from transformers import PreTrainedConfig

    cached_only = not hub.reachable()
    try:
        config, _ = PreTrainedConfig.get_config_dict(model, local_files_only=cached_only)
    except (OSError, ValueError) as error:
        if cached_only:
            raise hub.no_network("model", model, "folder") from None
        raise InputError(
            f"The configuration of {model!r} is not on this machine and could not be fetched. Check the name, or give "
            f"a local folder. ({str(error).splitlines()[0]})"
        ) from error
    return shape_of_config(config, model, labels)


def known_shape(model: str, labels: int | None = None) -> Shape | None:
    """The shape of a model that is known by name or lies on this machine.

    Args:
        model: a key of `NAMED_SHAPES`, a folder with a config.json, or a config.json itself.
        labels: as in `shape_of_config`.

    Returns:
        None when it is none of these, and so may be a hub name.

    Raises:
        UnknownFamily: as `shape_of_config`.
        InputError: the file is missing from the folder or cannot be read, or as `shape_of_config`.
    """
    if model.lower() in NAMED_SHAPES:
        return replace(NAMED_SHAPES[model.lower()], labels=labels)
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
        return shape_of_config(config, path.resolve().parent.name, labels)
    except InputError as error:
        raise type(error)(f"{path}: {error}") from None


def shape_of_config(config: Mapping[str, Any], name: str, labels: int | None = None) -> Shape:
    """The shape that a configuration of transformers describes.

    Args:
        config: what config.json holds, or ``model.config.to_dict()``.
        name: of the model, for messages and charts.
        labels: classes, where the model is to be a classifier. BERT and RoBERTa are nothing else here; without this
            they have as many as the configuration names.

    Raises:
        UnknownFamily: the family is not known here.
        InputError: a size that is missing or out of range, or an option that changes the shape in a way that is not
            known here.
    """
    family = config.get("model_type")
    if family not in FAMILIES:
        raise UnknownFamily(f"The model family {family!r} is not one whose memory is known: {', '.join(FAMILIES)}.")
    kind, read = FAMILIES[family]
    return kind(name=name, **read(config, labels))
