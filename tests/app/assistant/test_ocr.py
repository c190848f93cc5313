"""OCR layout records: order, words, sections, floats and numbers of pages, and what a defect is called."""

import json

import pytest

from app.assistant.chunking import chunk_pages
from app.assistant.grounding import quote_is_on_page
from app.assistant.readers.ocr_layout import ocr_document
from app.assistant.readers.page import FRONT_MATTER, MID_PAPER, bare
from app.assistant.readers.pdf import read_pdf
from app.assistant.readers.reading_order import reading_order
from qlora.errors import InputError

LEFT, RIGHT = 200, 1075  # pixels, on a letter page at 150 dots an inch
WIDE, HIGH = 1275, 1650


def line(text: str, left: float, top: float, right: float, confidence: float = 0.99) -> dict:
    corners = [[left, top], [right, top], [right, top + 24], [left, top + 24]]
    return {"text": text, "confidence": confidence, "text_region": corners}


def region(kind: str, left: float, top: float, right: float, texts: list[str], **more) -> dict:
    lines = [line(text, left, top + 28 * number, right) for number, text in enumerate(texts)]
    return {"type": kind, "bbox": [left, top, right, top + 28 * len(texts)], "res": lines, "img_idx": 0, **more}


def footer(number: int) -> dict:
    return region("footer", 630, 1570, 645, [str(number)])


TABLE = {
    "type": "table",
    "bbox": [200, 1200, 600, 1320],
    "res": {
        "html": "<html><body><table><tr><th>Flour</th><th>Rise</th></tr>"
        "<tr><td>Wheat <b>550</b></td><td>2.4</td></tr><tr><td>Rye</td><td>1.2</td></tr></table></body></html>",
        "cell_bbox": [[c * 200, r * 40, c * 200 + 190, r * 40 + 36] for r in range(3) for c in range(2)],
    },
    "img_idx": 0,
}


def two_columns() -> list[dict]:
    """Our own page: a title over two columns, a figure and a table with captions, out of order as recognizers write."""
    return [
        region("text", 650, 250, RIGHT, ["at 240 degrees. It cools on a rack for an hour."]),
        region(
            "text", LEFT, 400, 600, ["Wheat bread rises because yeast makes gas in the warm", "dough, which we bake"]
        ),
        region("title", 400, 150, 880, ["Bread for Small Ovens"]),
        region("title", LEFT, 250, 420, ["1 Introduction"]),
        region("text", LEFT, 300, 600, ["The loaf con-", "tains 68 percent water. It weighs one kilogram."]),
        region("figure_caption", 650, 900, RIGHT, ["Figure 2: Crust over time."]),
        region("figure", 650, 500, RIGHT, ["10 min", "20 min"]) | {"bbox": [650, 500, RIGHT, 880]},
        region("table_caption", LEFT, 1150, 600, ["Table 1: Rise of two flours."]),
        TABLE,
        region("title", 650, 1000, 900, ["2 Results"]),
        region("text", 650, 1050, RIGHT, ["Rye needs sourdough to rise at all in our oven."]),
        footer(1),
    ]


@pytest.fixture
def write(tmp_path):
    def write_it(records: list, name: str = "pages.jsonl"):
        path = tmp_path / name
        path.write_text("\n".join(json.dumps(record) for record in records) + "\n", encoding="utf-8")
        return path

    return write_it


def texts(document) -> list[str]:
    return [block.text for page in document.pages for block in page.blocks if block.kind == "text"]


def test_columns_are_read_one_after_the_other_and_a_sentence_runs_on(write):
    document = ocr_document(write(two_columns()))
    assert texts(document) == [
        "The loaf contains 68 percent water. It weighs one kilogram.",
        "Wheat bread rises because yeast makes gas in the warm dough, which we bake at 240 degrees. It cools on a rack "
        "for an hour.",
        "Rye needs sourdough to rise at all in our oven.",
    ]


def test_two_long_words_with_a_hyphen_at_the_line_end_stay_two(write):
    record = region("text", LEFT, 300, 600, ["It is information-", "theoretically best for inter-", "nationalization."])
    assert texts(ocr_document(write([record]))) == ["It is information-theoretically best for internationalization."]


def test_the_title_is_not_a_section_and_headings_are(write):
    document = ocr_document(write(two_columns()))
    assert (document.kind, document.title) == ("ocr", "Bread for Small Ovens")
    sections = {block.text[:5]: block.section for block in document.pages[0].blocks}
    assert sections["Bread"] == FRONT_MATTER
    assert sections["Wheat"] == "1 Introduction" and sections["Rye n"] == "2 Results"


def test_a_table_has_its_caption_its_cells_and_their_boxes(write):
    page = ocr_document(write(two_columns())).pages[0]
    (table,) = [block for block in page.blocks if block.kind == "table"]
    assert (table.label, table.text) == ("Table 1", "Table 1: Rise of two flours.")
    assert table.cells == (("Flour", "Rise"), ("Wheat 550", "2.4"), ("Rye", "1.2"))
    scale = 72 / 150
    assert table.rows[1][2].boxes[0] == pytest.approx([400 * scale, 1240 * scale, 590 * scale, 1276 * scale])
    (chunk,) = [chunk for chunk in chunk_pages([page], "bread") if chunk.kind == "table"]
    assert [sentence.cells for sentence in chunk.sentences if sentence.row][1] == ("Wheat 550", "2.4")


def test_rows_without_boxes_share_the_tables_height(write):
    table = TABLE | {"res": {"html": TABLE["res"]["html"]}}
    page = ocr_document(write([*two_columns()[:-4], table, footer(1)])).pages[0]
    (block,) = [block for block in page.blocks if block.kind == "table"]
    tops = [row[0].boxes[0][1] for row in block.rows]
    assert tops == pytest.approx([(1200 + 40 * number) * 72 / 150 for number in range(3)])


def test_a_figures_labels_are_kept_under_its_name(write):
    page = ocr_document(write(two_columns())).pages[0]
    assert [(b.label, b.text) for b in page.blocks if b.kind == "caption"] == [
        ("Figure 2", "10 min 20 min"),
        ("Figure 2", "Figure 2: Crust over time."),
    ]


def test_a_caption_that_was_taken_for_text_is_one(write):
    records = [region("text", LEFT, 300, RIGHT, ["Figure 3: Rise over an hour."]), region("figure", LEFT, 100, 900, [])]
    (block,) = ocr_document(write(records)).pages[0].blocks
    assert (block.kind, block.label) == ("caption", "Figure 3")


def test_boxes_are_in_points_of_the_page_that_was_recognized(write):
    page = ocr_document(write(two_columns())).pages[0]
    assert (page.width, page.height) == (612, 792)
    (word,) = [w for b in page.blocks for w in b.words if w.text == "contains"]
    first, second = word.boxes
    assert first[1] < second[1] and first[0] > second[0], "a box on each line"
    sized = [record | {"width": 2 * WIDE, "height": 2 * HIGH} for record in two_columns()]
    half = ocr_document(write(sized)).pages[0]
    assert (half.width, half.height) == (612, 792)
    assert half.blocks[0].words[0].boxes[0][0] == pytest.approx(page.blocks[0].words[0].boxes[0][0] / 2)


def test_a_picture_larger_than_any_sheet_still_holds_its_boxes(write):
    page = ocr_document(write([region("text", 1000, 20_000, 9_000, ["Far down."])])).pages[0]
    left, top, right, bottom = page.blocks[0].words[0].boxes[0]
    assert 0 < left < right <= page.width and 0 < top < bottom <= page.height


def test_a_run_in_title_is_seen_where_the_line_is_torn(write):
    lines = [line("Cold rest.", 200, 300, 380), line(". We let the dough rest overnight and", 390, 302, 1070)]
    lines.append(line("bake it in the morning.", 200, 328, 700))
    record = {"type": "text", "bbox": [200, 300, 1070, 352], "res": lines}
    (block,) = ocr_document(write([record])).pages[0].blocks
    assert block.lead == "Cold rest"
    assert block.text == "Cold rest. We let the dough rest overnight and bake it in the morning."


def test_doubtful_lines_help_to_find_but_are_not_quoted_and_noise_is_dropped(write):
    record = region(
        "text", LEFT, 300, RIGHT, ["The dough rests overnight.", "It smells of ap ples.", "x%$ qq.", "Then."]
    )
    record["res"][1]["confidence"], record["res"][2]["confidence"] = 0.5, 0.1
    pages = ocr_document(write([record])).pages
    (chunk,) = chunk_pages(pages, "bread")
    assert [(s.text, s.formula) for s in chunk.sentences] == [
        ("The dough rests overnight.", False),
        ("It smells of ap ples.", True),
        ("Then.", False),
    ]
    assert "qq" not in pages[0].raw_text


ONE, TWO = region("text", 200, 300, 900, ["One."]), region("text", 200, 300, 900, ["Two."])


@pytest.mark.parametrize(
    ("records", "name", "first", "expected"),
    [
        pytest.param([ONE | {"page": 7}, TWO | {"page": 9}], "a", 3, [7, 9], id="page"),
        pytest.param([ONE, footer(6)], "a", 3, [3], id="caller"),
        pytest.param([ONE, footer(6)], "a_p4", None, [6], id="footer"),
        pytest.param([ONE], "scan_page_12", None, [12], id="file name"),
        pytest.param([ONE], "000_695b350b", None, [1], id="no number"),
        pytest.param([ONE, footer(6), TWO, footer(26)], "a", None, [6, 26], id="two footers"),
        pytest.param([ONE, TWO | {"img_idx": 1}], "a", None, [1, 2], id="two pictures"),
        pytest.param([ONE, footer(9), TWO, footer(3)], "a", None, [1, 2], id="footers that cannot be"),
    ],
)
def test_the_number_of_a_page(write, records, name, first, expected):
    pages = ocr_document(write(records, f"{name}.jsonl"), first).pages
    assert [page.pdf_page for page in pages] == expected
    assert ["One." in page.raw_text for page in pages] == [number == 0 for number in range(len(pages))]


def test_a_page_from_the_middle_says_that_its_section_is_not_known(write):
    pages = ocr_document(write([region("text", 200, 300, 900, ["One."]), footer(6)])).pages
    assert pages[0].blocks[0].section == MID_PAPER


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"type": None}, "“type” is missing"),
        ({"bbox": [1, 2, 3]}, r"“bbox” is \[1, 2, 3\]"),
        ({"bbox": [1, 2, 3, "4"]}, "“bbox”"),
        ({"bbox": [1, 2, 3, 1e999]}, "“bbox”"),
        ({"res": 5}, "“res” is 5"),
        ({"res": ["words"]}, r"“res\[0\]”"),
        ({"res": [{"text": 7}]}, r"“res\[0\].text” is 7"),
        ({"res": [{"text": "a", "confidence": "high"}]}, "confidence"),
        ({"res": [{"text": "a", "confidence": 99}]}, "a number from 0 to 1"),
        ({"res": [{"text": "a"}]}, r"“res\[0\].text_region” is missing"),
        ({"res": {"cell_bbox": []}}, "“res.html” is missing"),
        ({"page": 0}, "“page” is 0"),
        ({"page": True}, "“page” is true"),
        ({"width": 100}, "“height” is missing"),
    ],
)
def test_a_wrong_field_is_named_with_its_file_and_line(write, change, says):
    good = region("text", 200, 300, 900, ["One."])
    with pytest.raises(InputError, match=r"pages\.jsonl, line 2: the field .*" + says) as caught:
        ocr_document(write([good, good | change]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"type": "text", "bbox"', "line 1 is not JSON"),
        ("[1, 2]", "line 1 is not a JSON object"),
        ("[" * 200_000, "line 1 is not JSON"),
        ("", "no recognized text"),
        ('{"type": "figure", "bbox": [1, 2, 3, 4], "res": []}', "no recognized text"),
    ],
)
def test_lines_that_are_no_records(tmp_path, content, says):
    path = tmp_path / "pages.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=says):
        ocr_document(path)


def test_reading_order_of_bands_and_columns():
    boxes = {
        "title": (0, 0, 100, 10),
        "left 1": (0, 12, 48, 30), "left 2": (0, 32, 48, 60),
        "right 1": (52, 12, 100, 29), "right 2": (52, 33, 100, 60),
        "wide": (0, 62, 100, 70),
        "left 3": (0, 72, 48, 90), "right 3": (52, 72, 100, 80),
    }  # fmt: skip
    shuffled = sorted(boxes, key=lambda name: name[::-1])
    assert shuffled != list(boxes)
    assert reading_order(shuffled, boxes.__getitem__) == list(boxes)


# Pages 6 and 26 of the real paper, written as records from the PDF's own lines.


def records_of(page, pixels_per_point: float = 4.0) -> list[dict]:
    """The page as a recognizer would have written it: a region a block, a line for every line of words."""
    kinds = {"heading": "title", "caption": "figure_caption", "footer": "footer", "table": "table_caption"}
    records = []
    for block in page.blocks:
        lines = []
        for word in block.words:
            for number, box in enumerate(word.boxes):
                text = word.text if len(word.boxes) == 1 else (word.text[:3] + "-", word.text[3:])[number]
                if lines and abs(lines[-1][1][1] - box[1]) < 4 and box[0] >= lines[-1][1][0]:
                    last = lines[-1][1]
                    lines[-1] = (f"{lines[-1][0]} {text}", (last[0], last[1], box[2], max(last[3], box[3])))
                else:
                    lines.append((text, box))
        if not lines:
            continue
        found = []
        for text, box in lines:
            left, top, right, bottom = (side * pixels_per_point for side in box)
            corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
            found.append({"text": text, "confidence": 0.98, "text_region": corners})
        sides = list(zip(*(side for _, side in lines), strict=True))
        box = [min(sides[0]), min(sides[1]), max(sides[2]), max(sides[3])]
        kind = kinds.get(block.kind, "text")
        records.append({"type": kind, "bbox": [side * pixels_per_point for side in box], "res": found, "img_idx": 0})
        if block.rows:
            rows = [f"<tr><td>{' '.join(word.text for word in row)}</td></tr>" for row in block.rows]
            sides = list(zip(*(w.boxes[0] for row in block.rows for w in row), strict=True))
            box = [min(sides[0]), min(sides[1]), max(sides[2]), max(sides[3])]
            html = {"html": f"<table>{''.join(rows)}</table>", "cell_bbox": []}
            records.append({"type": "table", "bbox": [side * pixels_per_point for side in box], "res": html})
    return records


def test_the_papers_pages_as_records_read_like_its_pdf(real_pdf, write):
    pages = read_pdf(real_pdf)
    document = ocr_document(write([record for n in (6, 26) for record in records_of(pages[n - 1])]))
    assert [page.pdf_page for page in document.pages] == [6, 26]
    chunks = chunk_pages(document.pages, "qlora")
    for page in document.pages:
        original = pages[page.pdf_page - 1]
        words = [word for block in original.blocks if block.kind == "text" for word in block.words]
        assert len(words) > 60
        missing = [word.text for word in words if bare(word.text) not in bare(page.raw_text)]
        assert len(missing) < 0.02 * len(words), missing
        quotes = [s.text for c in chunks if c.pdf_page == page.pdf_page for s in c.sentences if not s.formula]
        assert quotes and all(quote_is_on_page(quote, page) for quote in quotes)
    (table,) = [chunk for chunk in chunks if chunk.kind == "table" and chunk.pdf_page == 26]
    assert table.label == "Table 13"
    (heading,) = [b for b in document.pages[1].blocks if b.kind == "heading"]
    assert heading.text == "G Memory Footprint"
