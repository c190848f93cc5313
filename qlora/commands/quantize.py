"""`qlora quantize`: a model as a 4-bit checkpoint."""

import argparse
import json
from pathlib import Path
from typing import Any

from qlora.config import ModelConfig, QuantizationSettings
from qlora.errors import InputError


def add_parser(commands: Any) -> None:
    """Add the command to those of the command line."""
    parser = commands.add_parser("quantize", help="write a model as a 4-bit checkpoint")
    parser.add_argument("model", help="the demo model's name, a folder or a hub name")
    parser.add_argument("output", type=Path, metavar="FOLDER", help="to write to; new or empty")
    parser.add_argument("--quant-type", default="nf4", metavar="TYPE", help="nf4, fp4-e2m1, fp4-e3m0 or int4")
    parser.add_argument("--block-size", type=int, default=64, metavar="N", help="weights that share one absmax")
    parser.add_argument("--no-double-quantization", action="store_true", help="keep absmax in 32 bits")
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument("--json", action="store_true", help="print what was written as one JSON object")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Quantize a model and write it: NF4 and FP4 (E2M1) in bitsandbytes' format, the others in one like it.

    Returns:
        The exit status, 0.

    Raises:
        InputError: nothing usable as the model, a setting out of range, or the folder holds something or cannot be
            written.
    """
    settings = QuantizationSettings(options.quant_type, options.block_size, not options.no_double_quantization)
    output = options.output
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} holds something already: name a new or an empty folder.")
    import torch

    from qlora.models.coverage import coverage
    from qlora.models.load import load_quantized

    loaded, tokenizer = load_quantized(
        ModelConfig(options.model), settings, device=torch.device("cpu"), dtype=getattr(torch, options.dtype)
    )
    covered = coverage(loaded)
    try:
        loaded.save_pretrained(output)
        tokenizer.save_pretrained(output)
    except OSError as error:
        raise InputError(f"The model cannot be written to {output}: {error.strerror or error}.") from None
    written = sum(file.stat().st_size for file in output.glob("*.safetensors"))
    if options.json:
        quantized = sum(entry.parameters for entry in covered.quantized)
        left = {entry.name: entry.reason for entry in covered.unexpected}
        print(json.dumps({"output": str(output), "bytes": written, "quantized_parameters": quantized, "left": left}))
    else:
        print(covered.summary())
        print(f"The quantized model is in {output}: {written / 2**20:,.0f} MiB.")
    return 0
