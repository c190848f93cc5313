"""The companion notes: Markdown sections that say which part of the paper they are about, CSV files beside them.

A section looks like this, and any other line of prose is a paragraph of it::

    ## Double quantization
    > Section 3 · page 5

    A paragraph in our own words.

    Numbers: table_06_vicuna.csv
"""

import csv
import re
from pathlib import Path

from app.assistant.readers.page import Block, Page, Word
from qlora.errors import InputError

_PLACE = re.compile(r"^>\s*(?P<label>[^·]+?)\s*·\s*pages?\s+(?P<first>\d+)(?:\s*[–-]\s*(?P<last>\d+))?", re.IGNORECASE)
_NUMBERS = re.compile(r"^(?:[-*]\s*)?Numbers:\s*`?([\w.-]+\.csv)`?", re.IGNORECASE)
_MARKS = re.compile(r"(\*\*|__|`)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


def read_notes(folder: Path) -> list[Page]:
    """One page for every section of every ``*.md`` file in ``folder``, in the order of the file names.

    Raises:
        InputError: there is no folder, a section does not say its page, or a CSV file that it names is not there.
    """
    if not folder.is_dir():
        raise InputError(f"The notes folder {folder.name} is missing. Get a complete copy of the project.")
    pages = []
    for path in sorted(folder.glob("*.md")):
        parts = re.split(r"(?m)^##\s+", path.read_text(encoding="utf-8"))
        pages += [_section(path, part) for part in parts[1:]]
    return pages


def _section(path: Path, text: str) -> Page:
    title, *lines = text.splitlines()
    place = next((match for line in lines if (match := _PLACE.match(line))), None)
    if place is None:
        raise InputError(
            f"{path.name}: the section “{title.strip()}” does not say where it belongs. "
            "Put a line such as “> Section 3 · page 5” under its heading."
        )
    label, first = place["label"].strip(), int(place["first"])
    section = f"{label}: {title.strip()}"
    blocks = [Block("heading", _words(title), section, label=label)]
    for paragraph in re.split(r"\n\s*\n", "\n".join(line for line in lines if not line.startswith(">"))):
        for line in paragraph.splitlines():
            if match := _NUMBERS.match(line.strip()):
                blocks.append(_numbers(path, match[1], title.strip(), section, label))
        prose = " ".join(line.strip() for line in paragraph.splitlines() if not _NUMBERS.match(line.strip()))
        if prose.strip():
            blocks.append(Block("text", _words(prose), section, lead=title.strip(), label=label))
    last = int(place["last"] or first)
    raw = "\n".join("\n".join([block.text, *(_row_text(row) for row in block.rows)]) for block in blocks)
    return Page(first, 0.0, 0.0, tuple(blocks), raw, source="notes", last_page=last)


def _row_text(row: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in row)


def _words(text: str) -> tuple[Word, ...]:
    plain = _MARKS.sub("", _LINK.sub(r"\1", re.sub(r"^\s*[-*]\s+", "", text)))
    return tuple(Word(word) for word in plain.split())


def _numbers(path: Path, name: str, title: str, section: str, label: str) -> Block:
    """A CSV file as a table whose rows read as sentences: "Guanaco 65B: memory 41 GB, mean 99.3"."""
    source = path.parent / name
    if not source.is_file():
        raise InputError(f"{path.name} names the numbers {name}, which is not beside it. Restore the file.")
    with source.open(encoding="utf-8", newline="") as file:
        header, *rows = [row for row in csv.reader(file) if row]
    readable = []
    for row in rows:
        if len(row) != len(header):
            raise InputError(f"{name}: the row “{','.join(row)}” has {len(row)} cells, the header {len(header)}.")
        named = dict(zip(header[1:], row[1:], strict=True))
        origin = named.pop("source", "printed")
        cells = [_cell(column, value) for column, value in named.items() if value.strip()]
        line = f"{row[0]}: {', '.join(cells)}" if cells else row[0]
        readable.append(_words(line if origin == "printed" else f"{line} ({origin})"))
    return Block("table", _words(f"{label}: {title}"), section, lead=title, label=label, rows=tuple(readable))


_UNITS = {"gb": " GB", "mb": " MB", "mib": " MiB", "percent": "%", "bits": " bits"}


def _cell(column: str, value: str) -> str:
    """A cell as words: ``memory_gb, 41`` reads "memory 41 GB"."""
    *name, unit = column.split("_")
    if unit in _UNITS:
        return f"{' '.join(name)} {value}{_UNITS[unit]}".strip()
    return f"{column.replace('_', ' ')} {value}"
