"""`qlora bench`: what the figures in the README are measured with."""

import argparse
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qlora.errors import InputError


def add_parser(commands: Any) -> None:
    """Add the command to those of the command line."""
    bench = commands.add_parser("bench", help="measure on this machine")
    subjects = bench.add_subparsers(required=True, metavar="subject")
    kernels = subjects.add_parser("kernels", help="every GPU operator beside the hardware's limits and bitsandbytes")
    kernels.set_defaults(command=run_kernels)
    step = subjects.add_parser("step", help="one training step beside PEFT's: time, and memory on a GPU")
    step.add_argument(
        "--model", default="smollm2-135m-instruct", help="a model, or llama-7b and the like, with random weights"
    )
    step.add_argument("--sizes", default="1x128", metavar="BxT,…", help="sequences x tokens (default 1x128)")
    for name, default in (("r", 16), ("rounds", 5)):
        step.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"default {default}")
    step.add_argument("--only", default="", metavar="WORDS", help="only programs with these words in their names")
    step.set_defaults(command=run_step)
    for subject in (kernels, step):
        subject.add_argument("--output", type=Path, metavar="FILE.jsonl", help="write conditions and rows there too")
        subject.add_argument("--json", action="store_true", help="print conditions and rows as one JSON object")


def run_kernels(options: argparse.Namespace) -> int:
    """Measure the kernels and print; returns the exit status, 0.

    Raises:
        InputError: as `bench.kernels.measure`.
    """
    from qlora.bench import kernels

    conditions, rows = kernels.measure()
    _report(options, conditions, rows, kernels.table(conditions, rows))
    return 0


def run_step(options: argparse.Namespace) -> int:
    """Measure a step and print; returns the exit status, 0.

    Raises:
        InputError: a number out of range, or as `bench.step.measure`.
    """
    from qlora.bench import step

    sizes = [re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", size.strip()) for size in options.sizes.split(",")]
    if not all(sizes) or min(options.r, options.rounds) < 1:
        raise InputError(
            f"--sizes must be like 1x512,4x1024, and --r and --rounds 1 or more, got {options.sizes}, {options.r} and "
            f"{options.rounds}."
        )
    numbers = [(int(size[1]), int(size[2])) for size in sizes]
    conditions, rows = step.measure(options.model, numbers, options.r, options.rounds, options.only)
    _report(options, conditions, rows, "\n".join(step.lines_of(conditions, rows)))
    return 0


def _report(options: argparse.Namespace, conditions: dict, rows: list, table: str) -> None:
    plain = [asdict(row) for row in rows]
    print(json.dumps({"conditions": conditions, "rows": plain}) if options.json else table)
    if options.output:  # the conditions first, then one row a line
        lines = [json.dumps(entry) for entry in ({"conditions": conditions}, *plain)]
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
