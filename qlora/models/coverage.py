"""What of a model is quantized, what is not, and why: nothing is skipped silently."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from qlora.layers.lora_linear import LoraLinear
from qlora.layers.quantized_linear import QuantizedLinear
from qlora.layers.trained_copy import TrainedCopy
from qlora.models.tasks import classifier_head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

EMBEDDING = "embeddings"
HEAD = "output head"
VECTOR = "norms, biases and other vectors"
ADAPTER = "adapter"
#: Reasons that hold for every model and need no second look.
EXPECTED = (EMBEDDING, HEAD, VECTOR, ADAPTER)


@dataclass(frozen=True)
class Quantized:
    """One quantized weight.

    Attributes:
        name: of its layer.
        parameters: how many.
        nbytes: codes and constants.
    """

    name: str
    parameters: int
    nbytes: int


@dataclass(frozen=True)
class Left:
    """One parameter that is not quantized.

    Attributes:
        name: of the parameter.
        parameters: how many.
        nbytes: stored.
        dtype: stored.
        reason: one of `EXPECTED`, or words of its own.
    """

    name: str
    parameters: int
    nbytes: int
    dtype: torch.dtype
    reason: str


@dataclass(frozen=True)
class Coverage:
    """Every parameter of a model once: tied ones count where they come first."""

    quantized: tuple[Quantized, ...]
    left: tuple[Left, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters, as stored."""
        return sum(entry.nbytes for entry in (*self.quantized, *self.left))

    @property
    def unexpected(self) -> tuple[Left, ...]:
        """What is left for a reason that not every model has: experts, routers, convolutions, named layers."""
        return tuple(entry for entry in self.left if entry.reason not in EXPECTED)

    def summary(self) -> str:
        """One line: what is quantized, at how many bits, and the sizes of what is left for the expected reasons."""
        parameters = sum(entry.parameters for entry in self.quantized)
        stored = sum(entry.nbytes for entry in self.quantized)
        done = (
            f"Quantized: {len(self.quantized)} layers, {_count(parameters)} parameters, {stored / 2**20:.1f} MiB "
            f"({8 * stored / parameters:.3f} bits each)"
            if parameters
            else "Quantized: nothing"
        )
        parts = [
            f"{reason} {_count(sum(e.parameters for e in self.left if e.reason == reason))}"
            for reason in EXPECTED
            if any(entry.reason == reason for entry in self.left)
        ]
        return f"{done}. Not quantized: {', '.join(parts) or 'nothing else'}."

    def warning(self) -> str | None:
        """One line that names what is left beyond the expected, layers of one kind together; None without any."""
        if not self.unexpected:
            return None
        groups: dict[tuple[str, str, torch.dtype], list[Left]] = {}
        for entry in self.unexpected:
            pattern = re.sub(r"(?<=\.)\d+(?=\.)", "*", entry.name)
            groups.setdefault((pattern, entry.reason, entry.dtype), []).append(entry)
        named = [
            f"{pattern} ({_plural(len(entries), 'tensor')}, {_count(sum(e.parameters for e in entries))} parameters, "
            f"{sum(e.nbytes for e in entries) / 2**20:.1f} MiB: {reason})"
            for (pattern, reason, _), entries in groups.items()
        ]
        dtypes = ", ".join(sorted({str(entry.dtype).removeprefix("torch.") for entry in self.unexpected}))
        return f"Left in {_words(dtypes)}: {'; '.join(named)}."


def coverage(model: "PreTrainedModel") -> Coverage:
    """Which parameters of a model are quantized, and for each other one the reason why not.

    Args:
        model: loaded with `QuantizationConfig`; an adapter may be attached.
    """
    classifier = classifier_head(model)
    outer = model.get_submodule(classifier) if classifier else model.get_output_embeddings()
    head = set() if outer is None else set(outer.modules())
    adapters = tuple(f"{n}.adapters." for n, m in model.named_modules() if isinstance(m, LoraLinear | TrainedCopy))
    quantized, left, seen = [], [], set()
    for name, module, parameter_name, parameter in _parameters(model):
        if id(parameter) in seen:
            continue
        seen.add(id(parameter))
        if isinstance(module, QuantizedLinear) and parameter_name == "weight":
            weight = module.quantized_weight
            quantized.append(Quantized(name, weight.shape.numel(), weight.nbytes))
            continue
        full_name = f"{name}.{parameter_name}" if name else parameter_name
        reason = ADAPTER if full_name.startswith(adapters) else _reason(model, name, module, parameter, head)
        left.append(Left(full_name, parameter.numel(), parameter.nbytes, parameter.dtype, reason))
    return Coverage(tuple(quantized), tuple(left))


def _parameters(model: nn.Module) -> Iterable[tuple[str, nn.Module, str, nn.Parameter]]:
    for name, module in model.named_modules():
        for parameter_name, parameter in module.named_parameters(recurse=False):
            yield name, module, parameter_name, parameter


def _reason(model: nn.Module, name: str, module: nn.Module, parameter: nn.Parameter, head: set[nn.Module]) -> str:
    kind = type(module).__name__
    if isinstance(module, nn.Embedding):
        return EMBEDDING
    if module in head:
        return HEAD
    if parameter.ndim < 2:
        return VECTOR
    if parameter.ndim == 3 and "expert" in f"{name} {kind}".lower():
        return f"mixture-of-experts weights, {parameter.shape[0]} experts in one tensor"
    if type(module) is nn.Linear or kind == "Conv1D":
        if any(part in name.split(".") for part in getattr(model, "_keep_in_fp32_modules", None) or ()):
            return "the model's definition asks for full precision"
        return "a linear layer that was to be skipped"
    return f"{kind} is not an nn.Linear"


def _count(parameters: int) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if parameters >= size:
            return f"{parameters / size:.1f} {letter}"
    return str(parameters)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _words(dtypes: str) -> str:
    return "16 bit" if dtypes in ("float16", "bfloat16") else dtypes
