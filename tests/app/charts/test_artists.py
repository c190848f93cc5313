"""What is written of a figure stands where matplotlib's own SVG has it."""

import re
from io import BytesIO, StringIO
from xml.etree import ElementTree

import matplotlib
import pytest
from PIL import Image

from app.charts import paging_cost as cost
from app.charts.canvas import add_bar, blank, plot_area
from app.charts.memory import figure6_figure
from app.charts.palette import INK, PALETTE, SURFACE
from app.charts.papers import tree_figure
from app.charts.quantize import counts_figure
from app.charts.svg import NARROW_PX, SVG, WIDE_PX, to_svg
from app.tabs.memory_figure6 import read_figure
from qlora.memory import figure6

NAMESPACE = f"{{{SVG}}}"
_LONG = "Storks in winter, and why a landfill keeps them from flying south every autumn"
_TREE = {"names": ("Rye", "Swifts", _LONG), "merges": ((0, 1, 0.8), (2, 3, 0.4))}


def _figures(width: int):
    paper, labels, _ = read_figure()
    yield figure6_figure(width, ours=figure6.recreate(paper), paper=paper, labels=labels)
    levels = [number / 7.5 - 1 for number in range(16)]
    yield counts_figure(width, levels=levels, shares=[1 / 16] * 16, data_type="nf4")
    lines = {"one": [(64.0, 5.0), (131072.0, 0.02)], "other": [(64.0, 2.0), (131072.0, 0.01)]}
    yield cost.cost_chart(width, lines=lines, chosen={"one": (512, 1.0)}, paper_tokens=8192)
    yield tree_figure(width, **_TREE)


def _theirs(figure) -> ElementTree.Element:
    with matplotlib.rc_context({"svg.fonttype": "none", "path.simplify": False}):
        figure.savefig(text := StringIO(), format="svg", transparent=True)
    return ElementTree.fromstring(text.getvalue().encode())


def _ours(figure, **options) -> ElementTree.Element:
    return ElementTree.fromstring(to_svg(figure, title="t", description="d", **options))


def _numbers(words: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", words)]


def _texts(root: ElementTree.Element) -> list[tuple[str, float, float]]:
    """(words, x, y) of the level texts; upright ones are set by their middle here, and by their beginning there."""
    found = []
    for element in root.iter(f"{NAMESPACE}text"):
        moved = element.get("transform", "")
        if "rotate(-90" not in moved:
            place = (element.get("x"), element.get("y")) if "x" in element.attrib else _numbers(moved)[:2]
            found.append((element.text, *map(float, place)))
    return sorted(found)


def _parts(root: ElementTree.Element, attribute: str) -> dict[str, list[float]]:
    return {
        element.get(attribute): _numbers(element.find(".//{*}path").get("d"))
        for element in root.iter(f"{NAMESPACE}g")
        if element.find(".//{*}path") is not None and element.get(attribute)
    }


@pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])
def test_parts_have_the_same_corners(width):
    compared = 0
    for figure in _figures(width):
        ours, theirs = _parts(_ours(figure), "data-part"), _parts(_theirs(figure), "id")
        for name, corners in ours.items():
            assert sorted(set(corners)) == pytest.approx(sorted(set(theirs[name])), abs=2e-3), name
            compared += 1
    assert compared > 50, "else next to nothing was compared"


@pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])
def test_texts_of_one_line_stand_within_a_pixel(width):
    compared = 0
    for figure in _figures(width):
        single = {text.get_text() for text in figure.findobj(matplotlib.text.Text) if "\n" not in text.get_text()}
        ours, theirs = ([one for one in _texts(root) if one[0] in single] for root in (_ours(figure), _theirs(figure)))
        assert [words for words, *_ in ours] == [words for words, *_ in theirs]
        for (words, *here), (_, *there) in zip(ours, theirs, strict=True):
            assert here == pytest.approx(there, abs=1), words
            compared += 1
    assert compared > 50


def test_lines_of_a_text_follow_one_another_at_its_edge():
    figure = tree_figure(WIDE_PX, **_TREE)
    lines = {words: (x, y) for words, x, y in _texts(_ours(figure))}
    (x, first), (same, second) = (place for words, place in lines.items() if words in _LONG)
    assert x == same
    assert 12 < second - first < 20


def _plot(**drawn):
    figure = blank(200, 100)
    axes = plot_area(figure, x=(0, 1), y=(0, 1), left=20, top=10, bottom=10, right=20)
    return figure, axes


def test_what_reaches_beyond_the_plot_is_cut_off_there():
    figure, axes = _plot()
    axes.plot([0, 3], [0.5, 0.5], color=INK, gid="long")
    add_bar(axes, 0.2, 0, 0.5, 1, name="inside", color=PALETTE["nf4"])
    root = _ours(figure)
    clipped = root.find(".//*[@data-part='long']/{*}g")
    name = re.fullmatch(r"url\(#(.+)\)", clipped.get("clip-path"))[1]
    rectangle = root.find(f".//*[@id='{name}']/{{*}}rect")
    assert [float(rectangle.get(side)) for side in ("x", "y", "width", "height")] == [20, 10, 160, 80]
    assert root.find(".//*[@data-part='inside']/{*}g") is None


def test_a_part_with_words_can_be_reached_and_its_words_are_text():
    figure, axes = _plot()
    add_bar(axes, 0, 0, 1, 1, name="bar", color=PALETTE["nf4"])
    root = _ours(figure, parts={"bar": 'a "<b>" & c'})
    part = root.find(".//*[@data-part='bar']")
    assert root.get("role") == "group"
    assert part.get("tabindex") == "0"
    assert part.get("aria-label") == part.get("data-tip") == 'a "<b>" & c'


def test_words_in_a_drawing_are_text():
    figure, axes = _plot()
    axes.text(0, 0, "</text><script>alert(1)</script> & x", bbox={"facecolor": SURFACE, "edgecolor": "none"})
    root = _ours(figure)
    assert root.find(".//{*}script") is None
    assert [words for words, *_ in _texts(root)] == ["</text><script>alert(1)</script> & x"]


def test_what_cannot_be_written_is_an_error():
    figure, axes = _plot()
    axes.scatter([0], [0])
    with pytest.raises(TypeError, match="PathCollection"):
        _ours(figure)
    figure = blank(200, 100)
    figure.add_axes((0, 0, 1, 1))
    with pytest.raises(TypeError, match="scales"):
        _ours(figure)
    figure, axes = _plot()
    axes.vlines([0, 1], 0, 1, colors=[INK, PALETTE["nf4"]])
    with pytest.raises(TypeError, match="the same"):
        _ours(figure)


def test_notebooks_show_the_same_figure_as_a_picture():
    figure, axes = _plot()
    add_bar(axes, 0.25, 0, 0.5, 1, name="bar", color=PALETTE["nf4"])
    figure.savefig(picture := BytesIO(), format="png", bbox_inches="tight")
    with Image.open(picture) as shown:
        pixels = shown.convert("RGB")
    colours = {pixels.getpixel((x, pixels.height // 2)) for x in range(pixels.width)}
    assert tuple(bytes.fromhex(PALETTE["nf4"][1:])) in colours
