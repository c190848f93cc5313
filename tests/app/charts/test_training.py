"""Training charts as SVG: what is drawn is read back from the picture and compared with what went in."""

import re
from xml.etree import ElementTree

import pytest

from app.charts import training as charts
from app.charts.svg import to_svg

SVG = "{http://www.w3.org/2000/svg}"
MEMORY = {"base_model": 160.0, "adapters": 20.0, "gradients": 20.0, "optimizer": 36.0, "activations": 100.0}


def drawn(figure) -> ElementTree.Element:
    return ElementTree.fromstring(to_svg(figure, title="title", description="description"))


def points(root: ElementTree.Element, part: str) -> list[tuple[float, float]]:
    """Corners of the path (not of its markers) that is marked as `part`, in SVG units."""
    group = next(element for element in root.iter() if element.get("data-part") == part)
    path = group if group.tag == f"{SVG}path" else group.find(f".//{SVG}path")
    numbers = re.findall(r"[ML] (-?[\d.e-]+) (-?[\d.e-]+)", path.get("d").replace("\n", " "))
    return [(float(x), float(y)) for x, y in numbers]


def texts(root: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()) for element in root.iter(f"{SVG}text"))


def all_charts(count: int):
    steps = list(range(1, count + 1))
    values = [1 + (step * 7919 % 13) / 13 for step in steps]
    moves = [step % 4 for step in steps]
    return {
        "loss": charts.loss_chart(steps, values),
        "learning-rate": charts.learning_rate_chart(steps, [value * 1e-4 for value in values]),
        "tokens-per-second": charts.throughput_chart(steps, values),
        "memory-activations": charts.memory_chart(
            steps, {key: [mib] * count for key, mib in MEMORY.items()}, budget_mib=300
        ),
        "pages-in": charts.page_moves_chart(steps, moves, moves),
    }


@pytest.mark.parametrize("count", [1, 2, 40, 2000])
def test_every_chart_is_drawn_for_any_number_of_steps(count):
    for part, figure in all_charts(count).items():
        root = drawn(figure)
        inside = points(root, part)
        assert inside, part
        width, height = map(float, root.get("viewBox").split()[2:])
        assert all(0 <= x <= width and 0 <= y <= height for x, y in inside), part
        assert len(inside) < 1000, "a long run must not make a large page"
        assert "nan" not in ElementTree.tostring(root, encoding="unicode")


def test_loss_line_has_a_corner_a_step_in_proportion():
    losses = [4.0, 2.0, 3.0, 1.0]
    root = drawn(charts.loss_chart([1, 2, 3, 4], losses))
    line = points(root, "loss")
    assert len(line) == 4
    (x1, y1), (x2, y2), (x3, y3), (_, y4) = line
    assert x2 - x1 == pytest.approx(x3 - x2)
    # Higher loss stands higher, which in SVG is a smaller y; distances keep the ratio of the values.
    assert (y2 - y1) / (y4 - y1) == pytest.approx((4 - 2) / (4 - 1), rel=1e-3)
    assert (y3 - y1) / (y4 - y1) == pytest.approx((4 - 3) / (4 - 1), rel=1e-3)


def test_long_run_shows_the_range_of_its_steps():
    steps = list(range(1, 2001))
    losses = [2.0 if step % 2 else 1.0 for step in steps]
    root = drawn(charts.loss_chart(steps, losses))
    heights = {round(y, 2) for _, y in points(root, "loss")}
    assert len(heights) == 2, "lowest and highest of each column, not their mean"
    assert "range of 10 steps" in texts(root)
    assert len(points(root, "smoothed-loss")) <= 200


def test_axis_of_a_live_run_goes_to_its_last_step():
    live = points(drawn(charts.loss_chart([1, 2, 3], [3, 2, 1], last_step=30)), "loss")
    ended = points(drawn(charts.loss_chart([1, 2, 3], [3, 2, 1])), "loss")
    assert live[-1][0] < ended[-1][0] / 2


def test_smoothed_is_the_weighted_mean_of_all_so_far():
    values = [5.0, 1.0, 2.0, 8.0]
    for count in range(1, 5):
        weights = [0.7**age for age in range(count)]
        expected = sum(w * v for w, v in zip(weights, reversed(values[:count]), strict=True)) / sum(weights)
        assert charts.smoothed(values, 0.7)[count - 1] == pytest.approx(expected)
    assert charts.smoothed([]) == []


def test_memory_is_stacked_in_order_and_the_budget_is_a_line_at_its_height():
    root = drawn(charts.memory_chart([1, 2], {key: [mib] * 2 for key, mib in MEMORY.items()}, budget_mib=236.0))
    bottom, edges = None, {}
    for key in charts.COMPONENT_COLOURS:
        heights = [y for _, y in points(root, f"memory-{key}")]
        edges[key] = (max(heights), min(heights))
        if bottom is not None:
            assert edges[key][0] == pytest.approx(bottom, abs=0.01), "no gap between components"
        bottom = edges[key][1]
    unit = (edges["base_model"][0] - edges["base_model"][1]) / MEMORY["base_model"]
    for key, (low, high) in edges.items():
        assert (low - high) / unit == pytest.approx(MEMORY[key], rel=1e-3)
    # 236 MiB is what all but the activations take.
    assert [y for _, y in points(root, "budget")] == pytest.approx([edges["optimizer"][1]] * 2, abs=0.01)
    assert "budget" in texts(root)
    assert "budget" not in texts(drawn(charts.memory_chart([1], {key: [1.0] for key in MEMORY})))


def test_memory_of_a_long_run_keeps_its_fullest_step():
    steps = list(range(1, 2001))
    activations = [100.0] * 2000
    activations[777] = 200.0
    memory = {key: [mib] * 2000 for key, mib in MEMORY.items()} | {"activations": activations}
    heights = [y for _, y in points(drawn(charts.memory_chart(steps, memory)), "memory-activations")]
    level = sorted(heights)[len(heights) // 4]
    base = max(heights)
    assert (base - min(heights)) == pytest.approx(2 * (base - level), rel=0.01)


def test_pages_in_go_up_and_pages_out_down():
    root = drawn(charts.page_moves_chart([1, 2, 3], [0, 3, 3], [1, 0, 2]))
    came, left = points(root, "pages-in"), points(root, "pages-out")
    zero = max(y for _, y in came)
    assert zero == pytest.approx(min(y for _, y in left), abs=0.01)
    assert (zero - min(y for _, y in came)) / (max(y for _, y in left) - zero) == pytest.approx(3 / 2, rel=1e-3)


def test_page_moves_of_a_long_run_are_summed():
    root = drawn(charts.page_moves_chart(list(range(1, 401)), [1] * 400, [2] * 400))
    assert "in 2 steps" in texts(root)
    numbers = {int(text) for text in re.findall(r"\b\d+\b", texts(root))}
    assert 4 in numbers, "two moves in each of two steps"


@pytest.mark.parametrize(
    ("value", "words"), [(0, "0"), (2e-4, "2e-4"), (1e-3, "1e-3"), (0.05, "0.05"), (1.5e-5, "1.5e-5")]
)
def test_short_power(value, words):
    assert charts.short_power(value) == words
