"""The CSV files against the PDF, and against what they say about themselves."""

import re

import pytest

from tests.papers.paper_text import NOTES, csv_rows, note_sections, paper_pages

FILES = sorted(path.name for path in NOTES.glob("*.csv"))
SOURCES = {"printed", "read from the picture", "measured from the drawing"}
PAGE_OF_FILE = {name: section.first_page for section in note_sections() for name in section.numbers}


def test_every_table_and_measured_figure_has_a_file():
    assert len([name for name in FILES if name.startswith("table_")]) == 13
    figures = {int(name[7:9]) for name in FILES if name.startswith("figure_")}
    assert figures == {2, 3, 4, 6}
    assert "nf4_values.csv" in FILES


@pytest.mark.parametrize("name", FILES)
def test_rows_are_complete_and_say_how_they_were_read(name):
    rows = csv_rows(name)
    assert rows
    for row in rows:
        assert None not in row and None not in row.values(), f"{name}: cells and header differ in number: {row}"
        assert row.get("source", "printed") in SOURCES
    assert len({tuple(row.values()) for row in rows}) == len(rows)


@pytest.mark.parametrize("name", FILES)
def test_printed_numbers_stand_on_their_page(name):
    text = paper_pages()[PAGE_OF_FILE[name] - 1]
    printed = set(re.findall(r"-?\d+(?:\.\d+)?(?:e-\d+)?", text))
    checked = 0
    for row in csv_rows(name):
        if row.get("source", "printed") != "printed":
            continue
        for column, value in row.items():
            if column in ("source", "rank", "index") or not re.fullmatch(r"-?\d+(?:\.\d+)?(?:e-\d+)?", value):
                continue
            checked += 1
            assert value in printed, f"{name}, {column}: {value} is not printed on page {PAGE_OF_FILE[name]}"
    assert checked or name.startswith(("figure_02", "figure_03", "figure_04", "figure_06_memory"))


@pytest.mark.parametrize(
    "name", [name for name in FILES if name.startswith("table_") and not name.startswith("table_13")]
)
def test_rows_stand_in_the_paper_in_the_same_order(name):
    """A row's numbers follow one another on the page, so a value in the wrong column or row is noticed."""
    text = paper_pages()[PAGE_OF_FILE[name] - 1]
    stream = " ".join(re.findall(r"-?\d+(?:\.\d+)?(?:e-\d+)?", text.replace("±", " ")))
    for row in csv_rows(name):
        numbers = [
            value
            for column, value in row.items()
            if column != "source" and re.fullmatch(r"-?\d+(?:\.\d+)?(?:e-\d+)?", value)
        ]
        assert f" {' '.join(numbers)} " in f" {stream} ", f"{name}: {row}"


def test_pairwise_judgments_are_antisymmetric():
    rows = csv_rows("table_12_pairwise_gpt4.csv")
    matrix = [
        [float(value) if value else 0.0 for key, value in row.items() if key.startswith("better_than_")] for row in rows
    ]
    assert len(matrix) == 7
    assert all(matrix[i][j] == -matrix[j][i] for i in range(7) for j in range(7))


def test_figure_6_memory_has_every_component_of_every_model():
    cells = {(row["model"], row["component"]): float(row["mib"]) for row in csv_rows("figure_06_memory.csv")}
    components = {"model", "adapters", "optimizer", "weight_gradient", "input_gradient_low", "input_gradient_high"}
    assert set(cells) == {(model, component) for model in ("7B", "13B", "33B", "65B") for component in components}
    labels = {row["model"]: float(row["label_gb"]) for row in csv_rows("figure_06_labels.csv")}
    for model, label in labels.items():
        assert cells[model, "input_gradient_low"] < cells[model, "input_gradient_high"]
        assert cells[model, "optimizer"] == 4 * cells[model, "adapters"]
        parts = [cells[model, part] for part in ("model", "adapters", "optimizer", "weight_gradient")]
        low, high = (sum(parts) + cells[model, f"input_gradient_{end}"] for end in ("low", "high"))
        agrees = round(low / 1000, 1) <= label <= round(high / 1000, 1)
        assert agrees == (model != "65B"), "the 65B label is the one that its bars do not add up to"


def test_nf4_values_are_the_library_s():
    from qlora.quantization.codebook import codebook

    values = [float(row["value"]) for row in csv_rows("nf4_values.csv")]
    assert codebook("nf4").tolist() == pytest.approx(values, abs=1e-9)
