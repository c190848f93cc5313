"""Adapters on a model: putting them on its linear layers, switching between several, taking them off."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from qlora.config import AdapterConfig, fits_pattern
from qlora.errors import InputError
from qlora.layers.lora_linear import DEFAULT_NAME, LoraFactors, LoraLinear
from qlora.layers.quantized_linear import QuantizedLinear
from qlora.layers.trained_copy import TrainedCopy


def attach(
    model: nn.Module,
    config: AdapterConfig,
    *,
    dtype: torch.dtype,
    seed: int = 0,
    name: str = DEFAULT_NAME,
    train_whole: Sequence[str] = (),
) -> list[str]:
    """Freeze `model` and put a LoRA adapter on its linear layers, which becomes the active one.

    On all linear layers but the output head unless `config.target_modules` names some, because that is what the paper
    found necessary to match full finetuning (section 4, figure 2). A model that has adapters gets another one; those
    it has stay as they are, and stop training.

    Args:
        model: changed in place.
        config: ranks, scaling, dropout and which layers.
        dtype: of the adapter.
        seed: of lora_A's initial values.
        name: of the adapter.
        train_whole: names of modules, or last parts of names, of which the adapter trains a copy (PEFT's
            ``modules_to_save``); no low-rank factors are put inside them.

    Returns:
        The names of the layers that got one, in the order of the model.

    Raises:
        InputError: there is no linear layer to put one on, the model has an adapter of this name, a name in
            `config.target_modules` or `train_whole` fits nothing (the nearest names are suggested), or a module to
            train whole is quantized.
    """
    check_name(model, name)
    whole = _modules_named(model, train_whole)
    candidates = [n for n in linear_layers(model) if not any(n == w or n.startswith(f"{w}.") for w in whole)]
    if not candidates:
        raise InputError(f"{type(model).__name__} has no linear layer that an adapter could be put on.")
    names = _matching(candidates, config.target_modules)
    for field in ("rank_pattern", "alpha_pattern"):
        for pattern in getattr(config, field):
            if not any(fits_pattern(pattern, n) for n in names):
                raise InputError(f"adapter.{field}: {pattern!r} fits no adapted layer. {_nearest(pattern, names)}")
    add_adapter(model, names, whole, config, dtype=dtype, name=name, seed=seed)
    return names


def add_adapter(
    model: nn.Module,
    layers: Sequence[str],
    whole: Sequence[str],
    config: AdapterConfig,
    *,
    dtype: torch.dtype,
    name: str,
    seed: int = 0,
) -> None:
    """Put an adapter on exactly the named modules and make it the active one.

    Args:
        layers: names of linear layers.
        whole: names of the modules of which the adapter trains a copy.
        config, dtype, name, seed: as in `attach`; `config.target_modules` is not looked at.

    Raises:
        InputError: a module to train whole is quantized.
    """
    if not adapter_names(model):
        model.requires_grad_(False)
    for module_name in whole:
        module = model.get_submodule(module_name)
        try:
            if isinstance(module, TrainedCopy):
                module.add(name, dtype)
            else:
                model.set_submodule(module_name, TrainedCopy(module, name, dtype).train(module.training))
        except ValueError as error:
            raise InputError(
                f"{module_name} cannot be trained whole ({error}): load the model with it in skip_modules, and let no "
                "adapter choose layers inside it."
            ) from None
    generator = torch.Generator().manual_seed(seed)
    for layer_name in layers:
        layer = model.get_submodule(layer_name)
        options = {"dropout": config.dropout, "rslora": config.rslora, "dtype": dtype, "generator": generator}
        r, alpha = config.rank_of(layer_name), config.alpha_of(layer_name)
        if isinstance(layer, LoraLinear):
            layer.add(name, r, alpha, **options)
        else:
            # A new module is in training mode, where dropout drops; the model may not be.
            adapted = LoraLinear(layer, r, alpha, name=name, **options).train(layer.training)
            model.set_submodule(layer_name, adapted)
    switch_adapter(model, name)


def check_name(model: nn.Module, name: str) -> None:
    """Refuse a name that a new adapter of `model` cannot have.

    Raises:
        InputError: it is taken, empty, has a dot in it, or is a word that modules use themselves.
    """
    if name in adapter_names(model):
        raise InputError(f"The model has an adapter {name!r} already: give another name, or delete that one first.")
    if not name or "." in name or hasattr(nn.ModuleDict(), name):
        raise InputError(f"An adapter cannot be named {name!r}: use letters, digits, - and _.")


def switch_adapter(model: nn.Module, name: str) -> None:
    """Make the adapter `name` the active one: the model computes with it, and it alone is trainable.

    Raises:
        InputError: the model has no adapter of this name; those it has are named.
    """
    _check_known(model, name)
    for _, layer in _carriers(model):
        layer.active = name
        for own, module in layer.adapters.items():
            module.requires_grad_(own == name)


def delete_adapter(model: nn.Module, name: str) -> None:
    """Take the adapter `name` off. A layer without any left is the plain layer again; if the active adapter is deleted,
    the model is the base model until another one is switched to.

    Raises:
        InputError: as `switch_adapter`.
    """
    _check_known(model, name)
    for layer_name, layer in list(_carriers(model)):
        if name in layer.adapters:
            del layer.adapters[name]
        if layer.active == name:
            layer.active = None
        if not layer.adapters:
            model.set_submodule(layer_name, layer.base)


def adapter_names(model: nn.Module) -> list[str]:
    """The adapters of `model`, in the order of its layers."""
    return list(dict.fromkeys(name for _, layer in _carriers(model) for name in layer.adapters))


def active_adapter(model: nn.Module) -> str | None:
    """The adapter that the model computes with; None for the base model."""
    return next((layer.active for _, layer in _carriers(model)), None)


def adapted_layers(model: nn.Module, name: str | None = None) -> Iterator[tuple[str, LoraLinear]]:
    """Names and modules of the layers that carry low-rank factors of the adapter `name`, or of any."""
    for layer_name, layer in _carriers(model):
        if isinstance(layer, LoraLinear) and (name is None or name in layer.adapters):
            yield layer_name, layer


def trained_copies(model: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Names of the modules that the adapter `name` trains whole, each with the adapter's copy."""
    for module_name, module in _carriers(model):
        if isinstance(module, TrainedCopy) and name in module.adapters:
            yield module_name, module.adapters[name]


def adapter_parameters(model: nn.Module) -> list[nn.Parameter]:
    """What the active adapter trains, in the order of the model: lora_A and lora_B of every layer, and its copies."""
    return [
        parameter
        for _, layer in _carriers(model)
        if layer.active in layer.adapters
        for parameter in layer.adapters[layer.active].parameters()
    ]


def factors_of(model: nn.Module, name: str) -> dict[str, LoraFactors]:
    """The factors of the adapter `name` by the names of their layers."""
    return {layer_name: layer.adapters[name] for layer_name, layer in adapted_layers(model, name)}


@contextmanager
def adapters_disabled(model: nn.Module) -> Iterator[None]:
    """Inside, the model is the base model; adapters are as before afterwards."""
    layers = [layer for _, layer in _carriers(model)]
    before = [layer.active for layer in layers]
    for layer in layers:
        layer.active = None
    try:
        yield
    finally:
        for layer, active in zip(layers, before, strict=True):
            layer.active = active


def linear_layers(model: nn.Module) -> list[str]:
    """Names of the layers that an adapter can be put on: all linear layers but the output head."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    inside = tuple(f"{name}." for name, _ in _carriers(model))
    return [
        name
        for name, module in model.named_modules()
        if (isinstance(module, LoraLinear | QuantizedLinear) or type(module) is nn.Linear)
        and module is not head
        and not name.startswith(inside)
    ]


def _carriers(model: nn.Module) -> Iterator[tuple[str, LoraLinear | TrainedCopy]]:
    return ((n, module) for n, module in model.named_modules() if isinstance(module, LoraLinear | TrainedCopy))


def _check_known(model: nn.Module, name: str) -> None:
    if name not in (known := adapter_names(model)):
        have = f"it has {', '.join(known)}" if known else "it has none"
        raise InputError(f"The model has no adapter {name!r}: {have}.")


def _matching(candidates: list[str], patterns: Sequence[str]) -> list[str]:
    """Those of the layers that a pattern fits; all of them without a pattern."""
    if not patterns:
        return candidates
    fitting = {pattern: [name for name in candidates if fits_pattern(pattern, name)] for pattern in patterns}
    for pattern, names in fitting.items():
        if not names:
            raise InputError(
                f"adapter.target_modules: {pattern!r} fits no linear layer. {_nearest(pattern, candidates)}"
            )
    found = {name for names in fitting.values() for name in names}
    return [name for name in candidates if name in found]


def _modules_named(model: nn.Module, wanted: Sequence[str]) -> list[str]:
    """Names of the outermost modules whose name, or end of it, is one of those wanted."""
    names = [name for name, _ in model.named_modules() if name]
    found: list[str] = []
    for want in wanted:
        fitting = [name for name in names if name == want or name.endswith(f".{want}")]
        if not fitting:
            raise InputError(f"The model has no module {want!r} to train whole. {_nearest(want, names)}")
        found += [n for n in fitting if not any(n == other or n.startswith(f"{other}.") for other in found)]
    return found


def _nearest(wanted: str, names: Sequence[str]) -> str:
    ends = list(dict.fromkeys(name.rpartition(".")[2] for name in names))
    near = difflib.get_close_matches(wanted.rpartition(".")[2], ends, n=3)
    if near:
        return f"Did you mean {' or '.join(map(repr, near))}?"
    shown = [end for end in ends if not end.isdigit()]
    return f"It has {', '.join(shown[:12])}{', …' if len(shown) > 12 else ''}."
