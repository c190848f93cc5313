"""Own weights on the Quantize tab: typed numbers, uploaded files, and what is wrong with them, each in a sentence."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from app.tabs import quantize_redraw as tab
from app.tabs import quantize_sources as sources
from app.text import quantize_sources as text
from qlora.errors import InputError
from tests.app.test_quantize_tab import draw, html


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "own.safetensors"


def write(file: Path, header: dict | bytes, data: bytes = b"", length: int | None = None) -> Path:
    """A safetensors file byte by byte; ``length`` is what it claims its header to have."""
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(content) if length is None else length) + content + data)
    return file


def entry(shape: list, start: int, stop: int, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1 2 3", [1, 2, 3]),
        ("0.5, -0.25;1e-3\n−2", [0.5, -0.25, 1e-3, -2]),
        ("  7  ", [7]),
    ],
)
def test_typed_numbers_are_read(written, expected):
    assert sources.weights(sources.TypedNumbers(written)).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("", "at least one number"),
        (" ,; \n", "at least one number"),
        ("1 2 three", "Number 3, “three”, is not a number"),
        ("1 <img src=x onerror=alert(1)>", "is not a number"),
        ("1 nan", "Number 2, “nan”, does not fit"),
        ("1 inf", "does not fit"),
        ("1e300", "does not fit"),
        ("0 0 0", "are zero"),
        ("1 " * 5000, "At most 4,096"),
        ("1" * 200_000, "At most 4,096"),
    ],
)
def test_numbers_that_cannot_be_used_get_a_sentence(written, words):
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        sources.weights(sources.TypedNumbers(written))
    panels, trouble, _ = draw(tab.draw_levels, model=text.TYPE, numbers=written)
    assert trouble.count('role="alert"') == 1
    assert "<img" not in panels + trouble
    assert "<svg" in html(tab.draw_double, model=text.TYPE, numbers=written), "the rest of the page is alive"


def test_one_number_has_a_journey_but_no_outlier():
    typed = {"model": text.TYPE, "numbers": "0.3"}
    assert "<svg" in html(tab.draw_journey, **typed)
    assert "at least two numbers" in html(tab.draw_outlier, **typed)


def test_a_file_offers_its_tensors_of_floats_matrices_first(file):
    save_file(
        {
            "a.bias": torch.ones(5),
            "b.weight": torch.ones(4, 3, dtype=torch.bfloat16),
            "c.ids": torch.arange(4),
            "d.empty": torch.ones(0, 4),
            "e.scalar": torch.tensor(1.0),
        },
        file,
    )
    assert sources.tensors(file) == [("b.weight", (4, 3)), ("a.bias", (5,))]
    *_, tensor, _ = tab.offer(text.UPLOAD, 1, "", str(file))
    assert tensor["choices"] == [("b.weight (4 × 3)", "b.weight"), ("a.bias (5)", "a.bias")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_an_uploaded_tensor_is_what_the_panels_show(file, dtype):
    weight = torch.randn(70, 33, generator=torch.manual_seed(0)).to(dtype)
    save_file({"other": torch.ones(4, 4), "weight": weight}, file)
    chosen = sources.choose(text.UPLOAD, 1, "", str(file), "weight", None)
    assert torch.equal(sources.weights(chosen), weight.float())
    page = html(tab.draw_journey, model=text.UPLOAD, uploaded=str(file), tensor="weight")
    assert f"{weight[0, 0].float().item():.4g}".replace("-", "−") in page


def test_only_the_first_weights_of_a_large_tensor_are_read(file):
    save_file({"weight": torch.arange(sources.MOST_WEIGHTS * 2).view(-1, 4096).half().clamp(max=100)}, file)
    chosen = sources.choose(text.UPLOAD, 1, "", str(file), None, None)
    assert sources.weights(chosen).numel() == sources.MOST_WEIGHTS
    assert f"the first {sources.MOST_WEIGHTS:,} of {2 * sources.MOST_WEIGHTS:,}" in chosen.where()


def test_a_tensor_of_one_endless_row_is_cut(file):
    save_file({"weight": torch.ones(1, sources.MOST_WEIGHTS + 5)}, file)
    chosen = sources.choose(text.UPLOAD, 1, "", str(file), None, None)
    assert sources.weights(chosen).shape == (1, sources.MOST_WEIGHTS)


HOSTILE = {
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_text("this is a letter, not a model"),
    "header longer than the file": lambda file: write(file, b"{}", length=2**40),
    "header of no bytes": lambda file: write(file, b""),
    "header beyond the limit": lambda file: write(file, b" " * (9 * 2**20)),
    "not JSON": lambda file: write(file, b"{" * 64),
    "deeply nested": lambda file: write(file, b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "a list": lambda file: write(file, b"[1, 2, 3]"),
    "more data than there is": lambda file: write(file, {"w": entry([8, 8], 0, 256)}, bytes(8)),
    "shape and bytes disagree": lambda file: write(file, {"w": entry([2**20, 2**20], 0, 16)}, bytes(16)),
    "a negative size": lambda file: write(file, {"w": entry([-4, -4], 0, 64)}, bytes(64)),
    "a product beyond 64 bits": lambda file: write(file, {"w": entry([2**40, 2**40], 0, 64)}, bytes(64)),
    "offsets that run backwards": lambda file: write(file, {"w": entry([4], 16, 0)}, bytes(16)),
    "overlapping tensors": lambda file: write(file, {"a": entry([4], 0, 16), "b": entry([4], 8, 24)}, bytes(24)),
    "an unknown type": lambda file: write(file, {"w": entry([4], 0, 16, "F99")}, bytes(16)),
    "integers alone": lambda file: write(file, {"w": entry([4], 0, 16, "I32")}, bytes(16)),
    "nothing inside": lambda file: write(file, b"{}"),
    "NaN": lambda file: write(file, {"w": entry([4], 0, 16)}, struct.pack("<4f", 1, 2, float("nan"), 4)),
    "zeros": lambda file: write(file, {"w": entry([4], 0, 16)}, bytes(16)),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_gets_a_sentence_and_the_page_lives(file, hostile):
    hostile(file)
    uploaded = {"model": text.UPLOAD, "uploaded": str(file)}
    _, trouble, about = draw(tab.draw_levels, **uploaded)
    assert trouble.count('role="alert"') == 1
    assert len(trouble) < 500
    assert about == ""
    assert "Nothing can be shown" in html(tab.draw_journey, **uploaded)
    assert html(tab.draw_errors, **uploaded) == ""
    assert "<svg" in html(tab.draw_double, **uploaded)
    assert len(tab.offer(text.UPLOAD, 1, "", str(file))) == 5


def test_a_file_that_is_too_large_is_refused_unread(file):
    with file.open("wb") as large:
        large.truncate(4 * 2**30)  # a hole: it takes no room
    with pytest.raises(InputError, match="This file has 4,096 MiB; files up to 512 MiB"):
        sources.tensors(file)


def test_no_file_yet():
    assert "No file has been uploaded yet" in draw(tab.draw_levels, model=text.UPLOAD)[1]
    assert "No file has been uploaded yet" in draw(tab.draw_levels, model=text.UPLOAD, uploaded="/nowhere/x")[1]


def test_a_tensor_that_the_new_file_does_not_have_gives_way_to_its_first(file):
    save_file({"weight": torch.randn(8, 8)}, file)
    assert sources.choose(text.UPLOAD, 1, "", str(file), "of another file", None).name == "weight"


def test_names_in_a_file_are_shown_as_text(file):
    save_file({"<img src=x onerror=alert(1)>": torch.randn(8, 8)}, file)
    page = "".join(
        html(handler, model=text.UPLOAD, uploaded=str(file)) for handler in (tab.draw_levels, tab.draw_errors)
    )
    assert "&lt;img" in page
    assert "<img" not in page
