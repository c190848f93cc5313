"""`qlora merge`: a model with an adapter merged into it, as an ordinary checkpoint."""

import argparse
import json
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command to those of the command line."""
    parser = commands.add_parser("merge", help="write the model of a run with its adapter merged, in 16 bit")
    parser.add_argument("source", metavar="RUN_FOLDER_OR_MODEL")
    parser.add_argument("output", type=Path, metavar="FOLDER", help="to write to; new or empty")
    parser.add_argument("--adapter", metavar="ADAPTER", help="a folder or a hub name, in place of the run's own")
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument(
        "--original",
        type=Path,
        metavar="FOLDER",
        help="merge into this 16-bit model instead of the dequantized weights that the adapter was trained on",
    )
    parser.add_argument("--json", action="store_true", help="print what was written as one JSON object")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Merge, write and say what was written.

    Returns:
        The exit status, 0.

    Raises:
        InputError: as `merging.merge_run`.
    """
    import torch

    from qlora.training.merging import merge_run

    dtype = getattr(torch, options.dtype)
    merge_run(options.source, options.output, adapter=options.adapter, dtype=dtype, original=options.original)
    written = sum(file.stat().st_size for file in options.output.glob("*.safetensors"))
    if options.json:
        print(json.dumps({"output": str(options.output), "dtype": options.dtype, "bytes": written}))
    else:
        print(f"The merged model is in {options.output}: {written / 2**20:,.0f} MiB in {options.dtype}.")
    return 0
