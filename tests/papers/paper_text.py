"""The paper's text and the notes' sections, read for the checks in this folder."""

import csv
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTES = ROOT / "papers" / "qlora"
PAPER_FILE = "2305.14314v1.pdf"
PAGES = 26


@dataclass(frozen=True)
class NoteSection:
    file: str
    heading: str
    kind: str
    number: str
    first_page: int
    last_page: int
    paragraphs: tuple[str, ...]
    numbers: tuple[str, ...]


PLACE = re.compile(
    r"^> (?:(?P<kind>Section|Table|Figure|Appendix) (?P<number>\d+(?:\.\d+)?|[A-G](?:\.\d)?)"
    r"|(?P<alone>Abstract|References))"
    r" · (?:page (?P<page>\d+)|pages (?P<first>\d+)–(?P<last>\d+))$"
)


def parse_sections(file: str, text: str) -> list[NoteSection]:
    """Sections of one note. Raises AssertionError where the format of papers/README.md is not kept."""
    title, *sections = re.split(r"(?m)^## ", text)
    assert re.fullmatch(r"# \S[^\n]*\n+", title), f"{file}: exactly one '# Title' must stand first, then a '## Heading'"
    found = []
    for section in sections:
        heading, place_line, *rest = section.split("\n")
        place = PLACE.match(place_line)
        assert place, (
            f"{file}: '{heading}' is followed by '{place_line}', not by a place such as '> Section 3 · page 4'"
        )
        blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n", "\n".join(rest)) if block.strip()]
        numbers = tuple(match[1] for block in blocks if (match := re.fullmatch(r"Numbers: (\S+\.csv)", block)))
        found.append(
            NoteSection(
                file=file,
                heading=heading,
                kind=place["kind"] or place["alone"],
                number=place["number"] or "",
                first_page=int(place["page"] or place["first"]),
                last_page=int(place["page"] or place["last"]),
                paragraphs=tuple(block for block in blocks if not block.startswith("Numbers:")),
                numbers=numbers,
            )
        )
    return found


@cache
def note_sections() -> tuple[NoteSection, ...]:
    files = sorted(NOTES.glob("*.md"))
    return tuple(section for file in files for section in parse_sections(file.name, file.read_text(encoding="utf-8")))


def csv_rows(name: str) -> list[dict[str, str]]:
    with (NOTES / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def paper_pages() -> tuple[str, ...]:
    """Text of each page, line ends joined. Skips the test when there is no PDF."""
    folder = os.environ.get("QLORA_PAPERS")
    if not folder:
        pytest.skip("QLORA_PAPERS is not set, so the paper's PDF cannot be compared with")
    path = Path(folder) / PAPER_FILE
    if not path.is_file():
        pytest.skip(f"no {PAPER_FILE} in the folder that QLORA_PAPERS names")
    import pypdfium2

    document = pypdfium2.PdfDocument(path)
    try:
        texts = tuple(join_lines(document[index].get_textpage().get_text_range()) for index in range(len(document)))
    finally:
        document.close()
    assert len(texts) == PAGES
    return texts


def join_lines(text: str) -> str:
    """pdfium marks a word that is hyphenated over a line end with U+FFFE; every other line end is a space."""
    return " ".join(text.replace("\ufffe", "").split())


def tokens(text: str) -> list[str]:
    """Lower-case words and whole numbers, without punctuation and typography."""
    return re.findall(r"[a-z0-9]+(?:[.,]\d+)*", text.lower())


def shared_runs(text: str, source: set[tuple[str, ...]], length: int) -> list[str]:
    """Runs of ``length`` tokens of ``text`` that are in ``source``."""
    words = tokens(text)
    runs = (tuple(words[start : start + length]) for start in range(len(words) - length + 1))
    return [" ".join(run) for run in runs if run in source]


def runs_of(text: str, length: int) -> set[tuple[str, ...]]:
    """Runs of ``length`` tokens, at least half of them words: rows of numbers are facts and may be repeated."""
    words = tokens(text)
    runs = (tuple(words[start : start + length]) for start in range(len(words) - length + 1))
    return {run for run in runs if sum(not word[0].isdigit() and len(word) > 1 for word in run) * 2 > length}
