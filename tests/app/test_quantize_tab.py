"""The Quantize tab's handlers on real tensors, and on files that cannot be read."""

import json
import re
import struct

import pytest
import torch
from safetensors.torch import save_file

import qlora
from app.assistant.embedding import model_folder
from app.tabs import quantize as tab
from app.tabs import quantize_weights as weights
from app.text import quantize as text

EMBEDDING = text.EMBEDDING_MODEL
UP = "feed-forward: up"


def choose(**changes):
    choice = {
        "model": EMBEDDING,
        "layer": 2,
        "matrix": UP,
        "data_type": "nf4",
        "block_size": 64,
        "double_quantization": True,
        "narrow": False,
    } | changes
    return list(choice.values())


@pytest.fixture(scope="module")
def real_matrix() -> torch.Tensor:
    from safetensors import safe_open

    with safe_open(model_folder() / "model.safetensors", framework="pt") as file:
        return file.get_tensor("encoder.layer.1.intermediate.dense.weight")


def test_matrices_of_the_embedding_model():
    known = weights.matrices(EMBEDDING)
    assert len(known) == 6 * 6, "six layers, and no gate"
    assert known[1, UP] == (1536, 384)
    assert (1, "feed-forward: gate") not in known


@pytest.mark.parametrize("data_type", text.DATA_TYPES)
@pytest.mark.parametrize("double_quantization", [True, False])
def test_figures_equal_quantizing_the_tensor_directly(real_matrix, data_type, double_quantization):
    measured = weights.quantized(EMBEDDING, 2, UP, data_type, 128, double_quantization)
    stored = qlora.quantize(real_matrix, data_type, block_size=128, double_quantization=double_quantization)
    error = stored.dequantize(torch.float64) - real_matrix.double()
    assert measured.errors["mean_absolute"] == pytest.approx(error.abs().mean().item(), rel=1e-4)
    assert measured.errors["root_mean_square"] == pytest.approx(error.square().mean().sqrt().item(), rel=1e-4)
    assert measured.errors["largest"] == pytest.approx(error.abs().max().item(), rel=1e-4)
    assert measured.nbytes == stored.nbytes
    assert measured.count == real_matrix.numel()


def test_counts_equal_rounding_by_hand(real_matrix):
    measured = weights.quantized(EMBEDDING, 2, UP, "nf4", 64, False)
    blocks = real_matrix.view(-1, 64)
    scaled = blocks / blocks.abs().amax(dim=1, keepdim=True)
    nearest = (scaled.flatten()[:, None] - torch.tensor(measured.levels)).abs().argmin(dim=1)
    by_hand = torch.bincount(nearest, minlength=16)
    # A weight halfway between two levels may be rounded either way by the last bit.
    assert (by_hand - torch.tensor(measured.counts)).abs().sum() <= 8


def test_histogram_is_of_scaled_weights(real_matrix):
    found = weights.histogram(EMBEDDING, 2, UP, 64)
    blocks = real_matrix.view(-1, 64)
    scaled = (blocks / blocks.abs().amax(dim=1, keepdim=True)).flatten()
    assert (found.density * (2 / weights.HISTOGRAM_STEPS)).sum() == pytest.approx(1)
    assert found.half == pytest.approx(scaled.abs().median().item(), abs=1e-6)
    assert found.distinct_in_run > 31.9, "these weights were never quantized"


def test_level_panels_say_what_was_measured():
    about, panels, fold, table = tab.draw_levels(*choose())
    assert text.MODEL_NOTES[EMBEDDING][:40] in about
    assert panels.count("<svg") == 2
    assert fold["visible"] is True
    measured = weights.quantized(EMBEDDING, 2, UP, "nf4", 64, True)
    assert f"{measured.counts[7]:,}" in table
    assert table.count("<tr") == 17
    assert "measured" in panels


def test_error_panel_names_the_best_by_measurement():
    panel, _, table = tab.draw_errors(*choose())
    errors = {
        name: weights.quantized(EMBEDDING, 2, UP, name, 64, True).errors["mean_absolute"] for name in text.DATA_TYPES
    }
    best = min(errors, key=errors.get)
    assert f"On this layer {text.DATA_TYPES[best]} loses least" in panel
    assert all(name in table for name in text.DATA_TYPES.values())
    assert "4.127" in table
    assert "4.127 bits a weight" in panel


@pytest.mark.parametrize(
    "change",
    [{"layer": 3}, {"matrix": "attention: query"}, {"data_type": "int4"}, {"block_size": 4096}, {"narrow": True}],
)
def test_every_control_changes_the_drawing(change):
    def drawn(**changes):
        panels = tab.draw_levels(*choose(**changes))[1] + tab.draw_errors(*choose(**changes))[0]
        return re.sub(r"chart\d+|[pm][0-9a-f]{10}", "", panels)

    assert drawn() == drawn(), "the same choice draws the same, else this proves nothing"
    assert drawn(**change) != drawn()


def test_double_quantization_changes_storage_and_error():
    with_it, without = (tab.draw_errors(*choose(double_quantization=on)) for on in (True, False))
    assert "4.127 bits" in with_it[0]
    assert "4.500 bits" in without[0]
    assert with_it[2] != without[2]


def test_drawings_tell_different_ids_on_one_page():
    page = tab.draw_levels(*choose())[1] + tab.draw_errors(*choose())[0]
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert ids
    assert len(ids) == len(set(ids))


@pytest.fixture
def weights_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    monkeypatch.setattr(weights, "weights_file", lambda model: path)
    return path


def assert_one_sentence(words: str) -> None:
    about, panels, fold, table = tab.draw_levels(*choose())
    assert 'role="alert"' in panels
    assert words in panels
    assert (about, table) == ("", "")
    assert fold["visible"] is False
    errors, error_fold, error_table = tab.draw_errors(*choose())
    assert (errors, error_table) == ("", "")
    assert error_fold["visible"] is False


def test_missing_file(weights_file):
    assert_one_sentence("are missing")
    assert tab.offer_layers(EMBEDDING, UP) is not None


@pytest.mark.parametrize(
    "content",
    [b"", b"not a model", struct.pack("<Q", 2**40) + b"{}", struct.pack("<Q", 20) + b'{"a": 1, "b": [1, 2]'],
    ids=["empty", "text", "lying length", "broken header"],
)
def test_broken_file(weights_file, content):
    weights_file.write_bytes(content)
    assert_one_sentence("cannot be read")


def test_header_that_promises_more_than_the_file_holds(weights_file):
    header = {"encoder.layer.1.intermediate.dense.weight": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}
    text_bytes = json.dumps(header).encode()
    weights_file.write_bytes(struct.pack("<Q", len(text_bytes)) + text_bytes + bytes(8))
    assert_one_sentence("cannot be read")


def test_file_of_another_model(weights_file):
    save_file({"something": torch.zeros(4, 4)}, weights_file)
    assert_one_sentence("holds none of the weight matrices")


def model_of(path, value: torch.Tensor) -> None:
    names = [keys[1] for keys in text.MATRICES.values() if keys[1]]
    save_file({f"encoder.layer.{n}.{name}.weight": value.clone() for n in range(2) for name in names}, path)


def test_all_zero_matrix(weights_file):
    model_of(weights_file, torch.zeros(8, 64))
    assert_one_sentence("nothing to scale")


def test_not_a_number_in_the_weights(weights_file):
    model_of(weights_file, torch.full((8, 64), float("nan")))
    assert_one_sentence("finite")


def test_layer_that_the_model_does_not_have(weights_file):
    model_of(weights_file, torch.randn(8, 64))
    panels = tab.draw_levels(*choose(layer=9))[1]
    assert "Choose a layer from 1 to 2" in panels


def test_file_that_is_replaced_is_read_again(weights_file):
    import os

    model_of(weights_file, torch.randn(8, 64, generator=torch.manual_seed(0)))
    os.utime(weights_file, ns=(1, 1))
    first = weights.quantized(EMBEDDING, 1, UP, "nf4", 64, True)
    model_of(weights_file, torch.randn(8, 64, generator=torch.manual_seed(1)))
    os.utime(weights_file, ns=(2, 2))
    assert weights.quantized(EMBEDDING, 1, UP, "nf4", 64, True).errors != first.errors


def test_last_short_block(weights_file):
    model_of(weights_file, torch.randn(5, 21))
    assert weights.histogram(EMBEDDING, 1, UP, 64).density.sum() > 0
    assert weights.quantized(EMBEDDING, 1, UP, "nf4", 64, True).count == 105


def test_demo_language_model_was_in_four_bits_before():
    """The note on the page rests on this."""
    from qlora.errors import InputError

    try:
        found = weights.histogram(text.LANGUAGE_MODEL, 1, UP, 64)
    except InputError as missing:
        pytest.skip(str(missing))
    assert found.distinct_in_run <= 16
    assert len(weights.matrices(text.LANGUAGE_MODEL)) == 210
