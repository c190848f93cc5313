"""Merging what a run has learnt into its model."""

from pathlib import Path

import torch

from qlora import config as configuration
from qlora import events
from qlora.adapters.checkpoint import load_adapter
from qlora.adapters.merge import save_merged
from qlora.errors import InputError
from qlora.models.load import load_quantized


def merge_run(
    run_folder: Path, output: Path, *, dtype: torch.dtype = torch.bfloat16, original: Path | None = None
) -> None:
    """Write the model of a run with its adapter merged, as a checkpoint of 16 bit (see `qlora.adapters.merge`).

    Args:
        run_folder: of a run that has saved its adapter.
        output: folder to write to; it must not exist, or be empty.
        dtype: to write.
        original: folder of the original 16-bit model, to merge into its weights instead of the dequantized ones.

    Raises:
        InputError: there is no run in `run_folder`, its model or adapter cannot be loaded, or as `save_merged`.
    """
    config_file = run_folder / events.CONFIG_NAME
    if not config_file.exists():
        raise InputError(f"There is no run in {run_folder}: name the output folder of a training run.")
    config = configuration.load(config_file)
    model, tokenizer = load_quantized(config.model, config.quantization, device=torch.device("cpu"), dtype=dtype)
    load_adapter(model, run_folder / events.ADAPTER_FOLDER)
    save_merged(model, output, tokenizer=tokenizer, dtype=dtype, original=original)
