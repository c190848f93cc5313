"""The paper's Figure 6 from formulas, against the numbers read from the figure."""

import csv
from pathlib import Path

import pytest

from qlora.memory import figure6
from qlora.memory.shapes import LLAMA

PAPERS = Path(__file__).parents[3] / "papers" / "qlora"


@pytest.fixture(scope="module")
def paper() -> dict[str, dict[str, float]]:
    figure: dict[str, dict[str, float]] = {}
    with (PAPERS / "figure_06_memory.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            figure.setdefault(row["model"], {})[row["component"]] = float(row["mib"])
    assert set(figure) == set(LLAMA), "all four sizes are needed, else this proves little"
    return figure


@pytest.mark.parametrize("name", LLAMA)
def test_adapters_weight_gradient_and_optimizer_are_exact(paper, name):
    ours = figure6.recreate(paper)[name]
    for component in ("adapters", "weight_gradient", "optimizer"):
        assert ours[component] == paper[name][component]


@pytest.mark.parametrize("name", LLAMA)
def test_model_within_two_percent(paper, name):
    assert figure6.recreate(paper)[name]["model"] == pytest.approx(paper[name]["model"], rel=0.02)


@pytest.mark.parametrize(("name", "short_of_bar"), [("7B", 0), ("13B", 0), ("33B", 0), ("65B", 0.035)])
def test_input_gradient_lies_within_the_drawn_bar(paper, name, short_of_bar):
    """The bar's ends are read from the drawing; at 65B the likeliest formula is 3 % below its lower end."""
    drawn = paper[name]
    ours = figure6.recreate(paper)[name]["input_gradient"]
    assert drawn["input_gradient_low"] * (1 - short_of_bar) <= ours <= drawn["input_gradient_high"]


def test_bars_fit_better_without_double_quantization(paper):
    plain = figure6.fit_overhead(paper)
    nested = figure6.fit_overhead(paper, figure6.BITS_DOUBLE_QUANTIZED)
    assert plain.largest_deviation < 0.011
    assert nested.largest_deviation > 3 * plain.largest_deviation
    assert plain.overhead_mib == pytest.approx(1077, abs=1)


def test_overhead_follows_the_numbers_it_is_fitted_to(paper):
    shifted = {name: {**parts, "model": parts["model"] + 100} for name, parts in paper.items()}
    assert figure6.fit_overhead(shifted).overhead_mib > figure6.fit_overhead(paper).overhead_mib + 90


def test_real_llama_adapters_are_larger_than_the_figure(paper):
    """LLaMA's feed-forward part has three matrices; the figure's 18 h counts two."""
    counted = {"7B": 159_907_840, "13B": 250_347_520, "33B": 487_587_840, "65B": 799_539_200}
    for name, shape in LLAMA.items():
        assert shape.adapter_parameters(figure6.RANK) == counted[name]
        assert 1.05 < 2 * counted[name] / figure6.MIB / paper[name]["adapters"] < 1.07
