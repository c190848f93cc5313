"""Panels beside the memory estimate: what they say is what the estimate says, and what was measured."""

import json
import re
from dataclasses import replace
from html import unescape

import pytest

from app.tabs import memory_panels as panels
from app.text import memory as text
from qlora.memory.estimate import METHODS, EstimateOptions, estimate
from qlora.memory.shapes import LLAMA

SHAPE = LLAMA["7B"]
WIDE = EstimateOptions(batch_size=16, sequence_length=2048, checkpointed_layers=0, double_quantization=False)


def test_every_saving_is_that_of_the_changed_estimate():
    result = estimate(SHAPE, WIDE)
    found = dict(panels.savings(SHAPE, WIDE, result))
    assert len(found) >= 6, "else hardly anything is compared"
    assert list(found.values()) == sorted(found.values(), reverse=True)
    checkpointed = estimate(SHAPE, replace(WIDE, checkpointed_layers=None)).peak_bytes
    assert found[text.CHANGE_CHECKPOINTING] == pytest.approx(100 * (1 - checkpointed / result.peak_bytes))
    halved = estimate(SHAPE, replace(WIDE, batch_size=8)).peak_bytes
    assert found[text.CHANGE_BATCH.format(batch=8)] == pytest.approx(100 * (1 - halved / result.peak_bytes))


def test_pages_save_no_more_than_the_update_lets_them():
    options = EstimateOptions(r=256)
    result = estimate(SHAPE, options)
    update = sum(result.moments["update"].values())
    found = dict(panels.savings(SHAPE, options, result))
    left = result.peak_bytes * (1 - found.get(text.CHANGE_PAGES, 0) / 100)
    assert left >= min(update, result.peak_bytes) - 1


@pytest.mark.parametrize("method", METHODS)
def test_no_change_is_offered_that_is_made_already(method):
    options = EstimateOptions(method=method, r=1, sequence_length=1, optimizer="adamw-8bit", loss_chunk_tokens=512)
    offered = panels.changes(options)
    assert (text.CHANGE_METHOD in offered) == (method != "qlora")
    assert not {text.CHANGE_STATES, text.CHANGE_CHECKPOINTING, text.CHANGE_NESTED} & set(offered)
    if method == "qlora":
        result = estimate(SHAPE, options)
        assert text.SAVINGS_NONE in panels.savings_panel(SHAPE, options, result, False)


def test_formulas_say_how_the_bytes_arise():
    result = estimate(SHAPE, EstimateOptions())
    words = panels.part_words(result.moments, {}, EstimateOptions())
    weights = SHAPE.linear_parameters
    parts = result.components
    assert "linear weights × 4 bits = 3.0 GiB" in words["loss-base_weights"]
    assert parts["base_weights"] == weights * 4 / 8
    assert text.FORMULA_NESTED.format(block=64) in words["loss-quantization_constants"]
    assert parts["quantization_constants"] == pytest.approx(weights / 64 * (8 + 32 / 256) / 8, rel=1e-4)
    assert parts["optimizer_states"] == pytest.approx(result.trainable_parameters * 2 * 4, rel=1e-2)
    assert parts["gradients"] == pytest.approx(result.trainable_parameters * 2, rel=1e-2)
    assert parts["logits"] == 512 * (SHAPE.vocabulary_size * 3 * 4 + SHAPE.hidden_size * 2)
    assert set(words) == {f"{m}-{p}" for m, ps in result.moments.items() for p, size in ps.items() if size}


def test_parts_of_bars_can_be_reached_by_the_keyboard():
    by_method = {method: estimate(SHAPE, EstimateOptions(method=method)) for method in METHODS}
    html = panels.comparison(SHAPE, EstimateOptions(), by_method, False)
    parts = re.findall(r"<(?:\w+:)?g[^>]*data-part=\"(\w+)-(\w+)\"[^>]*>", html)
    assert {method for method, _ in parts} >= set(METHODS)
    said = re.findall(r'tabindex="0" role="img" aria-label="([^"]+)"', html)
    assert len(said) >= 15 and all(" = " in words for words in said)


def test_measured_rows_are_those_of_the_files():
    rows, conditions = panels.measured_rows()
    assert len(rows) == 12 and all("H200" in known["device"] for known in conditions)
    from importlib.resources import files

    lines = (files("qlora.bench") / "results" / panels.RESULTS[0]).read_text().splitlines()
    peaks = {json.loads(line).get("peak_bytes") for line in lines}
    assert all(round(measured * 2**30) in peaks for name, _, measured in rows if "7B" in name)
    html = unescape(panels.measured_panel(narrow=False))
    farthest = max(abs(formula / measured - 1) for _, formula, measured in rows)
    assert f"at most {100 * farthest:.1f} %" in html
    assert conditions[0]["command"] in html and "recorded" in html


def test_broken_results_are_said_in_place(monkeypatch):
    monkeypatch.setattr(panels, "RESULTS", ("missing.jsonl",))
    html = panels.measured_panel(narrow=False)
    assert 'role="alert"' in html and "missing.jsonl" in html and "<svg" not in html
