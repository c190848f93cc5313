"""The chart of retrieval quality: every dot stands at its value, is named, and is said in words."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from app.charts.retrieval import Dots, lowest, retrieval_description, retrieval_figure, retrieval_parts
from app.charts.svg import NARROW_PX, WIDE_PX, to_svg
from app.text import ask_experiment as text


def values(first: float, five: float, mean: float) -> dict[str, float]:
    return dict(zip(text.METRICS, (first, five, mean), strict=True))


ROWS = [
    Dots("fp32", {"dense": values(0.62, 0.92, 0.76), "whole": values(0.88, 0.976, 0.92)}),
    Dots("nf4", {"dense": values(0.6, 0.9, 0.75), "whole": values(0.88, 1.0, 0.93)}),
    Dots("int4", {"dense": values(0.52, 0.8, 0.7), "whole": values(0.8, 0.95, 0.9)}),
]


def places(width: int) -> dict[str, tuple[float, float]]:
    """Name of a dot -> where it stands."""
    parts = retrieval_parts(ROWS)
    drawing = to_svg(retrieval_figure(width, rows=ROWS), title="t", description="d", parts=parts)
    found = {}
    for element in ElementTree.fromstring(drawing).iter():
        if (name := element.get("data-part", "")) in parts:
            use = element.find(".//{*}use")
            found[name] = (float(use.get("x")), float(use.get("y")))
            assert element.get("aria-label") == parts[name]
    return found


@pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])
def test_dots_stand_at_their_values_on_one_scale(width):
    found = places(width)
    assert len(found) == len(ROWS) * 6
    for group in text.GROUPS:
        known = [
            (row.values[group][metric], found[f"{group}-{metric}-{row.data_type}"][0])
            for row in ROWS
            for metric in text.METRICS
        ]
        (low, left), (high, right) = min(known), max(known)
        for value, x in known:
            assert x == pytest.approx(left + (value - low) / (high - low) * (right - left), abs=0.01)
    assert all(0 < x < width for x, _ in found.values())
    ys = sorted(y for name, (_, y) in found.items() if name.startswith("dense"))
    assert all(later - earlier >= 10 for earlier, later in pairwise(ys)), "no dot hides another"


def test_the_scale_begins_below_the_smallest_value():
    assert lowest(ROWS) == pytest.approx(0.5)
    assert lowest([Dots("fp32", {"dense": values(0.05, 0.5, 0.2), "whole": values(1, 1, 1)})]) == 0.0


def test_the_description_has_every_number():
    said = retrieval_description(ROWS)
    numbers = re.findall(r"\d\.\d{3}", said)
    assert len(numbers) == 18 and "INT4 0.520" in said and "NF4 1.000" in said
