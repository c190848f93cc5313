"""``python -m app.recordings record NAME …``: make recordings on this machine; ``list`` says which there are."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from app import recordings
from app.text import paging as text
from qlora.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 2 with a sentence on standard error."""
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as `qlora.cli` has it
    parser = argparse.ArgumentParser(prog="python -m app.recordings", description="Recorded runs of the trainer.")
    commands = parser.add_subparsers(required=True, metavar="command")
    record = commands.add_parser("record", help="make recordings with the product's own trainer, on this machine")
    record.add_argument("names", nargs="+", choices=text.RECORDINGS, metavar="NAME", help=", ".join(text.RECORDINGS))
    record.add_argument("--output", type=Path, default=recordings.FOLDER, help="folder (default: the app's own)")
    record.add_argument("--work", type=Path, help="folder for models and runs, kept (default: a temporary one)")
    record.set_defaults(run=_record)
    commands.add_parser("list", help="which recordings there are").set_defaults(run=_list)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except InputError as error:
        print(f"recordings: {error}", file=sys.stderr)
        return 2


def _record(options: argparse.Namespace) -> int:
    from app.recordings.plans import PLANS
    from app.recordings.record import record

    with tempfile.TemporaryDirectory(prefix="recordings-") as temporary:
        work = options.work or Path(temporary)
        for name in options.names:
            command = f"python -m app.recordings record {name}"
            file = record(PLANS[name], text.RECORDINGS[name].reason, work.resolve(), options.output, command)
            print(f"{file.name}: {file.stat().st_size:,} bytes")
    total = sum(file.stat().st_size for file in options.output.glob(f"*{recordings.SUFFIX}"))
    if total > recordings.MOST_BYTES:
        raise InputError(f"All recordings together take {total:,} bytes, more than {recordings.MOST_BYTES:,}.")
    return 0


def _list(options: argparse.Namespace) -> int:
    for name in recordings.names():
        header = recordings.read(name).header
        print(f"{name}: {header.device}, {header.date}. {header.reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
