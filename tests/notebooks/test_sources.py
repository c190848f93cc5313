"""What a reader opens is what was reviewed: the .ipynb come from the .py, without outputs; and what is in them."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("*.py"))
EVERY = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
PROJECT = ("qlora", "app.charts", "app.assistant")


def cells(source: Path, tag: str) -> list[str]:
    return [cell.source for cell in jupytext.read(source).cells if tag in cell.metadata.get("tags", ())]


def test_the_seven_are_there():
    assert [source.stem for source in SOURCES] == [
        "01_normalfloat", "02_blockwise_and_double_quantization", "03_memory", "04_lora_from_scratch",
        "05_paged_optimizer", "06_finetune", "07_ask_the_paper",
    ]  # fmt: skip
    assert [file.stem for file in sorted(NOTEBOOKS.glob("*.ipynb"))] == [source.stem for source in SOURCES]


@EVERY
def test_the_ipynb_is_that_of_the_source(source):
    written = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(written)
    of_source = jupytext.read(source)
    pair = [
        [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in book.cells] for book in (of_source, written)
    ]
    assert pair[0] == pair[1], "write it again: make notebooks"
    assert written.metadata.kernelspec == of_source.metadata.kernelspec


@EVERY
def test_the_ipynb_has_no_outputs(source):
    book = json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))
    code_cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert code_cells
    clean = all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code_cells)
    assert clean, "clear its outputs in Jupyter, or delete it, and then: make notebooks"


@EVERY
def test_it_asks_asserts_and_has_solutions(source):
    text = source.read_text(encoding="utf-8")
    assert text.count("**Predict") >= 2, "a reader guesses before the result"
    assert len(cells(source, "exercise")) >= 2
    assert len(cells(source, "solution")) == len(cells(source, "exercise"))
    assert all("assert " in cell for cell in cells(source, "exercise") + cells(source, "solution"))
    hidden = [c for c in jupytext.read(source).cells if "solution" in c.metadata.get("tags", ())]
    assert all(cell.metadata["jupyter"]["source_hidden"] for cell in hidden)
    asserted = sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(text)))
    assert asserted >= 12, "conclusions are asserted"
    assert re.search(r"\bp(age|ages|\.) \d", text), "numbers name their page"


@EVERY
def test_it_uses_the_project_and_nothing_of_its_inside(source):
    text = source.read_text(encoding="utf-8")
    tree = ast.parse(text)
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    own = {name for name in names if name.partition(".")[0] in ("qlora", "app")}
    assert own and all(name.startswith(PROJECT) for name in own), own
    assert not re.search(r"#[0-9a-fA-F]{6}\b", source.read_text(encoding="utf-8")), (
        "colours come from app.charts.palette"
    )
    assert len(source.read_text(encoding="utf-8").splitlines()) <= 320


@EVERY
def test_cells_for_a_gpu_are_marked(source):
    for cell in jupytext.read(source).cells:
        if cell.cell_type == "code" and "cuda" in cell.source:
            assert "gpu" in cell.metadata.get("tags", ()), cell.source
            assert cell.source.startswith('if not torch.cuda.is_available():\n    print("Skipped: ')


def test_the_first_code_cell_is_the_same_everywhere():
    assert len({cells(source, "setup")[0] for source in SOURCES}) == 1
    for source in SOURCES:
        first = next(cell for cell in jupytext.read(source).cells if cell.cell_type == "code")
        assert first.source == cells(source, "setup")[0]


@pytest.fixture
def setup_cell(monkeypatch):
    """Run the first cell -> the commands that it ran, none of them really."""

    def run(installed: bool, source: str = "") -> list[list[str]]:
        ran = []
        found = importlib.util.find_spec("qlora") if installed else None
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
        monkeypatch.setattr(subprocess, "run", lambda command, check: ran.append(command))
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setenv("QLORA_SOURCE", source)
        exec(cells(SOURCES[0], "setup")[0], {})
        return ran

    return run


def test_nothing_is_installed_where_the_project_is(setup_cell):
    assert setup_cell(installed=True) == []


def test_elsewhere_it_says_what_is_missing(setup_cell):
    with pytest.raises(RuntimeError, match="SOURCE"):
        setup_cell(installed=False)


def test_elsewhere_it_installs_a_folder(setup_cell, tmp_path):
    commands = setup_cell(installed=False, source=str(tmp_path))
    assert commands[0][1:] == ["-m", "pip", "install", "--quiet", "--editable", str(tmp_path)]
    makefile = (NOTEBOOKS.parent / "Makefile").read_text(encoding="utf-8")
    packages = re.search(r"^MODEL_PACKAGES := (.*)$", makefile, re.MULTILINE).group(1).split()
    assert commands[1][-len(packages) :] == packages, "the versions that make installs"


def test_elsewhere_it_clones_an_address(setup_cell):
    commands = setup_cell(installed=False, source="https://example.org/qlora.git")
    assert commands[0] == ["git", "clone", "--depth", "1", "https://example.org/qlora.git", "qlora-project"]
    assert commands[1][-1] == "qlora-project"
