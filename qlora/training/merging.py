"""Merging what a run has learnt into its model."""

from pathlib import Path

import torch

from qlora.adapters.checkpoint import load_adapter
from qlora.adapters.merge import save_merged
from qlora.adapters.source import locate
from qlora.data.chat import stop_ids
from qlora.evaluation import sources
from qlora.models.load import load_quantized


def merge_run(
    source: Path | str,
    output: Path,
    *,
    adapter: str | None = None,
    dtype: torch.dtype = torch.bfloat16,
    original: Path | None = None,
) -> None:
    """Write the model of a run with its adapter merged, as a checkpoint of 16 bit (see `qlora.adapters.merge`).

    Its ``generation_config.json`` names the tokens that end an answer, the end of turn of the chat template among them:
    other programs look there, and would let the model go on talking after the end that it has learnt.

    Args:
        source, adapter: as in `sources.adapted`.
        output: folder to write to; it must not exist, or be empty.
        dtype: to write.
        original: folder of the original 16-bit model, to merge into its weights instead of the dequantized ones.

    Raises:
        InputError: there is no adapter, it or the model cannot be loaded, or as `save_merged`.
    """
    config, chosen = sources.adapted(source, adapter)
    folder = locate(chosen)  # before minutes go into the model
    model, tokenizer = load_quantized(config.model, config.quantization, device=torch.device("cpu"), dtype=dtype)
    load_adapter(model, folder)
    if config.model.task == "causal":
        before = model.generation_config.eos_token_id
        known = before if isinstance(before, list) else [] if before is None else [before]
        model.generation_config.eos_token_id = sorted({*known, *stop_ids(tokenizer)})
    save_merged(model, output, tokenizer=tokenizer, dtype=dtype, original=original)
