"""The Memory tab's handlers: every number on the page is one of the formula's, the paper's, or the visitor's."""

import json
import re
from html import unescape

import gradio as gr
import pytest

from app.tabs import memory as tab
from app.tabs import memory_figure6
from app.text import memory as text
from qlora.errors import InputError
from qlora.memory import figure6
from qlora.memory.estimate import METHODS, OPTIMIZERS, EstimateOptions, estimate
from qlora.memory.shapes import LLAMA


def choose(**changes):
    choice = {
        "model": "LLaMA 7B",
        "hidden_size": 4096,
        "layers": 32,
        "heads": 32,
        "key_value_heads": 32,
        "intermediate_size": 11008,
        "vocabulary_size": 32000,
        "tied": False,
        "method": "qlora",
        "rank": 64,
        "batch": 1,
        "sequence": 512,
        "optimizer": "paged-adamw-32bit",
        "checkpointing": True,
        "double_quantization": True,
        "known": None,
        "narrow": False,
    } | changes
    return list(choice.values())


def words(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


@pytest.fixture(scope="module")
def panel() -> str:
    return memory_figure6.panel(narrow=False)


def test_figure6_panel_prints_formula_paper_and_difference(panel):
    paper, _, _ = memory_figure6.read_figure()
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", panel.split("</table>")[0])
    cells = {unescape(name): [unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", row)] for name, row in rows}
    for part, name in text.FIGURE6_PARTS.items():
        printed = [float(cell.replace(",", "")) for cell in cells[name][1::3]]
        assert printed == [paper[size][part] for size in LLAMA]
    for name in ("Adapters", "Weight gradient", "Optimizer"):
        assert cells[name][2::3] == ["exact"] * 4
    for cell in cells["Model, 4-bit"][2::3]:
        assert abs(float(cell.rstrip(" %").replace("−", "-"))) <= 2


def test_figure6_panel_says_what_is_unexplained(panel):
    said = words(panel)
    for number in ("1,077 MiB", "7.3 %", "305 / 477.5 / 930 / 1,525 MiB", "3,687 / 6,868 / 16,607 / 32,863 MiB"):
        assert number in said
    assert "labelled 45.0 GB" in said
    assert "45,714 MB" in said
    assert "45,930 MB" in said
    assert "3 % below" in said


def test_figure6_panel_marks_where_its_numbers_come_from(panel):
    marks = re.findall(r'class="origin">(.*?)<', panel)
    assert marks == ["computed by formula", "from the paper"]
    assert panel.count("<svg") == 1


def test_figure6_without_the_papers_numbers(monkeypatch, tmp_path):
    monkeypatch.setattr(memory_figure6.read_figure, "__defaults__", (tmp_path,))
    html = memory_figure6.panel(narrow=False)
    assert 'role="alert"' in html
    assert "figure_06_memory.csv" in html


@pytest.mark.parametrize(
    "content",
    ["", "model,component\n7B,model\n", "model,component,mib\n7B,model,many\n", "model,component,mib\n7B,model,1\n"],
)
def test_broken_numbers_of_the_paper(tmp_path, content):
    (tmp_path / memory_figure6.BARS).write_text(content)
    (tmp_path / memory_figure6.LABELS).write_text("model,label_gb\n7B,6.9\n")
    with pytest.raises(InputError, match="cannot be read"):
        memory_figure6.read_figure(tmp_path)


def test_difference_words():
    assert memory_figure6.difference_text(288.0, 288.0) == "exact"
    assert memory_figure6.difference_text(99.0, 100.0) == "−1 %"
    assert memory_figure6.difference_text(100.4, 100.0) == "+0.4 %"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_own_panel_shows_the_estimate(method, optimizer):
    own, comparison, _ = tab.draw_own(*choose(method=method, optimizer=optimizer))
    result = estimate(LLAMA["7B"], EstimateOptions(method=method, optimizer=optimizer))
    assert f"{result.peak_bytes / 2**30:,.1f} GiB" in words(own)
    assert ("pages moved out" in own) == optimizer.startswith("paged")
    for name, label in text.COMPONENTS.items():
        assert f'<th scope="row">{label}</th><td>{result.components[name]:,}</td>' in own
    assert comparison.count("<tr") == 1 + len(METHODS)
    assert "computed by formula" in own


def test_table_of_components_shares_add_up_to_the_peak():
    own, *_ = tab.draw_own(*choose(batch=4, checkpointing=False))
    shares = [float(share) for share in re.findall(r"<td>([\d.]+) %</td>", own)]
    assert sum(shares) == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"rank": 16},
        {"batch": 8},
        {"sequence": 4096},
        {"optimizer": "adamw-8bit"},
        {"checkpointing": False},
        {"double_quantization": False},
        {"method": "lora"},
        {"layers": 31},
        {"tied": True},
        {"narrow": True},
    ],
)
def test_every_control_changes_the_drawing(change):
    def drawn(**changes):
        return re.sub(r"chart\d+|[pm][0-9a-f]{10}", "", tab.draw_own(*choose(**changes))[0])

    assert drawn() == drawn(), "the same choice draws the same, else this proves nothing"
    assert drawn(**change) != drawn()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rank": None}, "Adapter rank must be a whole number, not empty"),
        ({"rank": 2.5}, "Adapter rank must be a whole number, not 2.5"),
        ({"rank": 0}, "The rank must be a whole number from 1"),
        ({"batch": "two"}, "must be a whole number, not two"),
        ({"sequence": float("nan")}, "Tokens in a sequence must be a whole number"),
        ({"sequence": float("inf")}, "Tokens in a sequence must be a whole number"),
        ({"layers": 10**9}, "The number of layers must be a whole number from 1"),
        ({"heads": 33}, "must be a multiple"),
        ({"hidden_size": "<b>"}, "&lt;b&gt;"),
    ],
)
def test_bad_numbers_stand_in_place_as_a_sentence(change, sentence):
    own, comparison, savings = tab.draw_own(*choose(**change))
    assert 'role="alert"' in own
    assert sentence in own
    assert "<svg" not in own
    assert comparison == savings == ""


def test_cards_that_the_paper_names():
    """65B in 16 bits needs more than 780 GB (section 1); with QLoRA less than 48 GB (abstract)."""
    shape = LLAMA["65B"]
    numbers = {field: getattr(shape, field) for field in text.SHAPE_FIELDS}
    qlora_panel = tab.draw_own(*choose(model=shape.name, **numbers))[0]
    full_panel = tab.draw_own(*choose(model=shape.name, method="full", **numbers))[0]
    assert "fits on a card with 48 GB" in words(qlora_panel)
    assert "more than any single card" in words(full_panel)


def test_formula_names_follow_the_figure():
    assert tuple(text.FIGURE6_PARTS) == figure6.COMPONENTS == tuple(text.TABLE_FIGURE6_FORMULAS)


def test_an_uploaded_configuration_is_estimated_as_it_is(tmp_path):
    sizes = {"hidden_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 1000}
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "opt", "ffn_dim": 512, "max_position_embeddings": 64, **sizes}))
    shape, listed, problem = tab.read_config(str(file))
    assert problem == "" and listed["value"] == text.READ_OWN in listed["choices"]
    own = tab.draw_own(*choose(model=text.READ_OWN, known=shape))[0]
    result = estimate(shape, EstimateOptions())
    assert f"{result.peak_bytes / 2**20:,.0f} MiB" in words(own)
    assert f"{shape.parameters:,}" in own


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "cannot be read"),
        ("[1]", "not an object"),
        ('{"model_type": "<b>"}', "&lt;b&gt;"),
        (" " * (3 * 2**20), "more than 2 MiB"),
    ],
)
def test_a_configuration_that_is_none_is_said_in_place(tmp_path, content, sentence):
    file = tmp_path / "config.json"
    file.write_text(content)
    shape, listed, problem = tab.read_config(str(file))
    assert sentence in problem and 'role="alert"' in problem
    assert str(tmp_path) not in problem, "the server's folders are nobody's business"
    assert shape == listed == gr.skip()


@pytest.mark.parametrize("name", ["", None, "/etc/config.json", "../x", "a b"])
def test_a_name_is_no_path(name):
    assert text.READ_NOTHING in unescape(tab.read_name(name)[2])


def test_a_name_that_cannot_be_fetched_is_said():
    assert "hub" in tab.read_name("nobody/nothing")[2]
