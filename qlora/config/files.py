"""Configurations as plain data and as YAML files, in both directions."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qlora.config.settings import RunConfig
from qlora.errors import InputError


def from_mapping(fields: Any, config_type: type = RunConfig, where: str = "") -> Any:
    """Build a configuration from plain data, for example parsed YAML.

    Raises:
        InputError: an unknown key (the nearest known one is suggested), a value of the wrong type or out of range.
    """
    if not isinstance(fields, dict):
        raise InputError(f"{where or 'The configuration'} must be a mapping of keys to values, got {fields!r}.")
    known = typing.get_type_hints(config_type)
    built = {}
    for key, value in fields.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}."
            raise InputError(f"Unknown key {path!r}: {hint}")
        if dataclasses.is_dataclass(known[key]):
            built[key] = from_mapping(value, known[key], path)
        else:
            built[key] = _checked(value, known[key], path)
    return config_type(**built)


def _checked(value: Any, expected: Any, path: str) -> Any:
    """`value` as the type `expected`, where nothing is lost: 1 for 1.0, "2e-4" (a YAML string) for 2e-4."""
    if isinstance(expected, types.UnionType):
        if value is None:
            return None
        expected = next(t for t in expected.__args__ if t is not types.NoneType)
    if typing.get_origin(expected) is tuple:
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise InputError(f"{path} must be a list of texts, got {value!r}.")
    if typing.get_origin(expected) is dict:
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {key: _checked(item, expected.__args__[1], f"{path}.{key}") for key, item in value.items()}
        raise InputError(f"{path} must be a mapping of texts to numbers, got {value!r}.")
    if expected is float and not isinstance(value, bool):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number
    elif isinstance(value, expected) and isinstance(value, bool) == (expected is bool):
        return value
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    raise InputError(f"{path} must be {names[expected]}, got {value!r}.")


def load(path: Path | str) -> RunConfig:
    """Read a YAML file.

    Raises:
        InputError: no such file, not YAML, or not a configuration.
    """
    import yaml

    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"There is no configuration file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The configuration file {path} cannot be read: {error}") from None
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line} is not YAML: {getattr(error, 'problem', error)}.") from None
    try:
        return from_mapping(fields if fields is not None else {})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def with_changes(config: RunConfig, changes: Mapping[str, str]) -> RunConfig:
    """`config` with other values.

    Args:
        config: left as it is.
        changes: key (such as "training.steps" or "output") to value, as one would write it in YAML.

    Raises:
        InputError: as `from_mapping`; a value is not YAML.
    """
    import yaml

    fields = to_mapping(config)
    for key, text in changes.items():
        *sections, name = key.split(".")
        place = fields
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise InputError(f"Unknown key {key!r}: {section} holds no other keys.")
        try:
            place[name] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise InputError(f"{key} must be a value as in YAML, got {text!r}.") from None
    return from_mapping(fields)


def to_yaml(config: RunConfig) -> str:
    """The configuration as YAML that `load` reads back to an equal one."""
    import yaml

    return yaml.safe_dump(to_mapping(config), sort_keys=False, allow_unicode=True)


def to_mapping(config: Any) -> dict[str, Any]:
    """The configuration as plain data (dicts, lists, numbers, texts)."""
    fields = dataclasses.asdict(config)
    return {
        key: {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()} if isinstance(value, dict) else value
        for key, value in fields.items()
    }
