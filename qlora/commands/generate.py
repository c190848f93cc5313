"""`qlora generate`: one answer, also beside that of the base model."""

import argparse
import json
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command to those of the command line."""
    parser = commands.add_parser("generate", help="answer a prompt with the model of a run, or with any model")
    parser.add_argument("source", metavar="RUN_FOLDER_OR_MODEL")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--adapter", metavar="ADAPTER", help="a folder or a hub name, in place of the run's own")
    parser.add_argument("--max-new-tokens", type=int, default=64, metavar="N")
    parser.add_argument("--compare", action="store_true", help="let the base model answer too, first")
    parser.add_argument("--json", action="store_true", help="print the pieces as JSON, one a line, as they come")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Answer and print.

    Returns:
        The exit status, 0.

    Raises:
        InputError: as `comparison.answers`.
    """
    from qlora.evaluation.comparison import answers

    sides = ("base", "finetuned") if options.compare else ("finetuned",)
    side = None
    for piece in answers(options.source, options.prompt, options.max_new_tokens, sides, options.adapter):
        if options.json:
            print(json.dumps(piece, ensure_ascii=False), flush=True)
            continue
        if options.compare and piece["side"] != side:
            side = piece["side"]
            print(f"{side}: ", end="")
        print("\n" if piece.get("done") else piece["text"], end="", flush=True)
    return 0
