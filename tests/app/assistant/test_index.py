"""The index is disposable: whatever happens to it, it is rebuilt, and never half there."""

import json
import os
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from app.assistant import index as index_module
from app.assistant import library
from app.assistant.chroma_folder import let_go
from app.assistant.index import index_folder, open_index
from qlora.errors import InputError


@pytest.fixture
def opened(bread, embedder):
    """(open, count): opens the small paper's index; `count` says how often one was built."""
    paper = library.papers(bread)[0]
    built = []

    def open_it(pdf: Path | None = bread / "bread.pdf", ask: bool = True):
        seen = []
        index = open_index(paper, pdf, embedder, seen.append, ask=ask)
        built.append(bool(seen))
        return index

    return open_it, built


def current_folder() -> Path:
    (folder,) = [path for path in index_folder().iterdir() if path.is_dir()]
    return folder


def test_built_once_then_opened(opened):
    open_it, built = opened
    first, second = open_it(), open_it()
    assert built == [True, False]
    assert first.chunks == second.chunks and len(first.chunks) > 5
    assert not list(index_folder().glob(".building-*"))


def test_the_process_has_one_client_for_an_index(opened):
    open_it, _ = opened
    assert open_it().client is open_it().client


def test_nearest_finds_the_passage(opened, embedder):
    open_it, _ = opened
    index = open_it()
    vector = embedder.encode(["How long is the dough kneaded?"])[0]
    number, cosine = index.nearest("passages", vector, 1)[0]
    assert "knead" in index.chunks[number].text and 0.3 < cosine < 1


def forge_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"chunker": -1}))


DAMAGE = {
    "foreign": forge_manifest,
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "no database": lambda folder: shutil.rmtree(folder / "chroma"),
    "broken database": lambda folder: (folder / "chroma" / "chroma.sqlite3").write_bytes(b"not a database" * 100),
    "broken passages": lambda folder: (folder / "passages.json").write_text('{"passages": [{'),
    "database cut short": lambda folder: os.truncate(folder / "chroma" / "chroma.sqlite3", 40_000),
    "other passages": lambda folder: (folder / "passages.json").write_text(
        json.dumps({"passages": [], "abbreviations": {}, "rewordings": {}, "sentence_chunk": [], "sentence_of": []})
    ),
}


@pytest.mark.parametrize("ask", [True, False])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_index_is_rebuilt(opened, kind, ask):
    open_it, built = opened
    chunks = open_it().chunks
    let_go(current_folder() / "chroma")
    DAMAGE[kind](current_folder())
    again = open_it(ask=ask)
    assert built == [True, True]
    assert again.chunks == chunks


def test_a_change_of_the_notes_gives_another_index(opened, bread):
    open_it, built = opened
    open_it()
    note = bread / "bread" / "01_bread.md"
    note.write_text(note.read_text(encoding="utf-8").replace("lifts the loaf", "raises the loaf"), encoding="utf-8")
    assert any("raises" in chunk.text for chunk in open_it().chunks)
    assert built == [True, True]


def test_with_and_without_the_pdf_are_two_indexes(opened):
    open_it, built = opened
    assert open_it().has_paper and not open_it(None).has_paper
    assert {chunk.source for chunk in open_it(None).chunks} == {"notes"}
    assert built == [True, True, False]


def test_what_an_earlier_index_holds_is_not_computed_again(bread, embedder, monkeypatch):
    """The notes are indexed when the app is set up; then the PDF comes."""
    asked, encode = [], embedder.encode_pieces
    monkeypatch.setattr(embedder, "encode_pieces", lambda texts, *rest: asked.extend(texts) or encode(texts, *rest))
    paper, pdf = library.papers(bread)[0], bread / "bread.pdf"
    open_index(paper, None, embedder)
    of_the_notes = set(asked)
    asked.clear()
    taken_over = open_index(paper, pdf, embedder)
    assert asked and of_the_notes and not of_the_notes & set(asked)
    asked.clear()
    anew = open_index(paper, pdf, embedder, anew=True)
    assert of_the_notes < set(asked)
    assert np.allclose(taken_over.vectors("sentences"), anew.vectors("sentences"), atol=1e-5)
    assert np.array_equal(taken_over.pieces.ends, anew.pieces.ends)
    assert abs(taken_over.pieces.codes.astype(int) - anew.pieces.codes).max() <= 1


def test_no_disk_space_is_said_before_anything_is_written(opened, monkeypatch):
    open_it, _ = opened
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1024))
    with pytest.raises(InputError, match="Free some disk space"):
        open_it()
    assert [path.suffix for path in index_folder().iterdir()] == [".lock"]


def test_a_disk_that_fills_up_while_building_leaves_nothing(opened, monkeypatch):
    open_it, built = opened

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(index_module.os, "replace", full)
        with pytest.raises(InputError, match="no disk space left"):
            open_it()
    assert not [path for path in index_folder().iterdir() if path.is_dir()]
    open_it()
    assert built[-1]


def test_a_cache_that_cannot_be_written_is_said(opened, monkeypatch, tmp_path):
    open_it, _ = opened
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("QLORA_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="QLORA_CACHE"):
        open_it()


def test_two_processes_build_one_index(bread):
    """Both start at the same moment; one builds, the other waits and opens, and both answer the same."""
    script = (
        "import sys; from pathlib import Path; from app.assistant.assistant import Assistant\n"
        "seen = []; a = Assistant(folder=Path(sys.argv[1])); g = a.open(seen.append)\n"
        "print(bool(seen), a.ask('How long is the dough kneaded?').text)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(bread)], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=240)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sorted(line.split(" ", 1)[0] for line in outputs) == ["False", "True"]
    assert len({line.split(" ", 1)[1] for line in outputs}) == 1 and "12 minutes" in outputs[0]


def test_an_index_that_is_replaced_still_answers_who_has_it_open(bread, embedder):
    paper, pdf = library.papers(bread)[0], bread / "bread.pdf"
    first = open_index(paper, pdf, embedder)
    second = open_index(paper, pdf, embedder, anew=True)
    vector = embedder.encode(["How long is the dough kneaded?"])[0]
    assert not first.folder.exists() and second.folder.exists()
    assert first.nearest("passages", vector, 3) == second.nearest("passages", vector, 3)
    client = weakref.ref(first.client)
    del first
    assert client() is None, "closed with the last one who had it"


def test_old_indexes_do_not_pile_up(opened, bread):
    open_it, _ = opened
    note = bread / "bread" / "01_bread.md"
    for number in range(6):
        note.write_text(note.read_text(encoding="utf-8") + f"\nAnother line {number}.\n", encoding="utf-8")
        open_it()
    assert len([path for path in index_folder().iterdir() if path.is_dir()]) == 4
