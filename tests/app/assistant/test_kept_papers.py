"""Papers that the visitor added, later on: listed, indexed each on its own, damaged, removed for good."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.assistant.index_folders import index_folder
from app.assistant.library import add, catalogue, find_pdf, paper_of, papers, reindex, remove
from app.assistant.pictures import page_picture
from app.assistant.shelf import library_folder
from qlora.errors import InputError
from tests.app.assistant.conftest import SALT, find, left_behind

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("record", [None, "{", "[]", '{"title": "x"}'])
def test_a_record_that_is_lost_does_not_lose_the_paper(bread, salt, embedder, record):
    paper = add(salt, folder=bread).paper
    file = library_folder() / paper.id / "paper.json"
    file.unlink() if record is None else file.write_text(record)
    found = paper_of(paper.id, bread)
    assert (found.title, found.made_from, found.is_added) == ("salt in dough", "markdown", True)
    assert "two grams" in find(found, bread, embedder, "How much salt is used?").text
    remove(paper.id, bread)


def test_a_file_that_somebody_removed_is_said(bread, cake, embedder):
    paper = add(cake, folder=bread).paper
    paper.files[0].unlink()
    assert "no longer there" in find_pdf(paper, bread).problem
    with pytest.raises(InputError, match="no longer there"):
        find(paper, bread, embedder, "What rises?")
    assert not catalogue(bread)[1].indexed


def test_the_list_says_what_each_is_made_from(bread, salt, cake, embedder):
    add(salt, folder=bread)
    cakes = add(cake, folder=bread).paper
    reindex(cakes.id, embedder, folder=bread)
    (bread / "bread.pdf").unlink()
    lines = catalogue(bread)
    assert [(e.paper.id, e.made_from, e.pages, e.indexed, e.removable) for e in lines] == [
        ("bread", "notes", 2, False, False),
        ("salt-in-dough", "markdown", 1, False, True),
        ("cakes-for-large-ovens", "pdf", 2, True, True),
    ]
    assert [entry.size_bytes for entry in lines[1:]] == [len(SALT), cake.stat().st_size]
    assert lines[0].added == "" and lines[1].added.startswith("20")


def test_removed_for_good(bread, cake, salt, embedder):
    cakes, kept = add(cake, folder=bread).paper, add(salt, folder=bread).paper
    for paper in (cakes, kept):
        reindex(paper.id, embedder, folder=bread)
    assert page_picture(find_pdf(cakes, bread).path, 1)
    pictures = library_folder().parent / "pages" / cakes.sha256[:16]
    assert pictures.is_dir()
    remove(cakes.id, bread)
    assert [paper.id for paper in papers(bread)] == ["bread", kept.id]
    assert not pictures.exists() and left_behind() == []
    assert [path.name.rsplit("-", 2)[0] for path in index_folder().iterdir() if path.is_dir()] == [kept.id]
    with pytest.raises(InputError, match="no paper “cakes-for-large-ovens”"):
        remove(cakes.id, bread)


def test_papers_of_the_manifest_stay(bread):
    with pytest.raises(InputError, match="comes with the project"):
        remove("bread", bread)
    assert (bread / "bread.pdf").exists()


@pytest.mark.parametrize("paper_id", ["", "..", "../papers", "salt-in-dough/../../x", "/etc"])
def test_identifiers_that_are_none_touch_nothing(bread, salt, paper_id):
    add(salt, folder=bread)
    for action in (remove, paper_of):
        with pytest.raises(InputError, match="There is no paper"):
            action(paper_id, bread)
    with pytest.raises(InputError, match="There is no paper"):
        reindex(paper_id, folder=bread)
    assert len(papers(bread)) == 2


def test_one_papers_index_is_not_anothers_whose_name_begins_alike(bread, salt, embedder):
    first = add(salt, "Bread", folder=bread).paper
    assert first.id == "bread-2"
    one, other = reindex("bread", embedder, folder=bread), reindex("bread-2", embedder, folder=bread)
    note = bread / "bread" / "01_bread.md"
    for number in range(5):
        note.write_text(note.read_text(encoding="utf-8") + f"\nAnother line {number}.\n", encoding="utf-8")
        one = reindex("bread", embedder, folder=bread)
    assert other.folder.is_dir() and other.nearest("passages", embedder.encode(["salt"])[0], 1)
    assert one.folder.is_dir()


def test_reindexing_builds_anew_and_answers_the_same(bread, salt, embedder):
    paper = add(salt, folder=bread).paper
    first = reindex(paper.id, embedder, folder=bread)
    shares = []
    second = reindex(paper.id, embedder, shares.append, folder=bread)
    assert shares and first.folder != second.folder and not first.folder.exists()
    assert first.chunks == second.chunks


def test_a_process_killed_while_indexing_leaves_nothing_half_done(bread, salt, embedder):
    paper = add(salt, folder=bread).paper
    script = (
        "import os, sys; from pathlib import Path; from app.assistant import index, library\n"
        "index.os.replace = lambda *paths: os.kill(os.getpid(), 9)\n"
        "library.reindex(sys.argv[2], folder=Path(sys.argv[1]))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script, str(bread), paper.id], env=environment, timeout=240)
    assert done.returncode == -9
    assert list(index_folder().glob(f".building-{paper.id}-*")), "killed too early, else this proves nothing"
    assert not catalogue(bread)[1].indexed
    assert "two grams" in find(paper, bread, embedder, "How much salt is used?").text
    assert not list(index_folder().glob(".building-*")) and catalogue(bread)[1].indexed
