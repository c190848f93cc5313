"""The instruction file of the demo run: form, uniqueness, length, and numbers that the notes also state."""

import json
import re
from collections import Counter
from statistics import mean

from tests.papers.paper_text import NOTES, ROOT, csv_rows, note_sections

LINES = (ROOT / "qlora" / "recipes" / "qlora_questions.jsonl").read_text(encoding="utf-8").splitlines()
PAIRS = [json.loads(line) for line in LINES]
# Arithmetic and general knowledge that the paper does not print: alpha / r, 16 / 4.127, parameters of a LoRA pair on a
# 4096 x 4096 layer and their shares, sizes at 4.127 bits, exp(2).
OWN_NUMBERS = {"0.25", "3.9", "131072", "524288", "0.78", "3.1", "4096", "3.6", "6.7", "33.5", "3.5", "7.4"}
NUMBER = re.compile(r"\d+(?:,\d{3})+|\d+(?:\.\d+)?")


def unique(values: list[str]) -> bool:
    normal = [" ".join(re.findall(r"\w+", value.lower())) for value in values]
    return len(set(normal)) == len(normal)


def test_every_line_is_an_alpaca_pair():
    assert len(PAIRS) >= 240
    for pair in PAIRS:
        assert set(pair) == {"instruction", "output"}
        assert all(isinstance(value, str) and value == value.strip() and value for value in pair.values())
        assert pair["instruction"].endswith(("?", "."))
        assert pair["output"].endswith(".")


def test_there_are_no_duplicates():
    assert unique([pair["instruction"] for pair in PAIRS])
    assert not unique(["What is NF4?", "what is  NF4"]), "the check must notice a repeated question"


def test_every_fact_is_asked_in_two_to_four_wordings():
    """One answer serves the wordings of one question, so that a short run meets most facts more than once."""
    wordings = Counter(pair["output"] for pair in PAIRS)
    assert len(wordings) >= 90
    assert set(wordings.values()) <= {2, 3, 4}
    assert unique(list(wordings))


def test_pairs_are_short():
    words = [len(f"{pair['instruction']} {pair['output']}".split()) for pair in PAIRS]
    assert max(words) <= 55
    assert 20 <= mean(words) <= 40


def numbers_in(text: str) -> set[str]:
    return {number.replace(",", "") for number in NUMBER.findall(text)}


def test_numbers_are_those_of_the_notes():
    """A number with a decimal point or of four digits in an answer must stand in a note or a CSV file."""
    known = OWN_NUMBERS | {f"{abs(float(row['value'])):.3f}" for row in csv_rows("nf4_values.csv")}
    for text in (*(text for section in note_sections() for text in section.paragraphs), *csv_texts()):
        known |= numbers_in(text)
    checked, unknown = 0, []
    for pair in PAIRS:
        for number in numbers_in(pair["output"]):
            if "." not in number and len(number) < 4:
                continue
            checked += 1
            if number not in known:
                unknown.append((number, pair["instruction"]))
    assert checked > 150
    assert not unknown


def csv_texts() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(NOTES.glob("*.csv"))]
