"""Numbers that a note gives together stand together in a row or a column of its CSV file."""

import re
from collections import Counter

import pytest

from tests.app.numbers import reading
from tests.papers.paper_text import csv_rows, note_sections

SECTIONS = [section for section in note_sections() if section.numbers]
_CLAUSE = re.compile(r"[;:()]|\. ")


def _value(cell: str) -> float | None:
    match = re.fullmatch(r"(-?\d+(?:\.\d+)?(?:e-\d+)?)[BM]?", cell)
    return float(match[1]) if match else None


def lines_of(section) -> list[Counter]:
    """Every row and every column of the section's files."""
    found = []
    for file in section.numbers:
        cells = [[_value(cell) for cell in row.values()] for row in csv_rows(file)]
        found += [Counter(value for value in line if value is not None) for line in (*cells, *zip(*cells, strict=True))]
    return found


def stands_together(clause: str, lines: list[Counter]) -> tuple[bool, int]:
    """Whether one line has all numbers of the clause that are the table's; and how many those are."""
    known = set().union(*lines)
    numbers = [reading.value_of(number) for number in reading.numbers(clause) if number not in reading.WORDS]
    together = Counter(number for number in numbers if number in known)
    return any(together <= line for line in lines), together.total()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: f"{section.kind}-{section.number}")
def test_numbers_given_together_stand_in_one_line(section):
    lines = lines_of(section)
    for paragraph in section.paragraphs:
        for clause in _CLAUSE.split(paragraph):
            if not stands_together(clause, lines)[0]:
                for part in clause.split(", "):
                    assert stands_together(part, lines)[0], f"{section.heading}: no row or column has all of “{part}”"


def test_many_numbers_are_given_together():
    clauses = [(c, lines_of(s)) for s in SECTIONS for paragraph in s.paragraphs for c in _CLAUSE.split(paragraph)]
    assert sum(stands_together(*each)[1] > 1 for each in clauses) > 80, "else this proves little"


def test_a_number_of_another_row_is_noticed():
    (table,) = [section for section in SECTIONS if (section.kind, section.number) == ("Table", "4")]
    assert stands_together("BFloat16 38.4, 47.2, 57.7, 61.8", lines_of(table))[0]
    assert not stands_together("BFloat16 38.4, 47.3, 57.7, 61.8", lines_of(table))[0]
