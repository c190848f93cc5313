"""Charts of the Paging tab."""

import re

import pytest

from app.charts import paging as charts
from app.charts import paging_cost
from app.charts.svg import NARROW_PX, WIDE_PX, to_svg
from app.text import paging as text

RUN = {
    "pages": 4,
    "seconds": 10.0,
    "absences": [(3, 2.0, 5.0), (2, 3.0, 4.0), (1, 9.0, 9.0)],
    "held": [(0.0, 0.0), (1.0, 3.6), (2.0, 3.0), (5.0, 3.6)],
    "fullest": [(0.0, 1.0, 0), (1.0, 5.0, 7.5), (5.0, 10.0, 5.0)],
    "constant_mib": 20.0,
    "limit_mib": 28.0,
    "step_ticks": {1.0: "1", 1.01: "2", 10.0: "3"},
}


def drawn(figure) -> str:
    return to_svg(figure, title="t", description="d")


def box_of(svg: str, part: str) -> list[tuple[float, float]]:
    path = re.search(rf'data-part="{part}"[^>]*>\s*<path d="([^"]+)"', svg).group(1)
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]


@pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])
def test_pages_are_drawn_where_they_were(width):
    svg = drawn(charts.run_chart(width, **RUN))
    plots = charts.run_plots(width, with_limit=True)
    left, right = charts.LEFT_PX, width - charts.RIGHT_PX
    away = box_of(svg, "pages-away")
    assert len(away) >= 4 * len(RUN["absences"])
    assert min(x for x, _ in away) == pytest.approx(left + 0.2 * (right - left), abs=0.5)
    top, bottom = plots.pages
    assert max(y for _, y in away) == pytest.approx(bottom, abs=0.5), "page 3 is the lowest of four"
    assert min(y for _, y in away) == pytest.approx(top + (bottom - top) / 4, abs=0.5), "page 0 was never away"
    end = max(x for x, _ in away)
    assert left + 0.9 * (right - left) < end <= right, "an absence that took no time is still seen"


def test_memory_is_drawn_against_the_limit():
    svg = drawn(charts.run_chart(WIDE_PX, **RUN))
    top, bottom = charts.run_plots(WIDE_PX, with_limit=True).memory
    scale = (bottom - top) / (8.0 * 1.08)
    highest = {part: min(y for _, y in box_of(svg, f"memory-{part}")) for part in ("pages", "activations")}
    assert highest["pages"] == pytest.approx(bottom - 3.6 * scale, abs=0.5)
    assert highest["activations"] == pytest.approx(bottom - 7.5 * scale, abs=0.5)
    assert 'data-part="limit"' in svg
    without = drawn(charts.run_chart(WIDE_PX, **{**RUN, "limit_mib": None}))
    assert 'data-part="limit"' not in without
    assert f">{text.LIMIT}<" not in without


def test_tick_texts_do_not_run_into_each_other():
    svg = drawn(charts.run_chart(NARROW_PX, **RUN))
    assert ">1<" in svg
    assert ">2<" not in svg, "it stands a hundredth of a second after the first"


def test_run_without_a_single_move_can_be_drawn():
    quiet = {**RUN, "absences": [], "held": [(0.0, 0.0)], "fullest": [], "step_ticks": {}, "seconds": 0.0}
    assert 'data-part="pages-away"' not in drawn(charts.run_chart(WIDE_PX, **quiet))


@pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])
def test_step_has_its_phases_and_its_limit(width):
    svg = drawn(
        charts.step_chart(
            width,
            operators=1000,
            phases={"forward": 0, "backward": 300, "update": 990},
            samples=[(0, 0.0, 4.0), (300, 6.0, 2.0), (990, 0.0, 2.0), (999, 0.0, 4.0)],
            constant_mib=20.0,
            limit_mib=28.0,
        )
    )
    assert all(f">{name}<" in svg for name in text.PHASES.values())
    pages = box_of(svg, "step-pages")
    heights = sorted({round(y, 1) for _, y in pages})
    assert heights[0] < heights[1] < heights[2], "all pages, half of them, and the ground"


def test_cost_falls_with_the_tokens_and_marks_the_setting():
    lines = {"slow": [(100, 50.0), (1000, 5.0), (10_000, 0.5)], "fast": [(100, 25.0), (1000, 2.5), (10_000, 0.25)]}
    svg = drawn(
        paging_cost.cost_chart(
            WIDE_PX, lines=lines, chosen={"slow": (1000, 5.0), "fast": (1000, 2.5)}, paper_tokens=8192
        )
    )
    assert svg.count('data-part="cost-chosen"') == 2
    ends = [box_of(svg, "cost")[0], box_of(svg, "cost")[-1]]
    assert ends[0][1] < ends[1][1], "lower on the page is less"
    nothing = {name: [(at, 0.0) for at, _ in points] for name, points in lines.items()}
    empty = drawn(
        paging_cost.cost_chart(WIDE_PX, lines=nothing, chosen=dict.fromkeys(lines, (1000, 0.0)), paper_tokens=8192)
    )
    assert 'data-part="cost-chosen"' not in empty
