"""Each number that a sentence of the pages states agrees with its source: fact, formula, recording or setting."""

import importlib
import pkgutil

import pytest

import app.text
from tests.app.numbers import reading
from tests.app.numbers.sentence_sources import SENTENCES

MODULES = [importlib.import_module(f"app.text.{module.name}") for module in pkgutil.iter_modules(app.text.__path__)]
STATED = {
    key: (text, found)
    for module in MODULES
    for key, text in reading.sentences(module)
    if (found := reading.numbers(reading.without_fields(text)))
}
TABLE = "tests/app/numbers/sentence_sources.py"


def file_of(key: str) -> str:
    return f"app/text/{key.partition('.')[0]}.py"


def test_sentences_and_numbers_are_found():
    assert len(MODULES) >= 15
    assert len(STATED) >= 75 and sum(len(found) for _, found in STATED.values()) >= 140, "else this proves little"


@pytest.mark.parametrize("key", STATED)
def test_every_number_of_a_sentence_has_a_source_that_yields_it(key):
    text, found = STATED[key]
    for number in found:
        source = SENTENCES.get(key, {}).get(number)
        assert source, (
            f"{file_of(key)}: {key.partition('.')[2]} says {number}, and nothing says where that is from:\n  {text}\n"
            f"Let the page compute it, or add its source under {key!r} in {TABLE}."
        )
        value = source.value()
        assert reading.agrees(number, value), (
            f"{file_of(key)}: {key.partition('.')[2]} says {number}, but its source ({source.kind}: {source.where}) "
            f"yields {value:.10g}:\n  {text}"
        )


def test_no_source_is_left_over():
    left = [key for key in SENTENCES if key not in STATED]
    assert not left, f"{TABLE} has sources for sentences that are gone or state no number: {left}"
    left = [f"{key}: {number}" for key, known in SENTENCES.items() for number in known if number not in STATED[key][1]]
    assert not left, f"{TABLE} has sources for numbers that their sentences do not state: {left}"


def test_every_pattern_of_plain_language_is_used():
    texts = [reading.without_fields(text) for module in MODULES for _, text in reading.sentences(module)]
    for pattern, why in reading.PLAIN_LANGUAGE.items():
        assert any(reading.re.search(pattern, text) for text in texts), f"{why}: {pattern}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The 4-bit NF4 model of Table 9 and Figure 6 (arXiv 2305.14314), GPT-4, 65B, SmolLM2-135M-Instruct.", []),
        ("At 4.127 bits it takes 1,077 MiB, −0.5 % or 2.2e-7.", ["4.127", "1,077", "−0.5", "2.2e-7"]),
        ("One of two, and sixteen levels; units of 2²⁰ bytes.", ["sixteen", "2²⁰"]),
        ("10 % (12 h), 3.", ["10", "12", "3"]),
    ],
)
def test_what_counts_as_a_number(text, expected):
    assert reading.numbers(text) == expected


@pytest.mark.parametrize(
    ("shown", "value", "same"),
    [
        ("4.127", 4 + 8 / 64 + 32 / 64 / 256, True), ("4.127", 4.1276, False), ("4.07", 4.127, False),
        ("1,077", 1077.4, True), ("1,077", 1077.6, False), ("2.2e−7", 2.24e-7, True), ("2.2e−7", 2.3e-7, False),
        ("sixteen", 16, True), ("sixteen", 16.2, False), ("2²⁰", 2**20, True), ("−0.5", 0.5, False),
    ],
)  # fmt: skip
def test_a_shown_number_is_its_value_rounded(shown, value, same):
    assert reading.agrees(shown, value) == same
