"""Files that are broken or made to do harm end in one sentence, each in a process of its own; the app goes on."""

import io
import json
import struct
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from app.assistant.readers import guarded
from app.assistant.readers.guarded import draw_guarded, read_guarded
from app.assistant.readers.reading import kind_of, read_document, read_documents
from qlora.errors import InputError

FONT = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
CATALOG = "<< /Type /Catalog /Pages 2 0 R >>"
TEXT = b"BT /F1 12 Tf 72 700 Td (Bread rises because of yeast.) Tj ET"


def pdf(objects: list[str | bytes], trailer: str = "") -> bytes:
    """A PDF of these objects; the first is the catalog."""
    data, offsets = b"%PDF-1.5\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, body if isinstance(body, bytes) else body.encode())
    start, count = len(data), len(objects) + 1
    data += b"xref\n0 %d\n0000000000 65535 f \n" % count + b"".join(b"%010d 00000 n \n" % at for at in offsets)
    return data + f"trailer\n<< /Size {count} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode()


def stream(data: bytes, fields: str = "") -> bytes:
    return f"<< /Length {len(data)} {fields} >>\nstream\n".encode() + data + b"\nendstream"


def one_page(content: bytes, trailer: str = "", box: str = "0 0 612 792") -> bytes:
    page = f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
    more = [f"<< /Filter /Standard /V 1 /R 2 /P -44 /O <{'28' * 32}> /U <{'ab' * 32}> >>"] if trailer else []
    return pdf([CATALOG, "<< /Type /Pages /Kids [3 0 R] /Count 1 >>", page, content, FONT, *more], trailer)


def many_pages(count: int) -> bytes:
    kids = " ".join(f"{number + 3} 0 R" for number in range(count))
    page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] >>"
    return pdf([CATALOG, f"<< /Type /Pages /Kids [{kids}] /Count {count} >>", *[page] * count])


def zeros(mebibytes: int) -> bytes:
    """A Flate stream that inflates to so many MiB of zeros: one compressed piece over and over, and their checksum."""
    compressor = zlib.compressobj(9)
    header = compressor.compress(b"") or b"\x78\xda"
    piece = compressor.compress(bytes(2**20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    piece = piece.removeprefix(header)
    checksum = (mebibytes * 2**20 % 65521) << 16 | 1
    return header + piece * mebibytes + b"\x03\x00" + struct.pack(">I", checksum)


def form_tree(depth: int, width: int) -> bytes:
    """A form that draws ten forms, each of which draws ten forms, and so on: small, and without end."""
    forms = [
        stream(
            b"/X Do " * width,
            f"/Type /XObject /Subtype /Form /BBox [0 0 900 900] /Resources << /XObject << /X {number + 1} 0 R >> >>",
        )
        for number in range(5, 5 + depth)
    ]
    page = "<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /XObject << /X 5 0 R >> >> >>"
    last = stream(TEXT, f"/Type /XObject /Subtype /Form /BBox [0 0 900 900] /Resources << /Font << /F1 {FONT} >> >>")
    return pdf([CATALOG, "<< /Type /Pages /Kids [3 0 R] /Count 1 >>", page, stream(b"/X Do"), *forms, last])


HOSTILE = {
    "encrypted": (lambda: one_page(stream(TEXT), "/Encrypt 6 0 R /ID [<00><00>]"), "locked by a password"),
    "cut off": (lambda: one_page(stream(TEXT))[:300], "damaged PDF"),
    "10,000 pages": (lambda: many_pages(10_000), "10,000 pages; expected 1 to 500"),
    "a count that lies": (lambda: pdf([CATALOG, "<< /Type /Pages /Kids [] /Count 400 >>"]), "damaged PDF"),
    "pages in a circle": (
        lambda: pdf([CATALOG, "<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 400 >>"]),
        "damaged PDF",
    ),
    "pictures only": (
        lambda: one_page(stream(b"q 612 0 0 792 0 0 cm BI /W 1 /H 1 /CS /G /BPC 8 ID \x80 EI Q")),
        "no text layer",
    ),
    "inflates to 1.3 GB": (lambda: one_page(stream(zeros(1300), "/Filter /FlateDecode")), "1024 MiB of memory"),
    "twice deflated": (
        lambda: one_page(stream(zlib.compress(zeros(1300)), "/Filter [/FlateDecode /FlateDecode]")),
        "1024 MiB of memory",
    ),
    "forms without end": (lambda: form_tree(12, 10), "1024 MiB of memory|takes longer"),
}


def test_the_bomb_is_one():
    assert len(zlib.decompress(zeros(3))) == 3 * 2**20
    assert len(zeros(1300)) < 2 * 2**20


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_pdf_ends_in_one_sentence(tmp_path, kind):
    make, says = HOSTILE[kind]
    path = tmp_path / "upload.pdf"
    path.write_bytes(make())
    with pytest.raises(InputError, match=says) as caught:
        read_guarded([path])
    assert str(caught.value).startswith("upload.pdf") and "\n" not in str(caught.value)


def test_what_the_process_reads_is_what_is_in_the_file(tmp_path, small_pdf_bytes):
    path = tmp_path / "bread.pdf"
    path.write_bytes(small_pdf_bytes)
    document = read_guarded([path])
    assert (document.kind, document.title) == ("pdf", "Bread for Small Ovens")
    assert document.pages == read_document(path).pages


def test_time_runs_out(tmp_path, small_pdf_bytes, monkeypatch):
    path = tmp_path / "bread.pdf"
    path.write_bytes(small_pdf_bytes)
    monkeypatch.setattr(guarded, "SECONDS", 0.01)
    with pytest.raises(InputError, match=r"takes longer than 0\.01 seconds"):
        read_guarded([path])


def test_work_runs_out(tmp_path, monkeypatch):
    path = tmp_path / "bread.pdf"
    path.write_bytes(form_tree(12, 10))
    monkeypatch.setattr(guarded, "CPU_SECONDS", 1)
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"takes longer than 1 seconds|MiB of memory"):
        read_guarded([path])
    assert time.perf_counter() - start < 60


def test_a_defect_of_a_reader_is_a_sentence_with_its_cause(tmp_path, monkeypatch, small_pdf_bytes):
    path = tmp_path / "bread.pdf"
    path.write_bytes(small_pdf_bytes)
    broken = tmp_path / "broken"
    (broken / "pypdfium2").mkdir(parents=True)
    (broken / "pypdfium2" / "__init__.py").write_text("raise ZeroDivisionError('of a library')")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    with pytest.raises(InputError, match=r"bread\.pdf cannot be read \(ZeroDivisionError: of a library\)") as caught:
        read_guarded([path])
    assert "Traceback" in str(caught.value.__cause__)


def test_a_poster_is_drawn_smaller(tmp_path):
    path = tmp_path / "poster.pdf"
    path.write_bytes(one_page(stream(TEXT), box="0 0 14400 7200"))
    assert Image.open(io.BytesIO(draw_guarded(path, 1, 2.0))).size == (4000, 2000)


def test_what_a_file_is_shows_in_its_content(tmp_path, small_pdf_bytes):
    record = {"type": "text", "bbox": [1, 2, 300, 40], "res": "Bread rises."}
    for name, content, kind in [
        ("a.txt", small_pdf_bytes, "pdf"),
        ("b.txt", b"\xef\xbb\xbf" + json.dumps(record).encode(), "ocr"),
        ("c.jsonl", b"# Bread\n\nBread rises.\n", "markdown"),
        ("d.txt", b"{Bread} rises.", "markdown"),
    ]:
        (tmp_path / name).write_bytes(content)
        assert kind_of(tmp_path / name) == kind
        assert "rises" in read_document(tmp_path / name).pages[0].raw_text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x00\x01\x02\x00" * 50, "neither a PDF nor text"),
        (b"x" * (16 * 2**20 + 1), "at most 16 MiB"),
    ],
)
def test_what_is_no_paper_is_said(tmp_path, content, says):
    path = tmp_path / "upload"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"upload.*{says}"):
        read_document(path)


def write_pages(folder: Path, names: list[str], **fields) -> list[Path]:
    paths = []
    for number, name in enumerate(names):
        record = {"type": "text", "bbox": [1, 2, 300, 40], "res": f"Text {number} of the bread.", **fields}
        paths.append(folder / name)
        paths[-1].write_text(json.dumps(record))
    return paths


def test_several_files_make_one_paper(tmp_path):
    document = read_documents(write_pages(tmp_path, ["page_26.jsonl", "page_6.jsonl"]))
    assert [(page.pdf_page, page.raw_text) for page in document.pages] == [
        (6, "Text 1 of the bread."),
        (26, "Text 0 of the bread."),
    ]
    assert [page.pdf_page for page in read_documents(write_pages(tmp_path, ["a.jsonl", "b.jsonl"])).pages] == [1, 2]


def test_files_that_do_not_go_together_are_said(tmp_path, small_pdf_bytes):
    paths = write_pages(tmp_path, ["a.jsonl", "b.jsonl"], page=3)
    with pytest.raises(InputError, match=r"b\.jsonl has a page 3"):
        read_documents(paths)
    (tmp_path / "c.pdf").write_bytes(small_pdf_bytes)
    with pytest.raises(InputError, match="one paper only when"):
        read_documents([paths[0], tmp_path / "c.pdf"])
