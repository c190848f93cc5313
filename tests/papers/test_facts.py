"""Each number of the notes is a cell of the paper's tables, a fact with its page, or arithmetic done again here."""

import itertools
import math
import re
import tomllib
from statistics import NormalDist

import pytest

from qlora.memory import figure6
from qlora.memory.shapes import LLAMA
from qlora.quantization import codebook
from tests.app.numbers import reading
from tests.app.numbers.sentence_sources import SENTENCES
from tests.app.numbers.sources import facts, used_facts
from tests.papers.paper_text import NOTES, PAGES, csv_rows, note_sections, paper_pages

#: Notation and names of the notes that state no number of their own: pattern -> why.
NOTATION = {
    r"\b\d-(?:shot|bit)\b": "names",
    r"2\^\(?k(?: ?− ?1)?\)?(?: \+ 1)?|i \+ 1|i = 0|N\(0, 1\)|\[−1, 1\]": "letters of equation 4 and of its text",
    r"\b\d+\^\d(?: · \d+\^\d)+|\d+ × \d+ × \d+": "factors, which a test of their own multiplies",
    r"\b6\.[12]\b|\b[Pp]ages? \d+(?: and \d+)?|\bReferences \d+": "places in the paper",
    r"\bI(?:A3|nt8)\b": "names",
}
_FILES = sorted(path.name for path in NOTES.glob("*.csv"))
_PICTURE = "(read from the picture)"


def _bars(component: str) -> list[float]:
    """Of Figure 6, from 7B to 65B, in MiB."""
    rows = csv_rows("figure_06_memory.csv")
    return [
        float(row["mib"]) for size in LLAMA for row in rows if (row["model"], row["component"]) == (size, component)
    ]


def _arithmetic(size: str) -> float:
    """MiB of a model stored as the paper's text describes it."""
    return figure6.weights_mib(LLAMA[size], figure6.BITS_DOUBLE_QUANTIZED)


def _below_the_bars() -> list[float]:
    """How far that is below the paper's bars, in %."""
    return [100 * (1 - _arithmetic(size) / bar) for size, bar in zip(LLAMA, _bars("model"), strict=True)]


def _labelled_65b() -> float:
    return sum(_bars(part)[-1] for part in ("model", "adapters", "weight_gradient", "optimizer"))


def _sum_65b() -> float:
    return _labelled_65b() + figure6.input_gradient_mib(LLAMA["65B"])


def _overhead_gib(sixteen_bit: bool) -> float:
    """The constant that brings the model's formula nearest to the bars; embeddings in 16 or in 32 bits."""
    sizes = list(zip(LLAMA.values(), _bars("model"), strict=True))
    more = [0 if sixteen_bit else 2 * shape.unquantized_parameters / 2**20 for shape, _ in sizes]
    gaps = [
        bar - figure6.weights_mib(shape, figure6.BITS_PLAIN) - m for (shape, bar), m in zip(sizes, more, strict=True)
    ]
    weights = [1 / bar**2 for _, bar in sizes]
    return sum(gap * weight for gap, weight in zip(gaps, weights, strict=True)) / sum(weights) / 1024


def _second_level_of_equation_4() -> float:
    """Read literally: the means of neighbouring quantiles of 2^4 + 1 over the largest magnitude that is finite."""
    quantiles = [NormalDist().inv_cdf(i / 17) for i in range(1, 17)]
    means = [(low + high) / 2 for low, high in itertools.pairwise(quantiles)]
    return means[1] / abs(means[0])


def _top() -> float:
    return ((1 - 1 / 30) + (1 - 1 / 32)) / 2


def _agreement() -> float:
    pairs = zip(codebook.normal_float(4).tolist(), codebook.NF4_LEVELS, strict=True)
    return max(abs(ours - printed) for ours, printed in pairs)


def _more_for_swiglu() -> float:
    """In %, at 7B."""
    shape = LLAMA["7B"]
    return 100 * (2 * shape.adapter_parameters(64) / figure6.MIB / _bars("adapters")[0] - 1)


#: Heading of a section -> number that our own words add to the paper -> its value.
ARITHMETIC = {
    "Equation 1: absmax quantization to Int8": {"−127": lambda: -(2**7 - 1)},
    "Equation 4: NormalFloat quantiles": {
        "−0.769": _second_level_of_equation_4,
        "−0.696": lambda: codebook.NF4_LEVELS[1],
    },
    "Double Quantization: the saving": {
        "4": lambda: codebook.bits_of("nf4"),
        "4.127": lambda: figure6.BITS_DOUBLE_QUANTIZED,
        "4.5": lambda: figure6.BITS_PLAIN,
    },
    "Figure 6: which arithmetic explains the bars": {
        "2": lambda: 16 / 8,
        "64": lambda: figure6.RANK,
        "8": lambda: 2 * 32 / 8,
        "6": _more_for_swiglu,
        **{
            shown: lambda size=size: _arithmetic(size)
            for shown, size in zip(("3687", "6868", "16607", "32863"), LLAMA, strict=True)
        },
        "11": lambda: min(_below_the_bars()),
        "27": lambda: max(_below_the_bars()),
        "0.5": lambda: _overhead_gib(False),
        "1.1": lambda: _overhead_gib(True),
    },
    "How the printed NF4 values can be derived": {
        "2e-7": _agreement,
        "1": lambda: 1.0,
        "30": lambda: 2 * (2**4 - 1),
        "32": lambda: 2 * 2**4,
        "2": lambda: 2.0,
        "0.9677083": _top,
        "8": lambda: sum(level > 0 for level in codebook.NF4_LEVELS),
        "0.5": lambda: NormalDist().cdf(0),
        "7": lambda: sum(level < 0 for level in codebook.NF4_LEVELS),
        "0": lambda: codebook.NF4_LEVELS[7],
    },
    "NF4 with Double Quantization: 4.127 or 4.070 bits": {
        "4.127": lambda: figure6.BITS_DOUBLE_QUANTIZED,
        "4": lambda: codebook.bits_of("nf4"),
    },
    "Figure 6's total for 65B: 45.0 GB or more": {
        "45,714": _labelled_65b,
        "45,930": lambda: round(_sum_65b(), -1),
        "1000": lambda: 10**3,
        "45.9": lambda: _sum_65b() / 1000,
    },
    "Figure 2: RougeL by where adapters are placed": {
        shown: lambda method=method, pick=pick: pick(
            float(row["rougel"]) for row in csv_rows("figure_02_adapter_placement.csv") if row["method"] == method
        )
        for shown, method, pick in (
            ("64.5", "QLoRA-All", max),
            ("63.9", "QLoRA-FFN", min),
            ("64.0", "QLoRA-FFN", max),
            ("63.4", "QLoRA-Attention", max),
        )
    },
    "Figure 4: the LoRA rank hardly matters": {
        "64.0": lambda: min(float(row["rougel_min"]) for row in csv_rows("figure_04_lora_rank.csv")),
        "65.0": lambda: max(float(row["rougel_max"]) for row in csv_rows("figure_04_lora_rank.csv")),
    },
    "The paper in one paragraph": {"26": lambda: PAGES},
    "Mathematics is the greatest weakness": {"2193": lambda: 3 * 17 * 43},
}
_UNITS = re.compile(r"\b(\d+)(?:k\b|M (?=examples))")


def stated(text: str) -> list[str]:
    """Numbers in digits that are neither notation nor a place."""
    told = re.sub("|".join(NOTATION), "\N{SECTION SIGN}", _UNITS.sub(r"\1 ", text))
    return [number for number in reading.numbers(told) if number not in reading.WORDS]


NUMBERS = [
    (section, text, number)
    for section in note_sections()
    if section.kind != "References"
    for text in (section.heading, *section.paragraphs)
    for number in stated(text)
]


def words_of(section) -> str:
    return " ".join((section.heading, *section.paragraphs))


def cells(section) -> set[float]:
    """Numbers in the section's own files and in those of the tables and figures that it names."""
    text = words_of(section)
    named = {f"{kind.lower()}_{int(number):02d}" for kind, number in re.findall(r"(Table|Figure) (\d+)", text)}
    files = {*section.numbers, *(file for file in _FILES if file.startswith(tuple(named or "-")))}
    found = (re.fullmatch(r"(-?\d+(?:\.\d+)?(?:e-\d+)?)[BM]?", cell) for file in files for row in csv_rows(file)
             for cell in row.values())  # fmt: skip
    return {float(match[1]) for match in found if match}


def fact_of(section, number: str) -> tuple[int, str] | None:
    """(page, number as printed) on the section's pages, or on those that it names."""
    text = words_of(section)
    pages = {*range(section.first_page, section.last_page + 1), *map(int, re.findall(r"\bpages? (\d+)", text))}
    pages |= set(map(int, re.findall(r"\bpages \d+ and (\d+)", text)))
    value = abs(reading.value_of(number))
    found = ((page, known) for page in sorted(pages) for known in facts().get(page, {}))
    return next(((page, known) for page, known in found if reading.value_of(known) == value), None)


@pytest.mark.parametrize("heading", dict.fromkeys(section.heading for section, _, _ in NUMBERS))
def test_every_number_of_a_note_has_a_source(heading):
    for section, text, number in ((s, t, n) for s, t, n in NUMBERS if s.heading == heading):
        if number in ARITHMETIC.get(heading, {}):
            value = ARITHMETIC[heading][number]()
            assert reading.agrees(number, value), f"{section.file}: {number}, but recomputed {value:.10g}: {text}"
            continue
        known = fact_of(section, number) or reading.value_of(number) in cells(section)
        assert known, (
            f"papers/qlora/{section.file}: nothing says where {number} is from:\n  {text}\nAdd it to "
            f"papers/qlora/facts.toml under its page where the paper states it, to a CSV file, or to ARITHMETIC here "
            f"where it is ours."
        )


def test_numbers_of_statements_that_disagree_have_a_source():
    """What an answer shows when the paper disagrees with itself."""
    entries = tomllib.loads((NOTES / "disagreements.toml").read_text(encoding="utf-8"))["disagreement"]
    checked = 0
    for entry in entries:
        (section,) = [section for section in note_sections() if section.heading == entry["heading"]]
        for text in (entry["about"], *(statement["says"] for statement in entry["statements"])):
            for number in stated(text):
                checked += 1
                ours = ARITHMETIC.get(section.heading, {}).get(number)
                known = ours or fact_of(section, number) or reading.value_of(number) in cells(section)
                assert known, f"disagreements.toml, “{section.heading}”: nothing says where {number} is from: {text}"
    assert checked > 25


def test_many_numbers_were_looked_at():
    assert len(NUMBERS) > 600, "too few to prove anything"


def test_no_fact_is_left_over():
    """Each fact is stated by a note or on the pages."""
    stated = {fact_of(section, number) for section, _, number in NUMBERS}
    left = [f"page {page}: {number}" for page, known in facts().items() for number in known
            if (page, number) not in stated | used_facts(SENTENCES)]  # fmt: skip
    assert not left, f"facts.toml has facts that nothing states: {left}"
    left = [
        f"{heading}: {number}"
        for heading, known in ARITHMETIC.items()
        for number in known
        if not any(section.heading == heading and number == found for section, _, found in NUMBERS)
    ]
    assert not left, f"ARITHMETIC has numbers that no note states: {left}"


def test_factors_multiply_to_their_number():
    text = " ".join(paragraph for section in note_sections() for paragraph in section.paragraphs)
    products = re.findall(r"(\d+) = (\d+(?: × \d+)+)", text)
    products += [(whole, factors) for factors, whole in re.findall(r"(\d+(?: × \d+)+), which is (\d+)", text)]
    assert len(products) > 1
    for whole, factors in products:
        assert int(whole) == math.prod(map(int, factors.split(" × ")))


@pytest.mark.parametrize("page", facts())
def test_facts_stand_on_their_page(page):
    text = paper_pages()[page - 1].replace(",", "")
    printed = set(re.findall(r"(?<![\d.])\d+(?:\.\d+)?(?:e-\d+)?", text))
    for number, what in facts()[page].items():
        if not what.endswith(_PICTURE):
            assert number.replace(",", "") in printed, f"{number} ({what}) is not printed on page {page}"
