"""Charts of a quantized layer: the drawing says what the numbers say."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from app.charts import quantize as charts
from app.charts.svg import NARROW_PX, WIDE_PX, to_svg
from qlora.quantization.codebook import codebook, decision_thresholds

EDGES = np.linspace(-1, 1, 101)


def parts(figure, pattern: str) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(to_svg(figure, title="t", description="d"))
    return {
        element.get("data-part"): element
        for element in root.iter()
        if re.fullmatch(pattern, element.get("data-part", ""))
    }


def box(part: ElementTree.Element) -> tuple[float, float]:
    """Width and height of a bar."""
    numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", part.find(".//{*}path").get("d"))]
    return max(numbers[::2]) - min(numbers[::2]), max(numbers[1::2]) - min(numbers[1::2])


def test_bin_areas_are_the_counts():
    """Shaded areas equal the share of weights that rounding really sends to each level."""
    values = np.clip(np.random.default_rng(0).normal(0, 0.3, 200_000), -1, 1)
    thresholds = decision_thresholds("nf4")[0].numpy()
    density = np.histogram(values, EDGES, density=True)[0]
    shapes = charts.bin_shapes(EDGES, density, thresholds)
    areas = [np.trapezoid(y, x) for x, y in shapes]
    shares = np.bincount(np.searchsorted(thresholds, values), minlength=16) / len(values)
    assert len(shapes) == 16
    assert areas == pytest.approx(shares, abs=2e-3)
    assert sum(areas) == pytest.approx(1)


def test_levels_outside_the_histogram_have_no_bin():
    thresholds = decision_thresholds("int4")[0].numpy()
    assert thresholds[0] < -1, "INT4 has a level below -1, else this proves nothing"
    assert len(charts.bin_shapes(EDGES, np.ones(100) / 2, thresholds)) == 15


@pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])
@pytest.mark.parametrize("data_type", ["nf4", "fp4-e2m1", "fp4-e3m0", "int4"])
def test_levels_figure_has_the_bins_and_the_levels(width, data_type):
    thresholds, order = decision_thresholds(data_type)
    figure = charts.levels_figure(
        width,
        edges=EDGES,
        density=np.ones(100) / 2,
        levels=codebook(data_type)[order.long()].numpy(),
        thresholds=thresholds.numpy(),
        data_type=data_type,
    )
    found = parts(figure, r"bin-\d+|levels")
    assert "levels" in found
    assert len(found) - 1 == len(charts.bin_shapes(EDGES, np.ones(100), thresholds.numpy()))


@pytest.mark.parametrize(("width", "along"), [(WIDE_PX, 1), (NARROW_PX, 0)])
def test_count_bars_are_in_proportion(width, along):
    shares = np.arange(1, 17) / 136
    figure = charts.counts_figure(width, levels=codebook("nf4").numpy(), shares=shares, data_type="nf4")
    bars = parts(figure, r"level-\d+")
    lengths = [box(bars[f"level-{place}"])[along] for place in range(16)]
    assert lengths == pytest.approx(lengths[-1] * shares / shares[-1], rel=1e-3)


@pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])
def test_error_bars_are_in_proportion(width):
    errors = {
        name: {"mean_absolute": size, "root_mean_square": 2 * size, "largest": 50 / size}
        for name, size in (("nf4", 7.0), ("fp4-e2m1", 9.0), ("fp4-e3m0", 12.0), ("int4", 9.5))
    }
    figure = charts.error_figure(width, errors=errors, chosen="nf4")
    bars = parts(figure, r".*-(nf4|fp4-e2m1|fp4-e3m0|int4)")
    assert len(bars) == 12
    for measure in ("mean_absolute", "root_mean_square", "largest"):
        lengths = {name: box(bars[f"{measure}-{name}"])[0] for name in errors}
        for name in errors:
            expected = lengths["nf4"] * errors[name][measure] / errors["nf4"][measure]
            assert lengths[name] == pytest.approx(expected, rel=1e-3)


def test_level_names():
    names = [charts.level_name(level) for level in (-1, -0.6961928, -0.09105, 0, 0.0796, 1)]
    assert names == ["−1", "−0.70", "−0.091", "0", "0.080", "1"]
    assert charts.level_name(-0.0) == "−0"
