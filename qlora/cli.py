"""The command line: ``qlora train``, ``resume``, ``preview``, ``generate`` and what else ``qlora --help`` lists."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from qlora.commands import estimate, evaluate
from qlora.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: as typed, without the program's name; None reads `sys.argv`.

    Returns:
        The exit status: 0, or 2 when the input cannot be used (one sentence on stderr says why), or 1 when a run
        failed after it began.
    """
    # Read when torch is imported: a waiting thread spins for some ten microseconds, then sleeps. The default is to spin
    # thirty times as long, which quadruples a step on a small machine that also serves the page and a browser; sleeping
    # at once loses the second core.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
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

    preview = commands.add_parser("preview", help="print the first batch of a run with what the loss counts")
    preview.add_argument("config", type=Path, metavar="CONFIG.yaml")
    preview.add_argument("--json", action="store_true", help="print it as one JSON object")
    preview.set_defaults(command=_preview)

    generate = commands.add_parser("generate", help="answer a prompt with the model of a run")
    generate.add_argument("run", type=Path, metavar="RUN_FOLDER")
    generate.add_argument("--prompt", required=True)
    generate.add_argument("--max-new-tokens", type=int, default=64, metavar="N")
    generate.add_argument("--compare", action="store_true", help="let the base model answer too, first")
    generate.add_argument("--json", action="store_true", help="print the pieces as JSON, one a line, as they come")
    generate.set_defaults(command=_generate)

    merge = commands.add_parser("merge", help="write the model of a run with its adapter merged, in 16 bit")
    merge.add_argument("run", type=Path, metavar="RUN_FOLDER")
    merge.add_argument("output", type=Path, metavar="FOLDER", help="to write to; new or empty")
    merge.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    merge.add_argument(
        "--original",
        type=Path,
        metavar="FOLDER",
        help="merge into this 16-bit model instead of the dequantized weights that the adapter was trained on",
    )
    merge.add_argument("--json", action="store_true", help="print what was written as one JSON object")
    merge.set_defaults(command=_merge)

    chat = commands.add_parser("chat", help="talk with the model of a run, or with any model")
    chat.add_argument("source", metavar="RUN_FOLDER_OR_MODEL")
    chat.add_argument("--system", metavar="TEXT", help="system message; without it that of the run or of the model")
    chat.add_argument("--max-new-tokens", type=int, default=256, metavar="N")
    chat.add_argument("--json", action="store_true", help="print each answer as one JSON object")
    chat.set_defaults(command=_chat)

    quantize = commands.add_parser("quantize", help="write a model as a 4-bit checkpoint")
    quantize.add_argument("model", help="the demo model's name, a folder or a hub name")
    quantize.add_argument("output", type=Path, metavar="FOLDER", help="to write to; new or empty")
    quantize.add_argument("--quant-type", default="nf4", metavar="TYPE", help="nf4, fp4-e2m1, fp4-e3m0 or int4")
    quantize.add_argument("--block-size", type=int, default=64, metavar="N", help="weights that share one absmax")
    quantize.add_argument("--no-double-quantization", action="store_true", help="keep absmax in 32 bits")
    quantize.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    quantize.add_argument("--json", action="store_true", help="print what was written as one JSON object")
    quantize.set_defaults(command=_quantize)

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
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value for a key of the configuration, such as training.steps=200; may be repeated",
    )


def _changes(options: argparse.Namespace) -> dict[str, str]:
    pairs = [text.partition("=") for text in options.set]
    for key, equals, _ in pairs:
        if not equals:
            raise InputError(f"--set takes KEY=VALUE, for example --set training.steps=200; got {key!r}.")
    return {key: value for key, _, value in pairs}


def _train(options: argparse.Namespace) -> int:
    from qlora import config
    from qlora.commands.follow import follow
    from qlora.training.run import run

    settings = config.with_changes(config.load(options.config), _changes(options))
    if options.dry_run:
        from qlora.commands import dry_run

        return dry_run.run(settings, options.json)
    return follow(Path(settings.output).expanduser(), run(settings), options.json)


def _resume(options: argparse.Namespace) -> int:
    from qlora.commands.follow import follow
    from qlora.training.run import resume

    return follow(options.run, resume(options.run, _changes(options)), options.json)


def _preview(options: argparse.Namespace) -> int:
    from rich.console import Console

    from qlora import config
    from qlora.data import preview
    from qlora.models.tokenizer import load_tokenizer

    settings = config.load(options.config)
    shown = preview.first_batch(settings, lambda: load_tokenizer(settings.model))
    if options.json:
        print(json.dumps(shown.to_mapping(), ensure_ascii=False))
    else:
        preview.print_batch(shown, Console())
    return 0


def _generate(options: argparse.Namespace) -> int:
    from qlora.evaluation.comparison import answers

    sides = ("base", "finetuned") if options.compare else ("finetuned",)
    side = None
    for piece in answers(options.run, options.prompt, options.max_new_tokens, sides):
        if options.json:
            print(json.dumps(piece, ensure_ascii=False), flush=True)
            continue
        if options.compare and piece["side"] != side:
            side = piece["side"]
            print(f"{side}: ", end="")
        print("\n" if piece.get("done") else piece["text"], end="", flush=True)
    return 0


def _merge(options: argparse.Namespace) -> int:
    import torch

    from qlora.training.merging import merge_run

    merge_run(options.run, options.output, dtype=getattr(torch, options.dtype), original=options.original)
    written = sum(file.stat().st_size for file in options.output.glob("*.safetensors"))
    if options.json:
        print(json.dumps({"folder": str(options.output), "dtype": options.dtype, "bytes": written}))
    else:
        print(f"The merged model is in {options.output}: {written / 2**20:,.0f} MiB in {options.dtype}.")
    return 0


def _chat(options: argparse.Namespace) -> int:
    from qlora.commands import chat

    return chat.run(options.source, options.system, options.max_new_tokens, options.json, sys.stdin)


def _quantize(options: argparse.Namespace) -> int:
    import torch

    from qlora.commands import quantize
    from qlora.config import QuantizationSettings

    settings = QuantizationSettings(options.quant_type, options.block_size, not options.no_double_quantization)
    return quantize.run(options.model, options.output, settings, getattr(torch, options.dtype), options.json)


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
