"""The Quantize tab's handlers on real tensors, and on files that cannot be read."""

import json
import re
import struct

import pytest
import torch
from safetensors.torch import save_file

import qlora
from app.assistant.embedding_package import model_folder
from app.tabs import quantize_measures as measures
from app.tabs import quantize_redraw as tab
from app.tabs import quantize_sources as sources
from app.tabs import quantize_weights as weights
from app.text import quantize as text
from app.text import quantize_sources as source_text
from app.text import quantize_story as story_text
from qlora.errors import InputError

EMBEDDING = text.EMBEDDING_MODEL
UP = "feed-forward: up"
OWN = {
    tab.draw_journey: (1,),
    tab.draw_levels: (),
    tab.draw_outlier: (5.0, 417),
    tab.draw_double: (story_text.DOUBLE_STEPS[-1],),
    tab.draw_errors: (),
}


def draw(handler, own=None, **changes):
    """What a listener gets, with the controls at their first values but for the changes."""
    choice = tab.Choice(EMBEDDING, 2, UP, None, None, None, "nf4", 64, True, False)._replace(**changes)
    return handler(*choice[:-1], *(OWN[handler] if own is None else own), choice.narrow)


def chosen(layer=2, name=UP) -> sources.Chosen:
    return sources.choose(EMBEDDING, layer, name, None, None, None)


def html(handler, **changes) -> str:
    drawn = draw(handler, **changes)
    return drawn if isinstance(drawn, str) else drawn[0]


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
    measured = measures.quantized(chosen(), data_type, 128, double_quantization)
    stored = qlora.quantize(real_matrix, data_type, block_size=128, double_quantization=double_quantization)
    error = stored.dequantize(torch.float64) - real_matrix.double()
    assert measured.errors["mean_absolute"] == pytest.approx(error.abs().mean().item(), rel=1e-4)
    assert measured.errors["root_mean_square"] == pytest.approx(error.square().mean().sqrt().item(), rel=1e-4)
    assert measured.errors["largest"] == pytest.approx(error.abs().max().item(), rel=1e-4)
    assert measured.nbytes == stored.nbytes
    assert measured.count == real_matrix.numel()


def test_counts_equal_rounding_by_hand(real_matrix):
    measured = measures.quantized(chosen(), "nf4", 64, False)
    blocks = real_matrix.view(-1, 64)
    scaled = blocks / blocks.abs().amax(dim=1, keepdim=True)
    nearest = (scaled.flatten()[:, None] - torch.tensor(measured.levels)).abs().argmin(dim=1)
    by_hand = torch.bincount(nearest, minlength=16)
    # A weight halfway between two levels may be rounded either way by the last bit.
    assert (by_hand - torch.tensor(measured.counts)).abs().sum() <= 8


def test_histogram_is_of_scaled_weights(real_matrix):
    found = measures.histogram(chosen(), 64)
    blocks = real_matrix.view(-1, 64)
    scaled = (blocks / blocks.abs().amax(dim=1, keepdim=True)).flatten()
    assert (found.density * (2 / measures.HISTOGRAM_STEPS)).sum() == pytest.approx(1)
    assert found.half == pytest.approx(scaled.abs().median().item(), abs=1e-6)
    assert found.distinct_in_run > 31.9, "these weights were never quantized"


def test_level_panels_say_what_was_measured():
    panels, trouble, about = draw(tab.draw_levels)
    assert text.MODEL_NOTES[EMBEDDING][:40] in about
    assert trouble == ""
    assert panels.count("<svg") == 2
    stored = measures.quantized(chosen(), "nf4", 64, True)
    assert f"{stored.counts[7]:,}" in panels
    assert panels.count("<tr>") == 2 + 100 + 16, "two tables, with a row a histogram step and a row a level"
    assert "measured" in panels


def test_error_panel_names_the_best_by_measurement():
    panel = html(tab.draw_errors)
    errors = {name: measures.quantized(chosen(), name, 64, True).errors["mean_absolute"] for name in text.DATA_TYPES}
    best = min(errors, key=errors.get)
    assert f"On this layer {text.DATA_TYPES[best]} loses least" in panel
    assert all(panel.count(name) >= 2 for name in text.DATA_TYPES.values())
    assert "4.127 bits a weight" in panel


def test_every_chart_has_a_text_alternative_a_table_and_downloads():
    page = "".join(map(html, OWN)) + tab.draw_construction(4, story_text.STEPS[0], False)[0]
    assert page.count("<svg") == 8
    for part in ("</desc>", "<table", 'data-save="svg"', 'data-save="png"', 'data-save="csv"', "data-csv="):
        assert page.count(part) == 8, part


@pytest.mark.parametrize("handler", OWN)
def test_every_panel_states_a_conclusion_and_where_its_numbers_come_from(handler):
    page = html(handler)
    assert page.count('class="conclusion"') >= 1
    assert page.count('class="conclusion"') == page.count('class="panel-title"')
    assert page.count('class="origin"') >= page.count('class="panel-title"')


@pytest.mark.parametrize(
    ("change", "handlers"),
    [
        ({"layer": 3}, set(OWN)),
        ({"matrix": "attention: query"}, set(OWN)),
        ({"data_type": "int4"}, set(OWN)),
        ({"block_size": 4096}, set(OWN)),
        ({"narrow": True}, set(OWN)),
        ({"double_quantization": False}, {tab.draw_journey, tab.draw_errors}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_every_control_changes_the_drawing(change, handlers):
    def drawn(handler, **changes):
        return re.sub(r"chart\d+|[pm][0-9a-f]{10}", "", html(handler, **changes))

    for handler in handlers:
        assert drawn(handler) == drawn(handler), "the same choice draws the same, else this proves nothing"
        assert drawn(handler, **change) != drawn(handler), handler.__name__


def test_double_quantization_changes_storage_and_error():
    with_it, without = (html(tab.draw_errors, double_quantization=on) for on in (True, False))
    assert "4.127 bits" in with_it
    assert "4.500 bits" in without


def test_drawings_tell_different_ids_on_one_page():
    page = "".join(map(html, OWN))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert ids
    assert len(ids) == len(set(ids))


def test_offered_controls_follow_the_source():
    layer, matrix, upload, tensor, numbers = tab.offer(EMBEDDING, 20, "feed-forward: gate", None)
    assert (layer["maximum"], layer["value"]) == (6, 1)
    assert not any("value" in moved for moved in tab.offer(EMBEDDING, 5, UP, None)[:2]), "what the model has stays"
    assert "feed-forward: gate" not in matrix["choices"]
    assert (matrix["value"], layer["visible"], upload["visible"], numbers["visible"]) == (UP, True, False, False)
    layer, matrix, upload, tensor, numbers = tab.offer(source_text.TYPE, 1, UP, None)
    assert (layer["visible"], matrix["visible"], tensor["visible"], numbers["visible"]) == (False, False, False, True)


def test_a_model_is_drawn_before_its_controls_fit():
    places = (20, "feed-forward: gate"), (1, UP)
    told = [html(tab.draw_levels, model=EMBEDDING, layer=layer, matrix=matrix) for layer, matrix in places]
    beyond, fitting = (re.sub(r"<[^>]+>", " ", page) for page in told)
    assert beyond == fitting


def test_sliders_are_fitted_to_few_numbers():
    typed = {"model": source_text.TYPE, "numbers": "1 2 -3 0.5 " * 20}
    assert draw(tab.draw_journey, own=(9,), **typed)[1] | {"__type__": ""} == {
        "__type__": "", "maximum": 2, "interactive": True, "value": 2,
    }  # fmt: skip
    assert draw(tab.draw_outlier, **typed)[1]["value"] == 80
    assert "value" not in draw(tab.draw_journey)[1], "a value that fits stays where the visitor put it"


@pytest.fixture
def weights_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    monkeypatch.setattr(weights, "weights_file", lambda model: path)
    return path


def assert_one_sentence(words: str) -> None:
    panels, trouble, about = draw(tab.draw_levels)
    assert trouble.count('role="alert"') == 1
    assert words in trouble
    assert words in panels
    assert about == ""
    assert words in html(tab.draw_journey)
    assert html(tab.draw_errors) == ""
    assert "<svg" in html(tab.draw_double), "the formula needs no weights"


def test_missing_file(weights_file):
    assert_one_sentence("are missing")
    assert len(tab.offer(EMBEDDING, 1, UP, None)) == 5


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
    with pytest.raises(InputError, match="Choose a layer from 1 to 2"):
        weights.matrix(EMBEDDING, 9, UP)


def test_file_that_is_replaced_is_read_again(weights_file):
    import os

    model_of(weights_file, torch.randn(8, 64, generator=torch.manual_seed(0)))
    os.utime(weights_file, ns=(1, 1))
    first = measures.quantized(chosen(1), "nf4", 64, True)
    model_of(weights_file, torch.randn(8, 64, generator=torch.manual_seed(1)))
    os.utime(weights_file, ns=(2, 2))
    assert measures.quantized(chosen(1), "nf4", 64, True).errors != first.errors


def test_last_short_block(weights_file):
    model_of(weights_file, torch.randn(5, 21))
    assert measures.histogram(chosen(1), 64).density.sum() > 0
    assert measures.quantized(chosen(1), "nf4", 64, True).count == 105


def test_demo_language_model_was_in_four_bits_before():
    """The note on the page rests on this."""
    from qlora.errors import InputError

    try:
        found = measures.histogram(sources.choose(text.LANGUAGE_MODEL, 1, UP, None, None, None), 64)
    except InputError as missing:
        pytest.skip(str(missing))
    assert found.distinct_in_run <= 16
    assert len(weights.matrices(text.LANGUAGE_MODEL)) == 210
