"""Every notebook runs from its first cell to its last in a kernel of its own, as in Jupyter, and shows its pictures.

A plain script would be a second cheaper to start, but would neither draw a figure nor know a magic.
"""

import os
import re
from pathlib import Path

import jupytext
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("*.py"))
SEARCHES = "07_ask_the_paper"


@pytest.fixture
def environment(tmp_path, request, monkeypatch):
    """Of the kernel: no file of the user's Jupyter is read or written, and nothing is looked for on the network."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    added = {"HF_HUB_OFFLINE": "1"}
    if request.node.callspec.params["source"].stem == SEARCHES:  # it needs the index that all tests share, and no model
        added["QLORA_CACHE"] = str(request.getfixturevalue("index_cache"))
    return os.environ | added


@pytest.mark.timeout(900)
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_runs_to_its_end(source, environment):
    notebook = _with_answers(jupytext.read(source))
    here = {"metadata": {"path": str(NOTEBOOKS)}}
    # Its defaults give up waiting for outputs after four seconds, which a busy machine may take.
    patience = {"timeout": 800, "startup_timeout": 300, "iopub_timeout": 300}
    NotebookClient(notebook, kernel_name="python3", resources=here, **patience).execute(env=environment)

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("image/svg+xml" in output.get("data", {}) for output in outputs), "it shows no picture"
    noise = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not noise, "warnings between the lines of the story"
    for cell in notebook.cells:
        tags, said = cell.metadata.get("tags", ()), "".join(o.get("text", "") for o in cell.get("outputs", ()))
        if "exercise" in tags:
            assert "still open" in said
        if "wrong" in tags:
            assert any(output.output_type == "error" for output in cell.outputs), f"it takes any answer:\n{cell.source}"
        if "solved" in tags:
            assert "right" in said, "the solution does not pass the exercise's own check"
        if "gpu" in tags and not _has_gpu():
            assert said.startswith("Skipped: "), "without a GPU it says what is skipped and why"


def _with_answers(notebook):
    """Each exercise once more with a wrong answer, which its check must refuse, and at the end with the solution's."""
    cells, solved = [], []
    for cell in notebook.cells:
        cells.append(cell)
        if "exercise" in cell.metadata.get("tags", ()):
            first, _, rest = cell.source.partition("\n")
            names = re.fullmatch(r"(\w+(?:, \w+)*) = None(?:, None)*", first).group(1).split(", ")
            wrong = f"{', '.join(names)} = {', '.join(['-1'] * len(names))}\n{rest}"
            cells.append(new_code_cell(wrong, metadata={"tags": ["wrong", "raises-exception"]}))
            solved.append(new_code_cell(rest, metadata={"tags": ["solved"]}))
    notebook.cells = cells + solved
    return notebook


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
