"""`--set KEY=VALUE`: other values for keys of a configuration."""

import argparse

from qlora.errors import InputError


def add_option(parser: argparse.ArgumentParser) -> None:
    """Let a command take `--set`, any number of times."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value for a key of the configuration, such as training.steps=200; may be repeated",
    )


def given(options: argparse.Namespace) -> dict[str, str]:
    """Keys and values as they were typed, for `config.with_changes`.

    Raises:
        InputError: one has no equals sign.
    """
    pairs = [text.partition("=") for text in options.set]
    for key, equals, _ in pairs:
        if not equals:
            raise InputError(f"--set takes KEY=VALUE, for example --set training.steps=200; got {key!r}.")
    return {key: value for key, _, value in pairs}
