"""`qlora quantize`: a model as a 4-bit checkpoint."""

import json
from pathlib import Path

import torch

from qlora.config import ModelConfig, QuantizationSettings
from qlora.errors import InputError


def run(model: str, output: Path, settings: QuantizationSettings, dtype: torch.dtype, as_json: bool) -> int:
    """Quantize a model and write it: NF4 and FP4 (E2M1) in bitsandbytes' format, the others in one like it.

    Args:
        model: the demo model's name, a folder or a hub name.
        output: folder to write to; new or empty.
        settings: how to store the linear layers.
        dtype: of what is not quantized.
        as_json: print one JSON object.

    Returns:
        The exit status, 0.

    Raises:
        InputError: nothing usable at `model`, or `output` holds something or cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} holds something already: name a new or an empty folder.")
    from qlora.models.coverage import coverage
    from qlora.models.load import load_quantized

    loaded, tokenizer = load_quantized(ModelConfig(model), settings, device=torch.device("cpu"), dtype=dtype)
    covered = coverage(loaded)
    try:
        loaded.save_pretrained(output)
        tokenizer.save_pretrained(output)
    except OSError as error:
        raise InputError(f"The model cannot be written to {output}: {error.strerror or error}.") from None
    written = sum(file.stat().st_size for file in output.glob("*.safetensors"))
    if as_json:
        quantized = sum(entry.parameters for entry in covered.quantized)
        left = {entry.name: entry.reason for entry in covered.unexpected}
        print(json.dumps({"output": str(output), "bytes": written, "quantized_parameters": quantized, "left": left}))
    else:
        print(covered.summary())
        print(f"The quantized model is in {output}: {written / 2**20:,.0f} MiB.")
    return 0
