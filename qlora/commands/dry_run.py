"""`qlora train --dry-run`: everything but the training."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qlora.config import RunConfig
from qlora.errors import InputError

if TYPE_CHECKING:
    from qlora.data.batches import Batch
    from qlora.training.setup import Setup

# Batches of the first epoch that are looked at for the largest.
_LOOKED_AT = 500


def run(config: RunConfig, as_json: bool) -> int:
    """Load and check everything, run the passes of the run's largest batch once, and print what a run would take.

    Returns:
        The exit status, 0.

    Raises:
        InputError: what a run would fail with before its first step, the device budget included.
    """
    found = measure(config)
    if as_json:
        print(json.dumps(found))
    else:
        _print(found)
    return 0


def measure(config: RunConfig) -> dict[str, Any]:
    """What a run would train, and what it would take.

    Returns:
        "parameters": for each part of the model its count, its bytes and whether it is quantized or trained.
        "memory_bytes": by component at the fullest moment of the largest batch, measured in one forward and backward
        pass; the optimizer's state is counted whole, wherever its pages would be. "estimated_bytes": the same by
        `memory.estimate`; null for a family that it does not know. "steps", "samples", "largest_batch", "notices".
    """
    from pathlib import Path

    from qlora.adapters.attach import adapter_parameters
    from qlora.models.coverage import coverage
    from qlora.training import preflight
    from qlora.training.loss import summed_loss
    from qlora.training.setup import prepare

    preflight.check_output(Path(config.output).expanduser())
    setup = prepare(config, lambda happening: None)
    batches = setup.batches
    batch = max(
        (batches.at(i) for i in range(min(_LOOKED_AT, batches.per_epoch))), key=lambda batch: batch.input_ids.numel()
    )
    setup.pressure.begin_step()
    with setup.pressure.passes():
        summed_loss(setup.model, batch.to(setup.device), config.training.loss_chunk_tokens).backward()
    covered = coverage(setup.model)
    parts = {
        "quantized layers": (sum(e.parameters for e in covered.quantized), sum(e.nbytes for e in covered.quantized))
    }
    for entry in covered.left:
        count, stored = parts.get(entry.reason, (0, 0))
        parts[entry.reason] = (count + entry.parameters, stored + entry.nbytes)
    state = sum(page.bytes for page in setup.optimizer.pager.pages)
    found = {
        "parameters": {name: {"count": count, "bytes": stored} for name, (count, stored) in parts.items()},
        "trained": sum(p.numel() for p in adapter_parameters(setup.model)),
        "memory_bytes": {**setup.pressure.peak, "optimizer": state},
        "estimated_bytes": _estimated(setup, batch),
        "device_budget_bytes": setup.optimizer.pager.budget_bytes,
        "steps": setup.steps,
        "samples": len(setup.samples),
        "held_out_samples": len(setup.held_out),
        "largest_batch": {"rows": batch.input_ids.shape[0], "tokens": batch.input_ids.shape[1]},
        "notices": setup.notices,
    }
    setup.optimizer.close()
    return found


def _estimated(setup: "Setup", batch: "Batch") -> dict[str, int] | None:
    """What `memory.estimate` says of the batch, under the names of what is measured."""
    from qlora.memory.budget import run_options
    from qlora.memory.estimate import estimate
    from qlora.memory.model_config import shape_of_config
    from qlora.training.activation_plan import activation_plan

    config = setup.config
    try:
        shape = shape_of_config(setup.model.config.to_dict(), config.model.name, len(config.model.labels) or None)
    except InputError:
        return None
    plan, _ = activation_plan(config, setup.model, setup.batches)
    rows, tokens = batch.input_ids.shape
    options = run_options(
        config,
        rows=rows,
        tokens=tokens,
        compute_dtype=str(setup.model.dtype).removeprefix("torch."),
        adapter_dtype=str(setup.optimizer.flat.dtype).removeprefix("torch."),
        checkpointed_layers=None if plan.offloaded else plan.checkpointed,
        offloaded=plan.offloaded,
    )
    found = estimate(
        shape,
        replace(
            options,
            target_length=batch.labels.shape[1] if config.model.task == "seq2seq" else None,
            masked=batch.packed or not batch.attention_mask.all(),
            loss_chunk_tokens=min(config.training.loss_chunk_tokens, batch.trained_tokens),
        ),
    )
    parts = found.components
    return {
        "base_model": parts["base_weights"] + parts["quantization_constants"] + parts["unquantized_weights"],
        "adapters": parts["adapters"],
        "gradients": parts["gradients"],
        "activations": found.passing_bytes,
        "optimizer": parts["optimizer_states"],
    }


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    parts = Table("part of the model", "parameters", "MiB", title="Parameters", title_justify="left")
    for name, part in found["parameters"].items():
        parts.add_row(name, f"{part['count']:,}", f"{part['bytes'] / 2**20:,.1f}")
    rows, tokens = found["largest_batch"]["rows"], found["largest_batch"]["tokens"]
    measured, estimated = found["memory_bytes"], found["estimated_bytes"] or {}
    memory = Table("component", "MiB", title=f"Memory, measured on {rows} x {tokens} tokens", title_justify="left")
    if estimated:
        memory.add_column("estimated")
    for name in measured:
        memory.add_row(
            name.replace("_", " "), *(f"{part[name] / 2**20:,.1f}" for part in (measured, estimated) if part)
        )
    totals = (f"{sum(part.values()) / 2**20:,.1f}" for part in (measured, estimated) if part)
    memory.add_row("together", *totals, style="bold")
    for table in (parts, memory):
        for column in table.columns[1:]:
            column.justify = "right"
        console.print(table)
    console.print(
        f"{found['trained']:,} values would be trained in {found['steps']} steps on {found['samples']} samples."
    )
    for notice in found["notices"]:
        console.print(notice, markup=False)
    console.print("Nothing was found that would stop the run.")
