"""Papers in Markdown and plain text."""

import time

import pytest

from app.assistant.chunking import chunk_pages
from app.assistant.grounding import quote_is_on_page
from app.assistant.readers.markdown import markdown_document
from app.assistant.readers.page import FRONT_MATTER, MID_PAPER
from qlora.errors import InputError

PAPER = """# Bread for Small Ovens

Ada Example

## Abstract
Wheat bread **rises** because `yeast` turns [sugar](https://example.org "page") into gas. The dough con-
tains 68 percent water.

## 2 Method

- We knead for 12 minutes.
- The dough rests <b>overnight</b>.

| Flour     | Rise |
|-----------|-----:|
| Wheat 550 | 2.4  |
| Rye       | 1.2  |

Table 1: Rise of two flours.

$$
r = v / v_0
$$

```python
__crumb__ = 1  # not a heading

---
```

---

### 2.1 Oven
> We bake at 240 degrees.

Results
-------
It tastes good.

## References

[1] A. Miller. On flour. 1999.
[2] B. Baker. On salt. 2001.
"""


@pytest.fixture
def read(tmp_path):
    def read_it(text: str, pdf_page: int | None = None, name: str = "bread.md"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return markdown_document(path, pdf_page)

    return read_it


def blocks(document) -> list[tuple[int, str, str, str]]:
    return [(page.pdf_page, b.kind, b.section, b.text) for page in document.pages for b in page.blocks]


def test_headings_paragraphs_lists_and_pages(read):
    document = read(PAPER)
    assert (document.kind, document.title) == ("markdown", "Bread for Small Ovens")
    found = blocks(document)
    rises = "Wheat bread rises because yeast turns sugar into gas. The dough contains 68 percent water."
    assert (1, "text", FRONT_MATTER, "Ada Example") in found
    assert (1, "text", "Abstract", rises) in found
    assert (1, "text", "2 Method", "We knead for 12 minutes.") in found
    assert (1, "equation", "2 Method", "r = v / v_0") in found
    assert (2, "text", "2.1 Oven", "We bake at 240 degrees.") in found
    assert (2, "text", "Results", "It tastes good.") in found
    assert [text for _, kind, _, text in found if kind == "reference"] == [
        "[1] A. Miller. On flour. 1999.",
        "[2] B. Baker. On salt. 2001.",
    ]


def test_code_is_left_as_it_is_and_holds_no_page_break(read):
    (code,) = [text for page, _, _, text in blocks(read(PAPER)) if "crumb" in text and page == 1]
    assert code == "__crumb__ = 1 # not a heading ---"


def test_html_is_text(read):
    document = read("<script>alert(1)</script> The <b>dough</b> rests.\n")
    assert blocks(document)[0][3] == "<script>alert(1)</script> The <b>dough</b> rests."
    assert "The dough rests <b>overnight</b>." in [text for *_, text in blocks(read(PAPER))]


def test_tables_are_whole_with_their_caption(read):
    pages = read(PAPER).pages
    (table,) = [block for block in pages[0].blocks if block.kind == "table"]
    assert (table.label, table.text) == ("Table 1", "Table 1: Rise of two flours.")
    assert table.cells == (("Flour", "Rise"), ("Wheat 550", "2.4"), ("Rye", "1.2"))
    (chunk,) = [chunk for chunk in chunk_pages(pages, "bread") if chunk.kind == "table"]
    assert (chunk.header, chunk.sentences[2].cells) == (1, ("Wheat 550", "2.4"))


def test_every_quote_is_on_its_page(read):
    document = read(PAPER)
    pages = {page.pdf_page: page for page in document.pages}
    quotes = [(c.pdf_page, s.text) for c in chunk_pages(document.pages, "bread") for s in c.sentences]
    assert len(quotes) > 10
    assert [quote for number, quote in quotes if not quote_is_on_page(quote, pages[number])] == []


def test_plain_text_has_pages_at_form_feeds_and_headings_on_lines_of_their_own(read):
    text = "Bread for Small Ovens\n\nAda Example wrote this in May.\n\n1. Introduction\n\nBread rises.\n"
    text += "\fRESULTS\n\nRye needs\ntime.\n"
    document = read(text, 4, "bread.txt")
    assert document.title == ""
    assert blocks(document)[2:] == [
        (4, "heading", "1. Introduction", "1. Introduction"),
        (4, "text", "1. Introduction", "Bread rises."),
        (5, "heading", "RESULTS", "RESULTS"),
        (5, "text", "RESULTS", "Rye needs time."),
    ]
    assert blocks(document)[0][2] == MID_PAPER
    assert read(text).title == "Bread for Small Ovens"


def test_several_top_headings_are_sections(read):
    document = read("# Introduction\n\nBread rises.\n\n# Method\n\nWe bake.\n")
    assert document.title == ""
    assert [section for _, kind, section, _ in blocks(document) if kind == "text"] == ["Introduction", "Method"]


def test_the_title_of_a_yaml_head(read):
    document = read('---\ntitle: "Bread"\nauthor: Ada\n---\n\n## Method\n\nWe bake.\n')
    assert (document.title, len(document.pages)) == ("Bread", 1)
    assert "Ada" not in document.pages[0].raw_text


@pytest.mark.parametrize("content", [b"", b"\n \n---\n", b"# \n"])
def test_without_words_there_is_nothing_to_read(tmp_path, content):
    path = tmp_path / "a.md"
    path.write_bytes(content)
    with pytest.raises(InputError, match="no words"):
        markdown_document(path)


def test_other_encodings_are_named(tmp_path):
    path = tmp_path / "a.md"
    path.write_bytes("Brötchen".encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        markdown_document(path)


@pytest.mark.parametrize("text", ["[" * 300_000, "[a](" * 100_000, "![" * 200_000, "**" * 300_000, "`" * 300_001])
def test_lines_made_to_be_slow_are_not(read, text):
    start = time.perf_counter()
    read("Bread rises.\n" + text)
    assert time.perf_counter() - start < 5


def test_a_picture_written_as_letters_is_cut_off(read):
    document = read(
        f'See <img src="data:image/png;base64,{"A1b2" * 50_000}"> and ![it](data:image/png;base64,{"A" * 9_000}).'
    )
    text = document.pages[0].blocks[0].text
    assert len(text) < 200 and text.endswith("… and it.")
