"""Finding and getting the PDF: nothing is requested unasked, nothing half-written stays."""

import pytest

from app.assistant import library
from app.assistant.library import Paper, add_pdf, download_pdf, find_pdf, papers
from app.assistant.pdfs import download_folder
from qlora.errors import InputError


@pytest.fixture
def paper(bread) -> Paper:
    return papers(bread)[0]


def test_the_manifest_names_the_paper():
    paper = papers()[0]
    assert (paper.id, paper.arxiv, paper.pages, paper.licence) == ("qlora", "2305.14314", 26, "CC BY 4.0")
    assert paper.notes.is_dir() and paper.pdf_url.startswith("https://arxiv.org/pdf/2305.14314")


@pytest.mark.parametrize("text", ["not toml [", '[[paper]]\nid = "x"\n', ""])
def test_a_broken_manifest_is_said(tmp_path, text):
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(InputError, match="manifest"):
        papers(tmp_path)


def test_folders_are_searched_in_order(bread, paper, tmp_path, monkeypatch, small_pdf_bytes):
    assert find_pdf(paper, bread).path == bread / "bread.pdf"
    (bread / "bread.pdf").unlink()
    assert find_pdf(paper, bread).path is None
    elsewhere = tmp_path / "mine"
    elsewhere.mkdir()
    (elsewhere / "any name.pdf").write_bytes(small_pdf_bytes)
    monkeypatch.setenv("QLORA_PAPERS", str(elsewhere))
    assert find_pdf(paper, bread).path == elsewhere / "any name.pdf"


def test_a_file_named_like_the_paper_that_is_not_it_is_reported(bread, paper):
    (bread / "bread.pdf").unlink()
    (bread / f"{paper.arxiv}.pdf").write_bytes(b"<html>please log in</html>")
    found = find_pdf(paper, bread)
    assert found.path is None and "not a PDF" in found.problem


def test_an_upload_is_kept(bread, paper, tmp_path, small_pdf_bytes):
    (bread / "bread.pdf").unlink()
    upload = tmp_path / "upload.pdf"
    upload.write_bytes(small_pdf_bytes)
    kept = add_pdf(paper, upload)
    assert kept.read_bytes() == small_pdf_bytes
    assert find_pdf(paper, bread).path == kept


def test_the_same_paper_printed_anew_is_accepted_and_another_is_not(paper, tmp_path, small_pdf_bytes):
    upload = tmp_path / "upload.pdf"
    upload.write_bytes(small_pdf_bytes + b"\n% saved again\n")
    add_pdf(paper, upload)
    upload.write_bytes(small_pdf_bytes.replace(b"Bread for Small Ovens", b"Cakes for Large Ovens"))
    with pytest.raises(InputError, match="Bread for Small Ovens"):
        add_pdf(paper, upload)


@pytest.mark.parametrize("content", [b"", b"I am a text", b"%PDF-1.5\nrubbish"])
def test_an_upload_that_is_no_pdf_leaves_nothing(paper, tmp_path, content):
    upload = tmp_path / "upload.pdf"
    upload.write_bytes(content)
    with pytest.raises(InputError):
        add_pdf(paper, upload)
    assert not download_folder().exists() or not list(download_folder().iterdir())


def test_looking_requests_nothing(bread, paper, serve, small_pdf_bytes):
    server = serve(small_pdf_bytes)
    (bread / "bread.pdf").unlink()
    find_pdf(paper, bread)
    assert server.requests == 0


def test_a_download_arrives_whole_with_progress(bread, paper, serve, small_pdf_bytes):
    server = serve(small_pdf_bytes)
    shares = []
    path = download_pdf(paper, shares.append)
    assert server.requests == 1 and path.read_bytes() == small_pdf_bytes
    assert shares[-1] == 1.0
    (bread / "bread.pdf").unlink()
    assert find_pdf(paper, bread).path == path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"body": b"gone", "status": 503}, "answered 503"),
        ({"body": b"<html>captcha</html>"}, "not a PDF"),
        ({"body": b"%PDF-1.5 half", "announced": 5000}, "stopped after|cannot be reached"),
    ],
)
def test_a_download_that_fails_leaves_nothing(paper, serve, arguments, says):
    serve(**arguments)
    with pytest.raises(InputError, match=says):
        download_pdf(paper)
    assert not list(download_folder().iterdir())


def test_offline_is_one_sentence(paper, monkeypatch):
    monkeypatch.setattr(Paper, "pdf_url", property(lambda self: "http://127.0.0.1:9/pdf"))
    with pytest.raises(InputError, match="cannot be reached") as caught:
        download_pdf(paper)
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_said(paper, tmp_path, monkeypatch, small_pdf_bytes):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("QLORA_CACHE", str(tmp_path / "file" / "cache"))
    upload = tmp_path / "upload.pdf"
    upload.write_bytes(small_pdf_bytes)
    with pytest.raises(InputError, match="QLORA_CACHE"):
        library.add_pdf(paper, upload)
