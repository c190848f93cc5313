"""Where a number on the pages comes from. A source yields the value anew, so that what is shown is held against it."""

import csv
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NOTES = Path(__file__).parents[3] / "papers" / "qlora"
FACTS = NOTES / "facts.toml"


@dataclass(frozen=True)
class Source:
    """A number's source.

    Attributes:
        kind: "fact" of the paper, "formula", "recording" (or a row that was measured), or "setting" in the code.
        where: the place, for a reader.
        value: yields it, unrounded.
        of: page and number of a fact in ``facts.toml``.
    """

    kind: str
    where: str
    value: Callable[[], float]
    of: tuple[int, str] | None = None


def fact(page: int, number: str) -> Source:
    """A number that the paper states on that page (``facts.toml``)."""
    return Source("fact", f"facts.toml, page {page}, {number}", lambda: _fact(page, number), (page, number))


def cell(file: str, column: str, **row: str) -> Source:
    """A number of one of the paper's tables or figures; ``row`` names cells that only its row has."""
    return Source("fact", f"{file}, {column}, {row}", lambda: _cell(file, column, row))


def formula(where: str, value: Callable[[], float]) -> Source:
    """A number that is computed, by the library's own function where there is one."""
    return Source("formula", where, value)


def recording(where: str, value: Callable[[], float]) -> Source:
    """A number of a recorded run or of a measured row."""
    return Source("recording", where, value)


def setting(where: str, value: Callable[[], float]) -> Source:
    """A constant of the code."""
    return Source("setting", where, value)


@cache
def facts() -> dict[int, dict[str, str]]:
    """Page -> number as printed -> what it counts."""
    return {int(page): found for page, found in tomllib.loads(FACTS.read_text(encoding="utf-8")).items()}


def rows(file: str) -> list[dict[str, str]]:
    """The rows of a CSV file of the paper's numbers."""
    with (NOTES / file).open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def _fact(page: int, number: str) -> float:
    if number not in facts().get(page, {}):
        raise LookupError(f"{FACTS.name} has no {number} under page {page}: add it, with what it counts")
    return float(number.replace(",", ""))


def _cell(file: str, column: str, row: dict[str, str]) -> float:
    (found,) = [each for each in rows(file) if row.items() <= each.items()]
    return float(found[column])


def used_facts(table: Mapping[str, Mapping[str, Source]]) -> set[tuple[int, str]]:
    """(page, number) of every fact that a table of sources names."""
    found = (source for known in table.values() for source in known.values())
    return {source.of for source in found if source.of}
