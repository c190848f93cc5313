"""`qlora estimate`: what a finetune would take in bytes, by component, from the model's shape alone."""

import argparse
import json
from typing import Any

from qlora.config import TrainingConfig
from qlora.memory.estimate import METHODS, OPTIMIZERS, EstimateOptions, MemoryEstimate, estimate
from qlora.memory.model_config import NAMED_SHAPES, shape_of
from qlora.memory.shapes import Shape

_DEFAULTS = EstimateOptions()


def add_parser(commands: Any) -> None:
    """Add the command to those of the command line."""
    parser = commands.add_parser("estimate", help="the memory that a finetune would take, from the model's shape")
    parser.add_argument(
        "--model", required=True, help=f"{', '.join(NAMED_SHAPES)}, a config.json or its folder, or a hub name"
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="sequences in one pass (1)")
    parser.add_argument("--seq", type=int, default=512, metavar="N", help="tokens a sequence (512)")
    parser.add_argument("--r", type=int, default=_DEFAULTS.r, metavar="N", help=f"rank of adapters ({_DEFAULTS.r})")
    parser.add_argument("--method", choices=METHODS, default="qlora")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default=_DEFAULTS.optimizer)
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument(
        "--no-checkpointing",
        dest="checkpointed_layers",
        action="store_const",
        const=0,
        help="keep all activations of the forward pass",
    )
    kept.add_argument(
        "--checkpointed-layers",
        type=int,
        metavar="N",
        help="keep only the inputs of the first N layers and compute the rest of them again (all layers)",
    )
    kept.add_argument("--offload", action="store_true", help="of every layer keep its input only, in main memory")
    parser.add_argument("--json", action="store_true", help="print the estimate as one JSON object")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Estimate and print.

    Returns:
        The exit status, 0.

    Raises:
        InputError: a model that is not known, or a number out of range.
    """
    shape = shape_of(options.model)
    settings = EstimateOptions(
        method=options.method,
        r=options.r,
        optimizer=options.optimizer,
        batch_size=options.batch,
        sequence_length=options.seq,
        checkpointed_layers=options.checkpointed_layers,
        offloaded=options.offload,
        loss_chunk_tokens=TrainingConfig.loss_chunk_tokens,
    )
    result = estimate(shape, settings)
    if options.json:
        print(json.dumps(to_mapping(shape, result)))
    else:
        _print(shape, settings, result)
    return 0


def to_mapping(shape: Shape, result: MemoryEstimate) -> dict[str, Any]:
    """The estimate as plain data; every number is a count or in bytes."""
    return {
        "model": shape.name,
        "parameters": shape.parameters,
        "trainable_parameters": result.trainable_parameters,
        "components": result.components,
        "moments": result.moments,
        "peak_moment": result.peak_moment,
        "peak_bytes": result.peak_bytes,
        "pageable_bytes": result.pageable_bytes,
        "peak_bytes_paged_out": result.peak_bytes_paged_out,
        "main_memory_bytes": result.main_memory_bytes,
    }


def _print(shape: Shape, settings: EstimateOptions, result: MemoryEstimate) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "component",
        "bytes",
        "GiB",
        f"at the peak ({result.peak_moment})",
        title=f"{shape.name}: {settings.method}, {settings.batch_size} x {settings.sequence_length} tokens, "
        f"r = {settings.r}, {settings.optimizer} (an estimate)",
        title_justify="left",
    )
    for column in table.columns[1:]:
        column.justify = "right"
    at_peak = result.moments[result.peak_moment]
    for name, size in result.components.items():
        share = f"{at_peak[name] / 2**30:.2f}" if at_peak.get(name) else ""
        table.add_row(name.replace("_", " "), f"{size:,}", f"{size / 2**30:.2f}", share)
    table.add_row("peak", f"{result.peak_bytes:,}", "", f"{result.peak_bytes / 2**30:.2f}", style="bold")
    console = Console()
    console.print(table)
    console.print(f"{shape.parameters:,} parameters, of which {result.trainable_parameters:,} train.")
    if result.pageable_bytes:
        out = result.peak_bytes_paged_out / 2**30
        console.print(f"With all optimizer pages out during the passes the peak is {out:.2f} GiB.")
    if result.main_memory_bytes:
        console.print(f"Inputs of layers take {result.main_memory_bytes / 2**30:.2f} GiB of main memory besides.")
