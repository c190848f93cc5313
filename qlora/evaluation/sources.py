"""A model to ask or to measure, from whatever names one."""

from pathlib import Path
from typing import TYPE_CHECKING

from qlora import config as configuration
from qlora.config import ModelConfig, RunConfig
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


def load(config: RunConfig, adapter: Path | None) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """The quantized model of a configuration with an adapter, in evaluation mode, and its tokenizer.

    Raises:
        InputError: the model or the adapter cannot be loaded.
    """
    from qlora.adapters.checkpoint import load_adapter
    from qlora.models.load import load_quantized
    from qlora.training.preflight import choose_device, choose_dtype

    device = choose_device(config)
    dtype = choose_dtype(config, device)
    model, tokenizer = load_quantized(config.model, config.quantization, device=device, dtype=dtype)
    if adapter is not None:
        load_adapter(model, adapter, dtype=dtype)
    return model.eval(), tokenizer
