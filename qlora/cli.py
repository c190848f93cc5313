"""The command line: ``qlora train``, ``resume``, ``preview``, ``generate`` and what else ``qlora --help`` lists."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from qlora.commands import bench, changes, chat, estimate, evaluate, generate, merge, preview, quantize
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

    bench.add_parser(commands)
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
