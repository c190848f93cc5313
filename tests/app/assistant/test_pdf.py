"""Reading PDFs: what is on the page, in order, with boxes that really cover the words."""

import re

import pytest

from app.assistant.chunking import chunk_pages
from app.assistant.grounding import quote_is_on_page
from app.assistant.pictures import PIXELS_PER_POINT, page_picture
from app.assistant.readers.page import bare
from app.assistant.readers.pdf import pdf_document, read_pdf
from qlora.errors import InputError


@pytest.fixture
def small_pages(tmp_path, small_pdf_bytes):
    path = tmp_path / "bread.pdf"
    path.write_bytes(small_pdf_bytes)
    return read_pdf(path)


def test_headings_paragraphs_and_page_numbers_are_told_apart(small_pages):
    kinds = [(block.kind, block.text.split()[0]) for block in small_pages[0].blocks]
    assert ("heading", "1") in kinds and ("heading", "2") in kinds
    assert [block.section for block in small_pages[0].blocks if block.text.startswith("We knead")] == ["2 Method"]
    assert [block.text for block in small_pages[0].blocks if block.kind == "footer"] == ["1"]


def test_a_word_torn_at_the_line_end_is_whole_again_with_a_box_on_each_line(small_pages):
    words = [word for block in small_pages[0].blocks for word in block.words if word.text == "contains"]
    assert len(words) == 1
    (first, second) = words[0].boxes
    assert first[1] < second[1] and first[0] > second[0], "the second half stands on the next line, further left"


def test_a_ruled_table_is_one_block_with_its_caption_and_rows(small_pages):
    (table,) = [block for block in small_pages[1].blocks if block.kind == "table"]
    assert table.label == "Table 1"
    assert table.text.startswith("Table 1: Rise of three flours")
    assert [" ".join(word.text for word in row) for row in table.rows][2] == "Spelt 630 64 g 1.9"


def test_text_after_a_table_keeps_its_own_section(small_pages):
    assert [b.section for b in small_pages[1].blocks if b.text.startswith("Spelt dough")] == ["3 Results"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a PDF"),
        (b"hello, I am a text", "is not a PDF"),
        (b"<html><body>login</body></html>", "is not a PDF"),
        (b"%PDF-1.4\n%%EOF", "cannot be opened"),
        (b"%PDF-1.7\n" + bytes(range(256)) * 40, "cannot be opened"),
    ],
)
def test_what_is_not_a_pdf_is_refused_in_one_sentence(tmp_path, content, says):
    path = tmp_path / "upload.pdf"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        read_pdf(path)
    assert "\n" not in str(caught.value)


def test_a_pdf_cut_off_in_the_middle_is_refused(tmp_path, small_pdf_bytes):
    path = tmp_path / "half.pdf"
    path.write_bytes(small_pdf_bytes[: len(small_pdf_bytes) // 4])
    with pytest.raises(InputError, match=r"half\.pdf"):
        read_pdf(path)


def test_the_title_is_the_largest_line_of_the_first_page(tmp_path, small_pdf_bytes):
    path = tmp_path / "bread.pdf"
    path.write_bytes(small_pdf_bytes)
    assert pdf_document(path).title == "Bread for Small Ovens"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.pdf"):
        read_pdf(tmp_path / "none.pdf")


def test_page_pictures_are_drawn_once_and_kept(tmp_path, small_pdf_bytes, monkeypatch):
    import io

    from PIL import Image

    monkeypatch.setenv("QLORA_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "bread.pdf"
    path.write_bytes(small_pdf_bytes)
    first = page_picture(path, 1)
    assert Image.open(io.BytesIO(first)).size == (612 * PIXELS_PER_POINT, 792 * PIXELS_PER_POINT)
    (kept,) = (tmp_path / "cache" / "pages").rglob("*.png")
    kept.write_bytes(b"kept")
    assert page_picture(path, 1) == b"kept"
    with pytest.raises(InputError, match="pages 1 to 2"):
        page_picture(path, 3)


# The real paper.


@pytest.fixture(scope="module")
def document(real_pdf):
    return pdf_document(real_pdf)


@pytest.fixture(scope="module")
def pages(document):
    return document.pages


def test_its_title_is_found(document):
    assert document.title.lower() == "qlora: efficient finetuning of quantized llms"


def test_every_section_of_the_paper_is_found_in_order(pages):
    numbers = [b.text.split()[0] for page in pages for b in page.blocks if b.kind == "heading"]
    expected = [
        "Abstract",
        "1",
        "2",
        "3",
        "4",
        "5",
        "5.1",
        "5.2",
        "5.3",
        "6",
        "6.1",
        "6.2",
        "7",
        "8",
        "9",
        "Acknowledgements",
        "References",
    ]
    expected += ["A", "A.1", "A.2", "B", "B.1", "B.2", "B.3", "B.4", "C", "D", "E", "F", "G"]
    assert numbers == expected


def test_every_table_and_figure_caption_is_found_on_its_page(pages):
    found = {b.label: page.pdf_page for page in pages for b in page.blocks if b.label}
    tables = dict(zip(range(1, 14), (2, 7, 7, 8, 8, 10, 11, 15, 23, 24, 24, 25, 26), strict=True))
    figures = dict(zip(range(1, 7), (3, 6, 6, 22, 25, 26), strict=True))
    assert found == {f"Table {n}": p for n, p in tables.items()} | {f"Figure {n}": p for n, p in figures.items()}


@pytest.mark.parametrize(
    ("label", "row"),
    [
        ("Table 1", "Guanaco 65B 41 GB 1022 ± 1"),
        ("Table 2", "NFloat4 + DQ 27.41"),
        ("Table 5", "FLAN v2 44.5 51.4 59.2 63.9"),
        ("Table 6", "Guanaco 33B 4-bit 21 GB 96.5% 99.2% 97.8% 4.4%"),
        ("Table 9", "65B OASST1 16 1e-4 1875 - 512"),
    ],
)
def test_table_rows_are_whole(pages, label, row):
    (table,) = [b for page in pages for b in page.blocks if b.kind == "table" and b.label == label]
    assert row in [" ".join(word.text for word in words) for words in table.rows]


def test_text_beside_a_wrapped_figure_is_one_paragraph(pages):
    (block,) = [b for b in pages[5].blocks if b.kind == "text" and b.text.startswith("While paged optimizers")]
    assert "24/48GB" in block.text and "batch size of 16" in block.text
    assert "RougeL" not in block.text and "Figure 2" not in block.text


def test_drawn_labels_stay_out_of_the_text(pages):
    body = " ".join(b.text for b in pages[5].blocks if b.kind == "text")
    assert "Stanford-Alpaca" not in body


def test_every_sentence_that_may_be_quoted_is_on_its_page(pages):
    sentences = [(c, s) for c in chunk_pages(pages, "qlora") for s in c.sentences if not s.formula]
    assert len(sentences) > 500, "expected the whole paper, else this proves little"
    lost = [(c.pdf_page, s.text) for c, s in sentences if not quote_is_on_page(s.text, pages[c.pdf_page - 1])]
    assert not lost


def test_boxes_cover_the_words_of_their_sentence(pages, real_pdf):
    """Against pdfium's own search by area, which our layout code does not use."""
    import pypdfium2

    document = pypdfium2.PdfDocument(real_pdf)
    checked = 0
    for chunk in chunk_pages(pages, "qlora")[::4]:
        page = document[chunk.pdf_page - 1]
        height = page.get_height()
        textpage = page.get_textpage()
        for sentence in chunk.sentences:
            if sentence.formula or len(sentence.boxes) < 2 or chunk.kind == "table":
                continue
            inside = "".join(
                textpage.get_text_bounded(left - 0.5, height - bottom, right + 0.5, height - top)
                for left, top, right, bottom in sentence.boxes
            )
            words = [bare(word) for word in re.findall(r"[A-Za-z]{5,}", sentence.text)]
            missing = [word for word in words if word not in bare(inside)]
            assert len(missing) <= 0.15 * len(words), (chunk.pdf_page, sentence.text, missing)
            checked += 1
    assert checked > 50
    document.close()


def test_ligatures_are_spelled_out(pages):
    assert not any(set(b.text) & set("ﬀﬁﬂﬃﬄ") for page in pages for b in page.blocks)
    assert any("efficient" in b.text for b in pages[0].blocks)
