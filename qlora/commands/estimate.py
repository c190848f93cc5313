"""`qlora estimate`: what a finetune would take in bytes, by component, from the model's shape alone."""

import argparse
import json
from typing import Any

from qlora.errors import InputError
from qlora.memory.estimate import METHODS, OPTIMIZERS, EstimateOptions, MemoryEstimate, estimate
from qlora.memory.model_config import NAMED_SHAPES, known_shape, shape_of_config
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
    parser.add_argument("--no-checkpointing", action="store_true", help="keep all activations of the forward pass")
    parser.add_argument("--json", action="store_true", help="print the estimate as one JSON object")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Estimate and print.

    Returns:
        The exit status, 0.

    Raises:
        InputError: a model that is not known, or a number out of range.
    """
    from qlora.config import TrainingConfig

    shape = shape_of(options.model)
    settings = EstimateOptions(
        method=options.method,
        r=options.r,
        optimizer=options.optimizer,
        batch_size=options.batch,
        sequence_length=options.seq,
        checkpointing=not options.no_checkpointing,
        loss_chunk_tokens=TrainingConfig.loss_chunk_tokens,
    )
    result = estimate(shape, settings)
    if options.json:
        print(json.dumps(to_mapping(shape, result)))
    else:
        _print(shape, settings, result)
    return 0


def shape_of(model: str) -> Shape:
    """The shape of a model known by name, lying here, or on the hub, of which its configuration alone is fetched.

    Raises:
        InputError: no such model, no network, or as `model_config.known_shape`.
    """
    if (shape := known_shape(model)) is not None:
        return shape
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise InputError(
            f"There is no model {model}: give one of {', '.join(NAMED_SHAPES)}, a folder, a config.json or a hub name."
        )
    from transformers import PreTrainedConfig

    try:
        config, _ = PreTrainedConfig.get_config_dict(model)
    except (OSError, ValueError) as error:
        raise InputError(
            f"The configuration of {model!r} is not on this machine and could not be fetched. Check the name and the "
            f"network, or give a local folder. ({str(error).splitlines()[0]})"
        ) from error
    return shape_of_config(config, model)


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
