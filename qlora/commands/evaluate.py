"""`qlora evaluate`: perplexity, multiple choice or ROUGE-L of a quantized model, with or without an adapter."""

import argparse
import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

from qlora.errors import InputError
from qlora.evaluation import sources

_ONLY_FOR = {
    "choices": ("shots", "examples", "seed", "style"),
    "perplexity": ("window", "stride"),
    "rouge": ("max_new_tokens",),
}


def add_parser(commands: Any) -> None:
    """Add the command to those of the command line."""
    parser = commands.add_parser("evaluate", help="measure perplexity, multiple choice or ROUGE-L of a 4-bit model")
    parser.add_argument("source", metavar="CONFIG_OR_MODEL", help="a YAML configuration, a run's folder, or a model")
    parser.add_argument("--adapter", metavar="ADAPTER", help="a folder or a hub name, in place of the run's own")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    parser.add_argument("--batch-size", type=int, default=4, metavar="N", help="sequences read together (4)")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--perplexity", type=Path, metavar="FILE", help="of a text file, or of the answers in a data file"
    )
    what.add_argument("--choices", type=Path, metavar="FILE", help="questions as MMLU, ARC, HellaSwag, … have them")
    what.add_argument("--rouge", type=Path, metavar="FILE", help="ROUGE-L of generated answers to a file's questions")
    parser.add_argument("--window", type=int, metavar="N", help="perplexity: tokens in one pass")
    parser.add_argument("--stride", type=int, metavar="N", help="perplexity: tokens from window to window (half of it)")
    parser.add_argument("--shots", type=int, metavar="N", help="choices: worked examples before each question (0)")
    parser.add_argument("--examples", type=Path, metavar="FILE", help="choices: where these are drawn from")
    parser.add_argument("--seed", type=int, metavar="N", help="choices: of the draw (0)")
    parser.add_argument(
        "--style", choices=("letters", "texts"), help="choices: what is scored (as the file's form has)"
    )
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="rouge: longest answer (128)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Measure and print.

    Returns:
        The exit status, 0.

    Raises:
        InputError: a file, a model or an adapter that cannot be used, or an option that belongs to another measurement.
    """
    kind = next(name for name in _ONLY_FOR if getattr(options, name) is not None)
    for other, names in _ONLY_FOR.items():
        for name in names if other != kind else ():
            if getattr(options, name) is not None:
                raise InputError(f"--{name.replace('_', '-')} belongs to --{other}, not to --{kind}.")
    if options.batch_size < 1:
        raise InputError(f"--batch-size must be 1 or more, got {options.batch_size}.")
    began = time.perf_counter()
    figures = {"perplexity": _perplexity, "choices": _choices, "rouge": _rouge}[kind](options)
    if options.json:
        measured = {"source": options.source, "file": str(getattr(options, kind)), **figures}
        print(json.dumps({**measured, "seconds": time.perf_counter() - began}, ensure_ascii=False))
    else:
        _print(kind, figures)
    return 0


def load_model(source: str, adapter: Path | str | None):
    """The quantized model, its tokenizer, and the configuration it comes from.

    Args:
        source: as in `sources.described`.
        adapter: as in `load_adapter`, in place of the run's own.

    Raises:
        InputError: nothing usable at `source` or `adapter`, or a model for another task than writing on.
    """
    config, of_run = sources.described(source)
    model, tokenizer = sources.load(config, of_run if adapter is None else adapter)
    return model, tokenizer, config


def _perplexity(options: argparse.Namespace) -> dict[str, Any]:
    from qlora.evaluation.perplexity import perplexity, read_documents

    model, tokenizer, config = load_model(options.source, options.adapter)
    documents = read_documents(options.perplexity, tokenizer, config.data.system_prompt)
    found = perplexity(
        model, documents, window=options.window, stride=options.stride, batch_size=options.batch_size
    )  # fmt: skip
    value = found.perplexity if math.isfinite(found.perplexity) else None  # JSON has no infinity
    return {"perplexity": value, **dataclasses.asdict(found)}


def _choices(options: argparse.Namespace) -> dict[str, Any]:
    from qlora.evaluation.choice_files import read_questions
    from qlora.evaluation.multiple_choice import accuracy

    shots, style = options.shots or 0, options.style or "auto"
    if shots < 0:
        raise InputError(f"--shots must be 0 or more, got {shots}.")
    if shots and options.examples is None:
        raise InputError(f"--shots {shots} needs --examples FILE, from which worked examples are drawn.")
    questions = read_questions(options.choices, style)
    examples = read_questions(options.examples, style) if shots else ()
    model, tokenizer, _ = load_model(options.source, options.adapter)
    found = accuracy(
        model,
        tokenizer,
        questions,
        examples=examples,
        shots=shots,
        seed=options.seed or 0,
        batch_size=options.batch_size,
    )
    return dataclasses.asdict(found)


def _rouge(options: argparse.Namespace) -> dict[str, Any]:
    from qlora.data.formats import read_samples
    from qlora.evaluation.rouge import generated_rouge_l

    longest = 128 if options.max_new_tokens is None else options.max_new_tokens
    if not 1 <= longest <= 4096:
        raise InputError(f"--max-new-tokens must be from 1 to 4096, got {longest}.")
    samples = read_samples(options.rouge)
    model, tokenizer, config = load_model(options.source, options.adapter)
    prompt = config.data.system_prompt
    found = generated_rouge_l(model, tokenizer, samples, max_new_tokens=longest, system_prompt=prompt)
    return dataclasses.asdict(found)


def _print(kind: str, found: dict[str, Any]) -> None:
    if kind == "perplexity":
        shown = "infinite" if found["perplexity"] is None else f"{found['perplexity']:,.3f}"
        print(f"perplexity {shown} ({found['loss']:.4f} nats a token)")
        print(f"{found['tokens']:,} tokens of {found['documents']:,} documents in {found['windows']:,} windows")
    elif kind == "rouge":
        print(f"ROUGE-L {100 * found['f1']:.1f} (precision {100 * found['precision']:.1f}, recall "
              f"{100 * found['recall']:.1f}) over {found['answers']:,} answers")  # fmt: skip
    else:
        for subject, (share, count) in found["by_subject"].items():
            print(f"{100 * share:5.1f} %  {subject} ({count})")
        if found["mean_of_subjects"] is not None:
            print(f"{100 * found['mean_of_subjects']:5.1f} %  mean of subjects")
        print(f"{100 * found['accuracy']:5.1f} %  of {found['questions']:,} questions, {found['shots']} shots "
              f"({100 * found['accuracy_normalised']:.1f} % by log-likelihood a character)")  # fmt: skip
        if found["shortened"]:
            print(f"{found['shortened']} questions had fewer examples, because all did not fit the model.")
