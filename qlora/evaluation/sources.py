"""A model to ask or to measure, from whatever names one."""

from pathlib import Path
from typing import TYPE_CHECKING

from qlora import config as configuration
from qlora.config import ModelConfig, RunConfig
from qlora.errors import InputError
from qlora.events import ADAPTER_FOLDER, CONFIG_NAME

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def described(source: str | Path) -> tuple[RunConfig, Path | None]:
    """The configuration that a source stands for, and the folder of its adapter if it has one.

    Args:
        source: a YAML configuration (its base model), the folder of a run (with the run's adapter), or a model (the
            demo model's name, a folder, a hub name), which is quantized to NF4 unless it is already.

    Raises:
        InputError: the configuration cannot be used.
    """
    path = Path(source).expanduser()
    if (path / CONFIG_NAME).exists():
        return configuration.load(path / CONFIG_NAME), path / ADAPTER_FOLDER
    if path.suffix in (".yaml", ".yml"):
        return configuration.load(path), None
    return RunConfig(model=ModelConfig(str(source))), None


def adapted(source: str | Path, adapter: str | None = None) -> tuple[RunConfig, Path | str]:
    """As `described`, where there must be an adapter.

    Args:
        source: as in `described`.
        adapter: a folder or a hub name, in place of the run's own.

    Raises:
        InputError: there is none, or the configuration cannot be used.
    """
    config, of_run = described(source)
    if adapter is not None:
        return config, adapter
    if of_run is None:
        raise InputError(f"There is no run in {source}: name the output folder of a training run, or give --adapter.")
    if not of_run.exists():
        from qlora.training import checkpoint

        newest = checkpoint.latest(of_run.parent)
        way = f"its newest checkpoint has one: --adapter {newest / ADAPTER_FOLDER}" if newest else "let it end first"
        raise InputError(f"The run in {source} has saved no adapter, which it does at its end: {way}.")
    return config, of_run


def load(config: RunConfig, adapter: Path | str | None) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """The quantized model of a configuration with an adapter, in evaluation mode, and its tokenizer.

    Args:
        config: of which model, quantization and device count.
        adapter: as in `load_adapter`; None for the base model.

    Raises:
        InputError: the model or the adapter cannot be loaded, or the model is for another task than writing on.
    """
    from qlora.adapters.checkpoint import load_adapter
    from qlora.adapters.source import locate
    from qlora.models.load import load_quantized
    from qlora.training.preflight import choose_device, choose_dtype

    if config.model.task != "causal":
        raise InputError(f"model.task is {config.model.task}: only causal models can be asked with this command.")
    folder = None if adapter is None else locate(adapter)  # before minutes go into the model
    device = choose_device(config)
    dtype = choose_dtype(config, device)
    model, tokenizer = load_quantized(config.model, config.quantization, device=device, dtype=dtype)
    if folder is not None:
        load_adapter(model, folder, dtype=dtype)
    return model.eval(), tokenizer
