"""`qlora preview`: the first batch of a run, with what the loss counts."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qlora import config as configuration
from qlora.commands import changes
from qlora.config import RunConfig

if TYPE_CHECKING:
    from qlora.data.preview import Preview


def add_parser(commands: Any) -> None:
    """Add the command to those of the command line."""
    parser = commands.add_parser("preview", help="print the first batch of a run with what the loss counts")
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml")
    parser.add_argument("--json", action="store_true", help="print it as one JSON object")
    changes.add_option(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Prepare the batch and print it.

    Returns:
        The exit status, 0.

    Raises:
        InputError: the configuration cannot be used, or as `of_run`.
    """
    from qlora.data.preview import print_batch

    shown = of_run(configuration.with_changes(configuration.load(options.config), changes.given(options)))
    if options.json:
        print(json.dumps(shown.to_mapping(), ensure_ascii=False))
        return 0
    from rich.console import Console

    print_batch(shown, Console())
    return 0


def of_run(config: RunConfig) -> "Preview":
    """The first batch that a run would train on, prepared as the run does it. No model is loaded.

    Raises:
        InputError: the data, the tokenizer or its chat template cannot be used.
    """
    from qlora.data.preview import first_batch
    from qlora.models.tokenizer import load_tokenizer
    from qlora.training import held_out, preflight

    samples = preflight.read(config)  # before the tokenizer, because a fault in the file shows sooner
    tokenizer = load_tokenizer(config.model)
    preflight.check_tokenizer(config, tokenizer)
    encoded, notices = preflight.encode_samples(config, samples, tokenizer)
    return first_batch(config, held_out.split(config, encoded)[0], tokenizer, notices)
