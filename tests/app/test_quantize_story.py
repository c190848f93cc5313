"""How NormalFloat arises, and what double quantization costs: the steps lead to what the library uses."""

import itertools
from statistics import NormalDist

import pytest

from app.charts import quantize_construction as construction
from app.charts.quantize_bits import scale_bits
from app.tabs import quantize_redraw as tab
from app.tabs import quantize_story as story
from app.text import quantize_story as text
from qlora.quantization.codebook import NF4_LEVELS, normal_float
from tests.app.test_quantize_tab import draw, html


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_steps_lead_to_the_codebook(bits):
    steps = construction.construction(bits)
    assert steps.levels == pytest.approx(normal_float(bits).tolist(), abs=1e-7)
    assert steps.quantiles.count(0.0) == 1
    assert sum(quantile > 0 for quantile in steps.quantiles) == 2 ** (bits - 1)
    edges = [0, *map(construction.probability, steps.edges), 1]
    assert [b - a for a, b in itertools.pairwise(edges)] == pytest.approx([2**-bits] * 2**bits)
    below = [construction.probability(quantile) for quantile in steps.quantiles]
    assert below[-1] == pytest.approx(steps.top) == pytest.approx(1 - below[0])
    upper = [b - a for a, b in itertools.pairwise(below)][2 ** (bits - 1) - 1 :]
    assert upper == pytest.approx([upper[0]] * 2 ** (bits - 1)), "the upper half is cut into equal masses"


def test_four_bits_agree_with_the_paper():
    levels = construction.construction(4).levels
    difference = max(abs(a - b) for a, b in zip(levels, NF4_LEVELS, strict=True))
    assert 0 < difference < 2.2e-7
    assert f"{difference:.1e}".replace("e-0", "e−") in story.draw_step(4, 4, False)


@pytest.mark.parametrize("bits", [1, 9])
def test_other_widths_are_refused(bits):
    with pytest.raises(ValueError, match="2 to 8 bits"):
        construction.construction(bits)


def test_shares_of_evenly_spaced_levels_add_up():
    steps = construction.construction(4)
    shares = construction.nearest_shares(steps.even)
    assert sum(shares) == pytest.approx(1)
    beyond = sum(share for share, place in zip(shares, steps.even, strict=True) if abs(place) > 1.5)
    assert sum(abs(place) > 1.5 for place in steps.even) == 8, "half of the levels, as the page says"
    assert beyond == pytest.approx(construction.outer_share(), abs=0.04)
    assert construction.outer_share() == pytest.approx(2 * NormalDist().cdf(-1.5))


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_every_step_has_a_chart_a_table_and_a_sentence(bits, narrow):
    for number, step in enumerate(text.STEPS, start=1):
        drawn, previous, following = tab.draw_construction(bits, step, narrow)
        assert drawn.count("<svg") == 1
        assert drawn.count("<tr>") == 1 + 2**bits
        assert 'class="conclusion"' in drawn
        assert "{" not in drawn.partition("<svg")[0]
        assert (previous["interactive"], following["interactive"]) == (number > 1, number < 4)


def test_bits_of_the_scales_are_the_papers():
    plain, eight, nested = scale_bits(64)
    assert (plain, eight, round(nested, 3)) == (0.5, 0.125, 0.127)
    assert round(plain - nested, 3) == 0.373


@pytest.mark.parametrize("block_size", [32, 64, 4096])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_double_quantization_builds_up_row_by_row(block_size, number):
    page = draw(tab.draw_double, own=(text.DOUBLE_STEPS[number - 1],), block_size=block_size)
    for row in range(3):
        assert (f'data-part="bits-{row}"' in page) == (row < number)
    assert ('data-part="bits-nested"' in page) == (number == 3)
    assert f"{scale_bits(block_size)[number - 1]:.3f}" in page
    assert page.count("<tr>") == 1 + number


def test_what_it_costs_is_measured_too():
    page = html(tab.draw_double)
    assert "4.127 instead of 4.500 bits a weight are stored" in page
    assert "3.03 GB for 65 billion weights" in page
