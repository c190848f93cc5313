"""Tables and figures: what they are called, show and say, and the regions of the page where they stand."""

import pytest

from app.assistant.chunking import Chunk, Sentence
from app.assistant.gallery import Exhibit, exhibits_of


@pytest.fixture(scope="module")
def of_paper(paper_assistant) -> tuple[Exhibit, ...]:
    return exhibits_of(paper_assistant.open().search.index)


@pytest.fixture(scope="module")
def of_notes(notes_assistant) -> tuple[Exhibit, ...]:
    return exhibits_of(notes_assistant.open().search.index)


def test_tables_and_figures_of_the_paper(of_paper):
    exhibits = {exhibit.label: exhibit for exhibit in of_paper}
    assert set(exhibits) == {f"Table {n}" for n in range(1, 14)} | {f"Figure {n}" for n in range(1, 7)}
    assert [exhibit.pdf_page for exhibit in of_paper] == sorted(e.pdf_page for e in of_paper)
    table = exhibits["Table 2"]
    assert (table.kind, table.pdf_page, table.header, table.rows_source) == ("table", 7, 1, "paper")
    assert table.rows[0] == ("Data type", "Mean PPL") and ("Int4", "34.34") in table.rows
    assert table.caption.startswith("Table 2: Pile Common Crawl mean perplexity")
    assert (
        exhibits["Figure 6"].rows_source == "notes"
        and ("7B", "component model, 5046 MiB (read from the picture)") in exhibits["Figure 6"].rows
    )


def test_a_figures_region_holds_its_drawing_and_hardly_more(of_paper, real_pdf):
    import pypdfium2

    drawings = {}
    with pypdfium2.PdfDocument(real_pdf) as document:
        for exhibit in of_paper:
            if exhibit.kind == "figure":
                page = document[exhibit.pdf_page - 1]
                height = page.get_height()
                boxes = [item.get_bounds() for item in page.get_objects(max_depth=1) if item.type in (3, 5)]
                inside = [
                    (left, height - top, right, height - bottom)
                    for left, bottom, right, top in boxes
                    if exhibit.box[1] <= (2 * height - top - bottom) / 2 <= exhibit.box[3]
                ]
                drawings[exhibit.label] = (exhibit.box, inside)
    assert len(drawings) == 6
    for label, ((left, top, right, bottom), inside) in drawings.items():
        assert len(inside) == 1, label
        x0, y0, x1, y1 = inside[0]
        assert left - 1 <= x0 and x1 <= right + 1 and top - 1 <= y0 and y1 <= bottom, label
        assert y0 - top < 60, f"{label}: text above it is in its region"


def test_tables_and_figures_from_the_notes(of_notes):
    assert len(of_notes) == 19
    assert all(exhibit.box is None and exhibit.source == "notes" for exhibit in of_notes)
    table = next(exhibit for exhibit in of_notes if exhibit.label == "Table 2")
    assert table.pdf_page == 7 and table.caption == "Table 2: perplexity of 4-bit data types"
    assert ("Int4", "mean perplexity 34.34") in table.rows


class Pages:
    """An index as far as the gallery looks."""

    def __init__(self, *chunks: Chunk):
        self.chunks = list(chunks)


def passage(kind: str, text: str, *boxes: tuple, label: str = "", page: int = 1) -> Chunk:
    sentence = Sentence(text, boxes)
    return Chunk(text[:9], "p", "paper", page, page, kind, "1 Method", "", label, (sentence,))


def test_words_drawn_in_a_figure_are_not_its_caption():
    drawn = passage("caption", "0.65 0.63 Total bits", (120, 80, 180, 90), (110, 220, 290, 230), label="Figure 3")
    caption = passage("caption", "Figure 3: Accuracy by bits.", (100, 240, 300, 250), label="Figure 3")
    text = passage("text", "Bits and accuracy are looked at in turn.", (100, 300, 300, 310))
    (found,) = exhibits_of(Pages(drawn, caption, text))
    assert found.caption == "Figure 3: Accuracy by bits."
    left, top, right, bottom = found.box
    assert left <= 110 and top <= 80 and right >= 290 and 250 <= bottom < 300


def test_a_figure_stands_in_the_space_beside_its_caption():
    """Text above and to the left; the figure's own column is free down to the caption."""
    above = passage("text", "Full lines above the figure.", (100, 50, 500, 60))
    beside = passage("text", "Lines left of the figure.", (100, 80, 290, 300))
    caption = passage("caption", "Figure 1: A drawing.", (310, 250, 490, 260), label="Figure 1")
    (found,) = exhibits_of(Pages(above, beside, caption))
    left, top, right, bottom = found.box
    assert 290 < left < 310 and 60 < top < 80 and right >= 490 and bottom >= 260


def test_a_figure_under_its_caption_is_found():
    caption = passage("caption", "Figure 1: A drawing.", (100, 50, 500, 60), label="Figure 1")
    below = passage("text", "Text under the figure.", (100, 300, 500, 310))
    (found,) = exhibits_of(Pages(caption, below))
    assert found.box[1] < 50 and 250 < found.box[3] < 300


def test_figures_side_by_side_share_the_space():
    one = passage("caption", "Figure 1: Left.", (100, 250, 280, 260), label="Figure 1")
    other = passage("caption", "Figure 2: Right.", (320, 250, 500, 260), label="Figure 2")
    text = passage("text", "Text above both of them.", (100, 50, 500, 60))
    left, right = exhibits_of(Pages(one, other, text))
    assert left.box[2] <= right.box[0] + 10


def test_without_room_or_boxes_there_is_no_region():
    crowded = passage("caption", "Figure 1: Where?", (100, 62, 500, 72), label="Figure 1")
    above, below = passage("text", "Above.", (100, 50, 500, 60)), passage("text", "Below.", (100, 74, 500, 84))
    assert exhibits_of(Pages(above, crowded, below))[0].box is None
    assert exhibits_of(Pages(passage("caption", "Figure 1: Where?", label="Figure 1")))[0].box is None
