"""One weight's journey: every number on its way is what the quantizer stores."""

import html as markup
import json
import re

import pytest
import torch

import qlora
from app.tabs import quantize_journey as journeys
from app.tabs import quantize_redraw as tab
from app.tabs import quantize_sources as sources
from app.text import quantize as labels
from app.text import quantize_sources as source_text
from qlora.quantization.codebook import codebook
from tests.app.test_quantize_tab import EMBEDDING, UP, chosen, html


@pytest.mark.parametrize("data_type", labels.DATA_TYPES)
@pytest.mark.parametrize("block_size", [32, 64, 256])
@pytest.mark.parametrize("double_quantization", [True, False])
def test_steps_are_those_of_the_quantizer(data_type, block_size, double_quantization):
    weights = sources.weights(chosen())
    stored = qlora.quantize(weights, data_type, block_size=block_size, double_quantization=double_quantization)
    codes, decoded = stored.unpacked_codes(), stored.dequantize(torch.float32).flatten()
    run = 3
    steps = journeys.journey(chosen(), data_type, block_size, double_quantization, run)
    assert len(steps) == 64
    for place, step in enumerate(steps, start=(run - 1) * 64):
        block = weights.flatten()[place // block_size * block_size :][:block_size]
        assert step.number == place + 1
        assert step.value == weights.flatten()[place].item()
        assert step.absmax == block.abs().max().item()
        assert weights.flatten()[step.largest - 1].abs().item() == step.absmax
        assert step.block == (
            place // block_size + 1,
            place // block_size * block_size + 1,
            (place // block_size + 1) * block_size,
        )
        assert step.code == codes[place].item()
        assert step.level == codebook(data_type)[step.code].item()
        assert step.decoded == decoded[place].item()
        assert step.byte == stored.codes[place // 2].item()
        assert (step.byte >> 4 if place % 2 == 0 else step.byte & 15) == step.code
        assert step.other == codes[place ^ 1].item()
        assert (step.absmax_code is not None) == double_quantization
        below, above = (
            float(f"{side}inf") if edge is None else edge for side, edge in zip("-+", step.edges, strict=True)
        )
        assert below - 1e-6 <= step.scaled <= above + 1e-6


def test_an_odd_last_weight_has_no_neighbour():
    typed = sources.TypedNumbers("0.5 -1 0.25")
    *_, last = journeys.journey(typed, "nf4", 64, False, 1)
    assert last.other is None
    assert last.byte >> 4 == last.code
    assert last.block == (1, 1, 3)
    page = journeys.draw_journey(typed, "nf4", 64, False, 1, False)
    assert "the last weight has no neighbour" in page


def test_a_block_of_zeros_comes_back_as_zeros():
    typed = sources.TypedNumbers("0 " * 32 + "1 " * 32)
    steps = journeys.journey(typed, "nf4", 32, False, 1)
    assert {(step.scaled, step.decoded) for step in steps[:32]} == {(0.0, 0.0)}
    assert "<svg" in journeys.draw_journey(typed, "nf4", 32, False, 1, False)


def test_panel_shows_the_weight_that_loses_most_and_carries_the_others():
    page = html(tab.draw_journey)
    steps = journeys.journey(chosen(), "nf4", 64, True, 1)
    worst = max(range(64), key=lambda place: abs(steps[place].decoded - steps[place].value))
    assert re.search(rf'aria-checked="true" data-weight="{worst}" tabindex="0"', page)
    assert page.count('tabindex="-1"') == 63
    records = json.loads(markup.unescape(re.search(r'data-journey="([^"]+)"', page).group(1)))
    assert len(records) == 64
    fields = set(re.findall(r'data-field="(\w+)"', page))
    assert fields == set(records[0]) - {"at", "at_level"}
    assert f'data-field="nibble">{steps[worst].code:04b}<' in page


def test_a_run_beyond_the_last_is_the_last():
    last = journeys.runs(chosen())
    assert last == 1536 * 384 / 64
    page = journeys.draw_journey(chosen(), "nf4", 64, True, last + 5, False)
    assert f"Weights {1536 * 384 - 63:,} to {1536 * 384:,}" in page


def test_place_is_told_by_row_and_column():
    typed = sources.choose(source_text.TYPE, 1, "", None, None, "1 2 3")
    assert "number 3" in journeys.draw_journey(typed, "nf4", 64, False, 1, False)
    assert "row 1, column" in html(tab.draw_journey, model=EMBEDDING, matrix=UP)
