"""SVG for the page: well-formed, accessible, in the page's colours, safe to stand beside another."""

import re
from xml.etree import ElementTree

import pytest

from app.charts import svg
from app.charts.canvas import add_bar, blank, legend, legend_rows, plot_area, round_ticks
from app.charts.palette import INK, PALETTE

NAMESPACE = f"{{{svg.SVG}}}"


def small_figure(width: int = 400):
    figure = blank(width, 200)
    axes = plot_area(figure, x=(0, 2), y=(0, 1), left=40, top=30, x_ticks={0: "0", 1: "1"}, grid="x", x_label="a < b")
    add_bar(axes, 0, 0, 1, 1, name="bar-nf4", color=PALETTE["nf4"])
    axes.plot([0, 1, 5], [0, 1, 5], "o-", color=INK, clip_on=True)
    legend(figure, [("one", {"marker": "s", "color": PALETTE["adapter"]})], left=40)
    return figure


@pytest.fixture(scope="module")
def root() -> ElementTree.Element:
    return ElementTree.fromstring(svg.to_svg(small_figure(), title="A & B", description="x < y"))


def test_text_alternative(root):
    texts = {
        element.get("id"): element.text for element in root if element.tag in (f"{NAMESPACE}title", f"{NAMESPACE}desc")
    }
    assert root.get("role") == "img"
    assert texts[root.get("aria-labelledby")] == "A & B"
    assert texts[root.get("aria-describedby")] == "x < y"


def test_colours_are_variables(root):
    styles = " ".join(element.get("style", "") for element in root.iter())
    assert f"var(--nf4, {PALETTE['nf4']})" in styles
    bare = re.sub(r"var\([^)]*\)", "", styles)
    assert not [colour for colour in PALETTE.values() if colour in bare]
    assert "#000000" not in bare, "a part keeps matplotlib's black, which is invisible on a dark page"


def test_scales_with_the_page_and_leaves_the_page_alone(root):
    assert "width" not in root.attrib
    assert root.get("viewBox") == "0 0 400 200"
    assert root.find(f".//{NAMESPACE}style") is None, "a style element would hold for the whole page"
    assert root.find(f".//{NAMESPACE}metadata") is None
    assert "font-family" not in ElementTree.tostring(root, encoding="unicode")


def test_text_stays_text(root):
    assert "a < b" in ["".join(element.itertext()).strip() for element in root.iter(f"{NAMESPACE}text")]


def test_named_parts_are_found(root):
    assert root.find(".//*[@data-part='bar-nf4']") is not None


def test_ids_do_not_clash_and_references_resolve():
    page = "".join(svg.to_svg(small_figure(), title="t", description="d") for _ in range(3))
    ids = re.findall(r'\bid="([^"]+)"', page)
    referred = re.findall(r"url\(#([^)]+)\)", page) + re.findall(r'href="#([^"]+)"', page)
    assert referred, "no part refers to another, so this proves nothing"
    assert len(ids) == len(set(ids))
    assert set(referred) <= set(ids)


def test_same_figure_gives_the_same_drawing():
    def without_number(text: str) -> str:
        return re.sub(r"chart\d+", "chart", re.sub(r"[pm][0-9a-f]{10}", "", text))

    first, second = (svg.to_svg(small_figure(), title="t", description="d") for _ in range(2))
    assert without_number(first) == without_number(second)


def test_nothing_outside_is_asked_for(root):
    text = ElementTree.tostring(root, encoding="unicode")
    assert set(re.findall(r"https?://[^\s\"]+", text)) <= {svg.SVG}


def test_chart_is_drawn_for_the_width_of_the_page():
    widths = []

    def draw(width):
        widths.append(width)
        return small_figure(width)

    wide = svg.chart(draw, narrow=False, title="t", description="d")
    narrow = svg.chart(draw, narrow=True, title="t", description="d")
    assert widths == [svg.WIDE_PX, svg.NARROW_PX]
    assert f'viewBox="0 0 {svg.WIDE_PX} 200"' in wide
    assert f'viewBox="0 0 {svg.NARROW_PX} 200"' in narrow


@pytest.mark.parametrize(("largest", "expected"), [(50, 10), (9.2, 2.5), (0.8, 0.2), (731, 200), (4, 1)])
def test_round_ticks(largest, expected):
    ticks = list(round_ticks(largest))
    assert ticks[0] == 0
    assert ticks[1] == pytest.approx(expected)
    assert ticks[-1] <= largest * (1 + 1e-9)


def test_legend_wraps_when_the_page_is_narrow():
    names = ["Model, 4-bit", "Adapters", "Weight gradient", "Optimizer", "Input gradient"]
    assert legend_rows(names, svg.WIDE_PX, left=80) == 1
    assert legend_rows(names, svg.NARROW_PX, left=4) > 1
