"""Papers that the visitor adds: kept whole or not at all, known again, brought from arXiv."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.assistant import library, shelf
from app.assistant.library import Paper, add, add_arxiv, find_pdf, paper_of, papers, reindex
from app.assistant.pictures import page_picture
from app.assistant.shelf import library_folder
from qlora.errors import InputError
from tests.app.assistant.conftest import SALT, find, left_behind

ROOT = Path(__file__).resolve().parents[3]
RECORDS = [
    {"type": "title", "bbox": [200, 250, 500, 280], "res": "1 Soaking"},
    {"type": "text", "bbox": [200, 300, 900, 330], "res": "Dried beans soak in cold water for eleven hours."},
    {"type": "text", "bbox": [200, 400, 900, 430], "res": "The water is poured away afterwards."},
]
RECORDS = [record | {"width": 1275, "height": 1650} for record in RECORDS]


def test_a_pdf_is_kept_with_its_record(bread, cake):
    added = add(cake, folder=bread)
    paper = added.paper
    assert added.is_new
    assert (paper.id, paper.title, paper.pages, paper.made_from) == (
        "cakes-for-large-ovens", "Cakes for Large Ovens", 2, "pdf",
    )  # fmt: skip
    assert (paper.notes, paper.arxiv, paper.authors) == (None, "", ())
    cake.unlink()
    assert papers(bread)[1] == paper, "a new look finds what was given back"
    assert find_pdf(paper, bread).path.read_bytes().startswith(b"%PDF-")
    assert left_behind() == []


def test_another_process_finds_it_again(bread, salt):
    add(salt, folder=bread)
    script = "import sys; from app.assistant import library; from pathlib import Path\n"
    script += "print([paper.title for paper in library.papers(Path(sys.argv[1]))])"
    done = subprocess.run(
        [sys.executable, "-c", script, str(bread)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.strip() == "['Bread for Small Ovens', 'Salt in Dough']"


def test_the_same_file_again_is_recognised(bread, salt, tmp_path):
    first = add(salt, folder=bread)
    copy = tmp_path / "other name.txt"
    shutil.copy(salt, copy)
    again = add(copy, "Another title", folder=bread)
    assert (first.is_new, again.is_new) == (True, False)
    assert again.paper == first.paper
    assert len(papers(bread)) == 2


def test_a_pdf_of_the_manifest_is_that_papers(bread, tmp_path):
    upload = tmp_path / "download(1).pdf"
    (bread / "bread.pdf").rename(upload)
    added = add(upload, folder=bread)
    assert (added.is_new, added.paper.id) == (True, "bread")
    assert find_pdf(added.paper, bread).path is not None
    upload.write_bytes(upload.read_bytes() + b"\n% saved again\n")
    assert add(upload, folder=bread) == (added.paper, False)
    assert len(papers(bread)) == 1 and left_behind() == []


def test_ocr_pages_and_markdown_answer_like_any_paper(bread, salt, tmp_path, embedder):
    page = tmp_path / "page_6.jsonl"
    page.write_text("\n".join(map(json.dumps, RECORDS)))
    beans, dough = add(page, "Beans", folder=bread).paper, add(salt, folder=bread).paper
    passage = find(beans, bread, embedder, "How long do beans soak?")
    assert "eleven hours" in passage.text
    assert (passage.pdf_page, passage.section) == (6, "1 Soaking") and passage.sentences[0].boxes
    passage = find(dough, bread, embedder, "How much salt is used for a hundred grams of flour?")
    assert "two grams" in passage.text and not passage.sentences[0].boxes
    assert [page_picture(find_pdf(paper, bread).path, 1) for paper in (beans, dough)] == [None, None]
    assert page_picture(beans.files[0], 1) is None
    index = reindex(beans.id, embedder, folder=bread)
    assert index.page_sizes == {6: (612, 792)} and index.has_paper


def test_the_first_page_that_the_visitor_names_is_kept(bread, tmp_path, embedder):
    page = tmp_path / "scan.jsonl"
    page.write_text("\n".join(map(json.dumps, RECORDS)))
    paper = add(page, "Beans", pdf_page=41, folder=bread).paper
    assert {chunk.pdf_page for chunk in reindex(paper.id, embedder, folder=bread).chunks} == {41}


def test_several_files_are_one_paper(bread, tmp_path):
    paths = []
    for number in (26, 6):
        paths.append(tmp_path / f"page_{number}.jsonl")
        paths[-1].write_text(json.dumps(RECORDS[1] | {"res": f"Text of {number}."}))
    added = add(paths, "Two pages", folder=bread)
    assert added.paper.pages == 2 and len(added.paper.files) == 2
    assert not add(paths[::-1], folder=bread).is_new


@pytest.mark.parametrize(
    ("title", "paper_id"),
    [
        ("Brötchen: eine Übersicht", "brotchen-eine-ubersicht"),
        ("面包", "paper"),
        ("../../etc/passwd", "etc-passwd"),
        ("Bread", "bread-2"),
        ("a " * 200, "a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a"),
        ("line\nbreak \x07 bell", "line-break-bell"),
    ],
)
def test_titles_make_identifiers_that_are_safe(bread, salt, title, paper_id):
    paper = add(salt, title, folder=bread).paper
    assert paper.id == paper_id
    assert paper.title.isprintable() and len(paper.title) <= library.LONGEST_TITLE
    assert paper.files[0].resolve().is_relative_to(library_folder().resolve())


def test_two_papers_of_one_title_stand_side_by_side(bread, salt):
    first = add(salt, folder=bread).paper
    salt.write_text(SALT + "\nAnd a word more.\n")
    second = add(salt, folder=bread).paper
    assert (first.id, second.id) == ("salt-in-dough", "salt-in-dough-2")
    assert first.files[0].read_text() == SALT


@pytest.mark.parametrize("name", ["..md", "paper.json", "a\nb.md", "x" * 250 + ".md", "-rf .md"])
def test_names_of_files_do_no_harm(bread, tmp_path, name):
    path = tmp_path / name
    path.write_text(SALT)
    paper = add(path, folder=bread).paper
    assert paper.files[0].read_text() == SALT
    assert paper_of(paper.id, bread).title == "Salt in Dough"


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"%PDF-1.5 rubbish", b'{"type": 1}'])
def test_a_file_that_cannot_be_read_leaves_the_library_as_it_was(bread, salt, tmp_path, content):
    kept = add(salt, folder=bread).paper
    upload = tmp_path / "upload"
    upload.write_bytes(content)
    with pytest.raises(InputError, match="upload"):
        add(upload, folder=bread)
    assert papers(bread)[1:] == [kept] and left_behind() == []


def test_no_file_and_too_many_are_said(bread, salt):
    for files in ([], [salt] * 501):
        with pytest.raises(InputError, match="1 to 500 files"):
            add(files, folder=bread)
    with pytest.raises(InputError, match="Cannot read"):
        add(bread / "none.md", folder=bread)


@pytest.mark.parametrize("step", ["copyfile", "replace"])
def test_a_disk_that_fills_up_loses_nothing(bread, salt, cake, monkeypatch, step):
    kept = add(salt, folder=bread).paper

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil if step == "copyfile" else os, step, full)
        with pytest.raises(InputError, match="No space left"):
            add(cake, folder=bread)
    assert papers(bread)[1:] == [kept] and left_behind() == []
    assert kept.files[0].read_text() == SALT


def test_what_a_killed_process_left_is_not_seen_and_goes_one_day(bread, salt):
    old, fresh = library_folder() / ".adding-old", library_folder() / ".adding-fresh"
    for folder in (old, fresh):
        (folder / "source").mkdir(parents=True)
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    assert len(papers(bread)) == 1
    add(salt, folder=bread)
    assert left_behind() == [".adding-fresh"]


def test_a_number_of_arxiv_brings_the_paper(bread, serve, cake):
    server = serve(cake.read_bytes())
    shares = []
    added = add_arxiv("https://arxiv.org/abs/2401.01234v2", shares.append, bread)
    assert added.is_new and shares[-1] == 1.0
    assert (added.paper.arxiv_name, added.paper.title) == ("2401.01234v2", "Cakes for Large Ovens")
    assert add_arxiv("2401.01234", folder=bread) == (added.paper, False)
    assert server.requests == 1, "a paper that is there is not asked for again"


def test_the_manifests_own_number_is_that_paper(bread, serve, small_pdf_bytes):
    server = serve(small_pdf_bytes)
    assert add_arxiv("0000.00001", folder=bread) == (papers(bread)[0], False)
    (bread / "bread.pdf").unlink()
    assert add_arxiv("arXiv:0000.00001v1", folder=bread).is_new
    assert server.requests == 1 and len(papers(bread)) == 1


@pytest.mark.parametrize("text", ["", "2401", "https://example.org/2401.01234", "2401.01234; rm -rf", "../2401.01234"])
def test_what_is_no_number_of_arxiv_is_not_asked_for(bread, serve, text):
    server = serve(b"")
    with pytest.raises(InputError, match="not an arXiv number"):
        add_arxiv(text, folder=bread)
    assert server.requests == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [({"body": b"", "status": 404}, "has no paper"), ({"body": b"<html>captcha</html>"}, "did not send a PDF")],
)
def test_what_arxiv_does_not_have_leaves_nothing(bread, serve, arguments, says):
    serve(**arguments)
    with pytest.raises(InputError, match=says):
        add_arxiv("2401.01234", folder=bread)
    assert len(papers(bread)) == 1 and left_behind() == []


def test_offline_is_one_sentence(bread, monkeypatch):
    monkeypatch.setattr(Paper, "pdf_url", property(lambda self: "http://127.0.0.1:9/pdf"))
    with pytest.raises(InputError, match=r"cannot be reached from here\. Get the PDF elsewhere") as caught:
        add_arxiv("2401.01234", folder=bread)
    assert "\n" not in str(caught.value)


def test_two_processes_add_one_file(bread, salt):
    """Both start at the same moment; the paper is in the library once, and one of them knows it was there."""
    script = "import sys; from pathlib import Path; from app.assistant.library import add\n"
    script += "print(*add(Path(sys.argv[2]), folder=Path(sys.argv[1])))"
    command = [sys.executable, "-c", script, str(bread), str(salt)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
    outputs = [process.communicate(timeout=240)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sorted(line.rsplit(" ", 1)[1] for line in outputs) == ["False", "False", "True"]
    assert len(papers(bread)) == 2 and left_behind() == []


def test_a_library_that_another_process_holds_is_said(bread, salt, monkeypatch):
    from filelock import FileLock

    monkeypatch.setattr(shelf, "_LOCK_SECONDS", 0.1)
    library_folder().mkdir(parents=True)
    with FileLock(library_folder() / ".lock"), pytest.raises(InputError, match="Another process"):
        add(salt, folder=bread)
    assert add(salt, folder=bread).is_new
