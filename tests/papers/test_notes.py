"""The companion notes: their format, their completeness, their pages, and that their words are ours."""

import json
import re

import pytest

from tests.papers.paper_text import (
    NOTES,
    PAGES,
    ROOT,
    note_sections,
    paper_pages,
    parse_sections,
    runs_of,
    shared_runs,
)

SHARED_WORDS = 12
STRICT_SHARED_WORDS = 8
SECTION_NUMBERS = {*map(str, range(1, 10)), "5.1", "5.2", "5.3", "6.1", "6.2"}
APPENDIX_NUMBERS = {"A.1", "A.2", "B.1", "B.2", "B.3", "B.4", "C", "D", "E", "F", "G"}


def numbers_of(kind: str) -> set[str]:
    return {section.number for section in note_sections() if section.kind == kind}


def test_every_part_of_the_paper_has_a_note():
    assert numbers_of("Section") == SECTION_NUMBERS
    assert numbers_of("Appendix") == APPENDIX_NUMBERS
    assert numbers_of("Table") == set(map(str, range(1, 14)))
    assert numbers_of("Figure") == set(map(str, range(1, 7)))
    assert {"Abstract", "References"} <= {section.kind for section in note_sections()}


def test_every_page_of_the_paper_has_a_note():
    covered = {page for section in note_sections() for page in range(section.first_page, section.last_page + 1)}
    assert covered == set(range(1, PAGES + 1))


def test_every_equation_has_a_note():
    headings = " ".join(section.heading for section in note_sections())
    assert set(re.findall(r"Equation (\d)", headings)) == set("123456")


def test_paragraphs_can_be_quoted_alone():
    assert all(section.paragraphs for section in note_sections())
    for paragraph in (paragraph for section in note_sections() for paragraph in section.paragraphs):
        assert not re.match(r"(It|They|This|These|He|She|Its|Their)\b", paragraph), paragraph
        assert paragraph.endswith((".", ".)")), paragraph
        sentences = re.findall(r"[.!?]\)?(?=\s+[(A-Z0-9“\"]|$)", paragraph.replace("et al.", "et al"))
        assert 1 <= len(sentences) <= 4, f"{len(sentences)} sentences: {paragraph}"
        assert len(paragraph.split()) <= 110


def test_tables_name_their_numbers():
    for table in {
        section.number: section for section in note_sections() if section.kind == "Table" and section.numbers
    }.values():
        assert len(table.numbers) == 1
        assert table.numbers[0].startswith(f"table_{int(table.number):02d}_")
    named = {name for section in note_sections() for name in section.numbers}
    assert named == {path.name for path in NOTES.glob("*.csv")}


@pytest.mark.parametrize(
    "text",
    [
        "## Heading without title\n> Section 3 · page 4\n\nText.\n",
        "# Title\n\n## Heading\n\nText without a place.\n",
        "# Title\n\n## Heading\n> Chapter 3 · page 4\n\nText.\n",
        "# Title\n\n## Heading\n> Section 3, page 4\n\nText.\n",
    ],
)
def test_the_format_check_refuses_other_formats(text):
    with pytest.raises(AssertionError):
        parse_sections("broken.md", text)


def test_headings_stand_on_the_pages_named():
    """A table, figure or appendix must be announced on the page that its note names."""
    pages = paper_pages()
    for section in note_sections():
        text = pages[section.first_page - 1]
        if section.kind in ("Table", "Figure"):
            own_note = section.file.startswith(("10_", "11_"))
            assert not own_note or f"{section.kind} {section.number}:" in text, section
        if section.kind == "Appendix" and section.number.startswith(("C", "D", "E", "G")):
            assert re.search(rf"(?:^| ){section.number} [A-Z]", text), section


def test_numbers_of_a_note_stand_on_its_pages():
    """Decimal and long numbers of a note are looked up on its pages, unless it says that they are not printed."""
    pages = paper_pages()
    exempt = re.compile(
        r"Our (?:note|reading|derivation|arithmetic)|measured from|read from the picture|Inconsistency|\barXiv\b"
    )
    checked = 0
    for section in note_sections():
        if section.file.startswith(("11_", "14_", "15_")) or section.kind == "References":
            continue
        printed = " ".join(pages[section.first_page - 1 : section.last_page]).replace(",", "")
        for paragraph in section.paragraphs:
            if exempt.search(paragraph):
                continue
            for number in re.findall(r"\d+(?:,\d{3})+|\d+\.\d+|\d{3,}", paragraph):
                checked += 1
                assert number.replace(",", "") in printed, f"{number} is not on page {section.first_page}: {paragraph}"
    assert checked > 400, "too few numbers to prove anything"


def own_texts() -> list[tuple[str, str]]:
    texts = [(section.file, text) for section in note_sections() for text in (section.heading, *section.paragraphs)]
    questions = (ROOT / "qlora" / "recipes" / "qlora_questions.jsonl").read_text(encoding="utf-8").splitlines()
    return texts + [("qlora_questions.jsonl", text) for line in questions for text in json.loads(line).values()]


@pytest.mark.parametrize("length", [SHARED_WORDS, STRICT_SHARED_WORDS])
def test_no_sentence_of_the_paper_is_repeated(length):
    source = runs_of(" ".join(paper_pages()), length)
    assert len(source) > 5000
    found = [f"{file}: {run}" for file, text in own_texts() for run in shared_runs(text, source, length)]
    assert not found, "\n".join(found)


def test_the_repetition_check_finds_a_repeated_sentence():
    page = paper_pages()[5]
    start = page.index("hyperparameter search over")
    copied = page[start : start + 160].upper().replace(" ", "\n")
    for length in (SHARED_WORDS, STRICT_SHARED_WORDS):
        assert shared_runs(f"As is known, {copied} and so on.", runs_of(" ".join(paper_pages()), length), length)
