"""The command line: ``qlora train``, ``resume``, ``preview``, ``generate`` and what else ``qlora --help`` lists."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from qlora.commands import changes, chat, estimate, evaluate, generate, merge, preview, quantize
from qlora.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: as typed, without the program's name; None reads `sys.argv`.

    Returns:
        The exit status: 0, or 2 when the input cannot be used (one sentence on stderr says why), or 1 when a run
        failed after it began, or 130 when Ctrl-C ended it.
    """
    # Read when torch is imported: a waiting thread spins for some ten microseconds, then sleeps. The default is to spin
    # thirty times as long, which quadruples a step on a small machine that also serves the page and a browser; sleeping
    # at once loses the second core.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except KeyboardInterrupt:
        print("qlora: interrupted", file=sys.stderr)
        return 130  # 128 + SIGINT, as the shell has it
    except InputError as error:
        print(f"qlora: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output has gone (`qlora … | head`). Nothing more can be said to it.
        sys.stderr.close()
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="qlora", description="Finetune 4-bit language models (QLoRA).")
    commands = parser.add_subparsers(required=True, metavar="command")

    train = commands.add_parser("train", help="finetune a model as a YAML configuration says")
    train.add_argument("config", type=Path, metavar="CONFIG.yaml")
    train.add_argument("--dry-run", action="store_true", help="check everything, say what would be trained, and end")
    _add_run_options(train)
    train.set_defaults(command=_train)

    resume = commands.add_parser("resume", help="go on with a run from its newest checkpoint")
    resume.add_argument("run", type=Path, metavar="RUN_FOLDER")
    _add_run_options(resume)
    resume.set_defaults(command=_resume)

    for command in (preview, generate, merge, chat, quantize):
        command.add_parser(commands)
    evaluate.add_parser(commands)
    estimate.add_parser(commands)

    bench = commands.add_parser("bench", help="measure on this machine")
    subjects = bench.add_subparsers(required=True, metavar="subject")
    kernels = subjects.add_parser("kernels", help="every GPU operator beside the hardware's limits and bitsandbytes")
    kernels.add_argument("--output", type=Path, metavar="FILE.jsonl", help="write conditions and rows there too")
    kernels.set_defaults(command=_bench_kernels)
    step = subjects.add_parser("step", help="one training step beside PEFT's on the unquantized model")
    step.add_argument("--model", default="smollm2-135m-instruct")
    for name, default in (("batch", 1), ("tokens", 128), ("r", 16), ("rounds", 5)):
        step.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"default {default}")
    step.add_argument("--json", action="store_true", help="print conditions and rows as one JSON object")
    step.set_defaults(command=_bench_step)
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the events as JSON, one a line")
    changes.add_option(parser)


def _train(options: argparse.Namespace) -> int:
    from qlora import config
    from qlora.commands.follow import follow
    from qlora.training.run import run

    settings = config.with_changes(config.load(options.config), changes.given(options))
    if options.dry_run:
        from qlora.commands import dry_run

        return dry_run.run(settings, options.json)
    return follow(Path(settings.output).expanduser(), run(settings), options.json)


def _resume(options: argparse.Namespace) -> int:
    from qlora.commands.follow import follow
    from qlora.training.run import resume

    return follow(options.run, resume(options.run, changes.given(options)), options.json)


def _bench_kernels(options: argparse.Namespace) -> int:
    from qlora.bench import kernels

    conditions, rows = kernels.measure()
    print(kernels.table(conditions, rows))
    if options.output:
        kernels.write(options.output, conditions, rows)
    return 0


def _bench_step(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from qlora.bench import step

    numbers = (options.batch, options.tokens, options.r, options.rounds)
    if min(numbers) < 1:
        raise InputError(f"--batch, --tokens, --r and --rounds must be 1 or more, got {numbers}.")
    conditions, rows = step.measure(options.model, *numbers)
    if options.json:
        print(json.dumps({"conditions": conditions, "rows": [asdict(row) for row in rows]}))
    else:
        print(step.table(conditions, rows))
    return 0
