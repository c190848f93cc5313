"""Charts of memory: bars in the paper's order and in proportion, card lines where they belong."""

import re
from xml.etree import ElementTree

import pytest

from app.charts import memory as charts
from app.charts.svg import NARROW_PX, WIDE_PX, to_svg
from app.tabs.memory_figure6 import read_figure
from app.text import memory as text
from qlora.memory import figure6
from qlora.memory.estimate import EstimateOptions, estimate
from qlora.memory.shapes import LLAMA


def drawing(figure) -> ElementTree.Element:
    return ElementTree.fromstring(to_svg(figure, title="t", description="d"))


def spans(root: ElementTree.Element, pattern: str) -> dict[str, tuple[float, float]]:
    """data-part -> left and right edge of its bar."""
    found = {}
    for element in root.iter():
        name = element.get("data-part", "")
        if re.fullmatch(pattern, name):
            x = [float(n) for n in re.findall(r"-?\d+\.?\d*", element.find(".//{*}path").get("d"))][::2]
            found[name] = min(x), max(x)
    return found


def texts(root: ElementTree.Element) -> list[str]:
    return ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])
def test_four_sizes_twice_stacked_in_the_papers_order(width):
    paper, labels, _ = read_figure()
    ours = figure6.recreate(paper)
    root = drawing(charts.figure6_figure(width, ours=ours, paper=paper, labels=labels))
    bars = spans(root, r".*B-(formula|paper)-.*")
    assert len(bars) == 4 * 2 * len(figure6.COMPONENTS)
    scale = bars["65B-paper-model"][1] - bars["65B-paper-model"][0]
    for row, figure in (("formula", ours), ("paper", paper)):
        for size in LLAMA:
            place = bars[f"{size}-{row}-model"][0]
            for part in figure6.COMPONENTS:
                left, right = bars[f"{size}-{row}-{part}"]
                assert left == pytest.approx(place, abs=0.01)
                assert right - left == pytest.approx(scale * figure[size][part] / paper["65B"]["model"], abs=0.01)
                place = right


def test_card_names_on_a_wide_page():
    paper, labels, _ = read_figure()
    root = drawing(charts.figure6_figure(WIDE_PX, ours=figure6.recreate(paper), paper=paper, labels=labels))
    assert [text for text in texts(root) if re.fullmatch(r"\d+ GB", text)] == ["48 GB", "24 GB", "16 GB", "8 GB"]


@pytest.mark.parametrize("method", ["qlora", "lora", "full"])
@pytest.mark.parametrize("size", ["7B", "65B"])
def test_moments_add_up_and_name_the_card(method, size):
    result = estimate(LLAMA[size], EstimateOptions(method=method))
    root = drawing(charts.stacked_figure(WIDE_PX, rows=result.moments, names=text.MOMENTS))
    bars = spans(root, r"(loss|backward|update)-.*")
    ends = {
        moment: max(right for name, (_, right) in bars.items() if name.startswith(moment)) for moment in result.moments
    }
    start = min(left for left, _ in bars.values())
    peak = ends[result.peak_moment] - start
    for moment, parts in result.moments.items():
        assert ends[moment] - start == pytest.approx(peak * sum(parts.values()) / result.peak_bytes, abs=0.05)
    card = charts.smallest_card(result.peak_bytes / 2**30) or charts.CARDS_GIB[-1]
    assert f"{card} GB" in texts(root)


def test_smallest_card():
    assert [charts.smallest_card(gib) for gib in (0.1, 8, 8.1, 46, 80, 80.1)] == [8, 8, 16, 48, 80, None]


def test_words_for_memory():
    assert [charts.gib_text(gib) for gib in (0.25, 5.66, 731.2)] == ["256 MiB", "5.7 GiB", "731 GiB"]
