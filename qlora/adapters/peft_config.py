"""PEFT's ``adapter_config.json``: what we write, and which of its options we read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qlora.config import AdapterConfig
from qlora.errors import InputError
from qlora.layers.lora_linear import LoraFactors

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
PICKLE_NAME = "adapter_model.bin"
_TASK_TYPES = {"causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM", "classification": "SEQ_CLS"}
_READ = {
    "peft_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "init_lora_weights",
}
# Options that change nothing of what a finished adapter computes: notes, what chose the layers (the tensors say which
# they are), how training went, and the orientation of the base weight, which is the model's matter.
_WITHOUT_EFFECT = {
    "task_type",
    "auto_mapping",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "fan_in_fan_out",
    "megatron_core",
    "megatron_config",
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "velora_config",
    "runtime_config",
    "ensure_weight_tying",
    "qalora_group_size",
}
# Ways to start an adapter that take something off the base weights; the adapter belongs to what is left of them.
_CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


def written(
    factors: Mapping[str, LoraFactors],
    *,
    target_modules: Sequence[str],
    modules_to_save: Sequence[str],
    base_model: str,
    task: str,
) -> dict[str, Any]:
    """The configuration of an adapter. The commonest rank and alpha stand alone; other layers are named in patterns.

    Args:
        factors: of each layer, by name; may be empty when modules are trained whole.
        target_modules, modules_to_save: as PEFT has them.
        base_model: name or folder of the base model.
        task: "causal", "seq2seq" or "classification".
    """
    some = next(iter(factors.values()), None)
    r = _commonest(f.r for f in factors.values())
    alpha = _commonest(f.alpha for f in factors.values())
    return {
        "peft_type": "LORA",
        "task_type": _TASK_TYPES[task],
        "base_model_name_or_path": base_model,
        "r": r,
        "lora_alpha": alpha,
        "lora_dropout": some.dropout if some else 0.0,
        "use_rslora": some.rslora if some else False,
        "rank_pattern": {name: f.r for name, f in factors.items() if f.r != r},
        "alpha_pattern": {name: f.alpha for name, f in factors.items() if f.alpha != alpha},
        "target_modules": list(target_modules),
        "modules_to_save": list(modules_to_save) or None,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
    }


def read(config: Mapping[str, Any], folder: Path) -> tuple[AdapterConfig, list[str]]:
    """The settings of an adapter, and the names (or ends of names) of the modules it holds whole.

    Options that this release of PEFT or a later one may have and that we do not know are refused unless they are off,
    because an adapter that computes something else than what was trained shows only in its answers.

    Args:
        config: as parsed.
        folder: for messages.

    Raises:
        InputError: the adapter is not LoRA, uses an option that we do not have, or a value is out of range; the option
            is named.
    """
    if config.get("peft_type") != "LORA":
        raise InputError(f"The adapter in {folder} is of type {config.get('peft_type')!r}, expected 'LORA'.")
    for option, value in config.items():
        off = value in (None, False, "none") or value == [] or value == {}
        if option not in _READ | _WITHOUT_EFFECT and not off:
            raise InputError(
                f"The adapter in {folder} uses the option {option} = {value!r}, which is not supported: use PEFT for "
                "it, or train without."
            )
    start = str(config.get("init_lora_weights", True)).lower()
    if start.startswith(_CHANGE_THE_BASE):
        raise InputError(
            f"The adapter in {folder} uses the option init_lora_weights = {start!r}, which changes the base weights "
            "too, so it does not belong to the original model: convert it to a plain one with PEFT."
        )
    try:
        settings = AdapterConfig(
            r=config["r"],
            alpha=config["lora_alpha"],
            dropout=config.get("lora_dropout") or 0.0,
            rslora=bool(config.get("use_rslora")),
            rank_pattern=config.get("rank_pattern") or {},
            alpha_pattern=config.get("alpha_pattern") or {},
        )
    except KeyError as error:
        raise InputError(f"The adapter in {folder} is damaged: its configuration has no {error}.") from None
    except (TypeError, AttributeError) as error:
        raise InputError(f"The adapter in {folder} is damaged: its configuration has a wrong type ({error}).") from None
    except InputError as error:
        raise InputError(f"The adapter in {folder} cannot be used: {error}") from None
    return settings, list(config.get("modules_to_save") or ())


def _commonest(values) -> Any:
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else 1
