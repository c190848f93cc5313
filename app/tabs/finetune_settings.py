"""The settings of the Finetune tab: presets, the form's fields, and the run that they describe."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import qlora
from app.text import finetune as text
from qlora import config as configuration
from qlora.config import RunConfig
from qlora.data.formats import read_samples
from qlora.errors import InputError

DEMO_RECIPE = Path(qlora.__file__).parent / "recipes" / "demo.yaml"
# The demo's weights, adapters and gradients take 198 MiB, activations 24 to 39 and optimizer pages 37: a short batch
# leaves all pages their room, a long one does not.
SMALL_DEVICE_MIB = 260.0

_BUDGET = "device_budget_mib"
# What the form can change: section and field of the configuration.
FIELDS = (
    ("training", "steps"),
    ("training", "batch_size"),
    ("data", "max_length"),
    ("optimizer", "learning_rate"),
    ("adapter", "r"),
    ("quantization", "quant_type"),
    ("optimizer", _BUDGET),
)


@functools.cache
def demo() -> RunConfig:
    """The demo recipe."""
    return configuration.load(DEMO_RECIPE)


def preset_config(preset: str) -> RunConfig:
    """The configuration that a preset stands for.

    Args:
        preset: a key of `app.text.finetune.PRESETS`.
    """
    config = demo()
    if preset == "short":
        training = config.training
        steps = max(1, training.steps // 4)
        short = dataclasses.replace(training, steps=steps, warmup_steps=min(training.warmup_steps, steps))
        return dataclasses.replace(config, training=short)
    if preset == "small_device":
        # On its own the run would keep what fits, and the activations of a long batch would push out less.
        checkpointed = dataclasses.replace(config.training, activations="checkpoint")
        tight = dataclasses.replace(config.optimizer, device_budget_mib=SMALL_DEVICE_MIB)
        return dataclasses.replace(config, optimizer=tight, training=checkpointed)
    return config


def field_values(config: RunConfig) -> list[Any]:
    """What the form's fields show for a configuration, in the order of `FIELDS`; 0 stands for no budget, because
    gradio shows an empty number as 0 until it is touched."""
    values = {field: getattr(getattr(config, section), field) for section, field in FIELDS}
    return list((values | {_BUDGET: values[_BUDGET] or 0}).values())


def chosen_config(preset: str, *values: Any) -> RunConfig:
    """The preset with the form's values.

    Raises:
        InputError: a value is missing, of the wrong type or out of range.
    """
    mapping = configuration.to_mapping(preset_config(preset))
    for (section, field), value in zip(FIELDS, values, strict=True):
        mapping[section][field] = None if field == _BUDGET and value == 0 else value
    if isinstance(steps := mapping["training"]["steps"], int):
        mapping["training"]["warmup_steps"] = max(0, min(mapping["training"]["warmup_steps"], steps))
    return configuration.from_mapping(mapping)


def plan(config: RunConfig, instructions: str | None) -> str:
    """What a run with this configuration will do, in a sentence.

    Raises:
        InputError: the instruction file cannot be used.
    """
    data = text.PLAN_PACKAGED_DATA
    if instructions:
        data = text.PLAN_UPLOAD.format(count=len(read_upload(instructions)), name=Path(instructions).name)
    one, many = text.PLAN_BATCH
    batch, budget = config.training.batch_size, config.optimizer.device_budget_mib
    return text.PLAN.format(
        steps=config.training.steps,
        batch=(one if batch == 1 else many).format(count=batch),
        max_length=config.data.max_length,
        data=data,
        model=text.DEMO_MODEL if config.model.name == demo().model.name else config.model.name,
        data_type=text.DATA_TYPES[config.quantization.quant_type],
        double_quantization=text.PLAN_DOUBLE_QUANTIZATION if config.quantization.double_quantization else "",
        r=config.adapter.r,
        budget="" if budget is None else text.PLAN_BUDGET.format(budget=budget),
    )


def read_upload(path: str) -> list:
    """The samples of an uploaded file.

    Raises:
        InputError: it cannot be used; the message names it as the visitor does, without the server's folders.
    """
    try:
        return read_samples(path)
    except InputError as error:
        raise InputError(str(error).replace(path, Path(path).name)) from None
