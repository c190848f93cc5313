"""Trees of papers: every leaf is named, branches meet where they are as alike as is said, none cross."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from app.charts.papers import folded, leaf_order, tree_description, tree_figure, tree_rows
from app.charts.svg import NARROW_PX, WIDE_PX, to_svg

NAMES = ("Rye", "Swifts", "Wheat", "Storks in winter, and why a landfill keeps them from flying south every autumn")
MERGES = ((0, 2, 0.8), (1, 3, 0.6), (4, 5, 0.1))


def drawing(figure) -> ElementTree.Element:
    return ElementTree.fromstring(to_svg(figure, title="t", description="d"))


def texts(root: ElementTree.Element) -> list[str]:
    return ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


def branches(root: ElementTree.Element) -> dict[int, list[tuple[float, float]]]:
    """Number of a branch -> corners of its line."""
    found = {}
    for element in root.iter():
        if match := re.fullmatch(r"branch-(\d+)", element.get("data-part", "")):
            numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", element.find(".//{*}path").get("d"))]
            found[int(match[1])] = list(zip(numbers[::2], numbers[1::2], strict=True))
    return found


@pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])
def test_branches_meet_at_their_likeness(width):
    lines = branches(drawing(tree_figure(width, names=NAMES, merges=MERGES)))
    assert sorted(lines) == [0, 1, 2, 3, 4, 5]
    start = lines[0][0][0]
    unit = (lines[4][1][0] - start) / 0.9
    for number, (one, other, likeness) in enumerate(MERGES, start=len(NAMES)):
        assert lines[one][-1] == pytest.approx(lines[other][-1]), "they meet in one point"
        assert lines[one][-1][0] - start == pytest.approx(unit * (1 - likeness), abs=0.1)
        if number in lines:
            assert lines[number][0] == pytest.approx(lines[one][-1])


@pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])
def test_every_leaf_is_named_inside_the_drawing(width):
    figure = tree_figure(width, names=NAMES, merges=MERGES)
    shown = " ".join(texts(drawing(figure)))
    assert all(name in shown for name in ("Rye", "Swifts", "Wheat", "Storks in winter"))
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    assert all(box.x0 >= 0 and box.x1 <= width + 1 for box in boxes)
    leaves = sorted((box for box in boxes if box.x1 < 0.55 * width and box.y0 > 40), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 for low, high in pairwise(leaves)), "names overlap"


def test_leaves_stand_beside_what_they_meet_first():
    assert leaf_order(4, MERGES) == [0, 2, 1, 3]


def test_the_chosen_leaf_is_set_apart_up_to_the_root():
    root = drawing(tree_figure(WIDE_PX, names=NAMES, merges=MERGES, chosen="Swifts"))
    styles = {
        element.get("data-part"): element.find(".//{*}path").get("style")
        for element in root.iter()
        if element.get("data-part", "").startswith("branch-")
    }
    accented = {name for name, style in styles.items() if "var(--accent" in style}
    assert accented == {"branch-1", "branch-5"}
    assert all("var(--" in style for style in styles.values())


def test_titles_are_no_formulas_and_no_markup():
    names = (r"Cost of $\frac{a}{b}$ <b>bold</b>", "A \x00\x1bstrange & long title")
    root = drawing(tree_figure(WIDE_PX, names=names, merges=((0, 1, 0.5),)))
    shown = " ".join(texts(root))
    assert r"$\frac{a}{b}$ <b>bold</b>" in shown and "A strange & long title" in shown
    assert "\x00" not in tree_description(names, ((0, 1, 0.5),), kind="papers")


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(count):
    names = NAMES[:count]
    drawing(tree_figure(NARROW_PX, names=names, merges=()))
    assert tree_rows(names, ()) == []
    assert ("Rye" in tree_description(names, (), kind="papers")) == bool(count)


def test_the_same_text_and_opposite_texts_can_be_drawn():
    for likeness in (1.0, 0.0, -1.0):
        drawing(tree_figure(WIDE_PX, names=NAMES[:2], merges=((0, 1, likeness),)))


def test_words_and_table_say_what_the_drawing_shows():
    assert tree_rows(NAMES[:3], ((0, 2, 0.8), (1, 3, 0.25))) == [
        ("Rye", "Wheat", "0.80"),
        ("Swifts", "Rye, Wheat", "0.25"),
    ]
    said = tree_description(NAMES[:3], ((0, 2, 0.8), (1, 3, 0.25)), kind="sections")
    assert "3 sections" in said and "Rye and Wheat at 0.80; Swifts and Rye, Wheat at 0.25." in said
    many = [str(number) for number in range(6)]
    rows = tree_rows(many, [(0, 1, 0.9), (6, 2, 0.8), (7, 3, 0.7), (8, 4, 0.6), (9, 5, 0.5)])
    assert rows[-1][0] == "0, 1, 2 and 2 more"


def test_long_names_are_folded_and_cut():
    lines = folded("word " * 30, 20, 2).split("\n")
    assert len(lines) == 2 and all(len(line) <= 20 for line in lines) and lines[-1].endswith("…")
    assert folded("x" * 50, 20, 3).count("\n") == 2
