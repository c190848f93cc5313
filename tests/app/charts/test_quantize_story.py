"""Charts of the Quantize tab's story: their parts are in proportion to the numbers."""

import math
import re
from statistics import NormalDist

import numpy as np
import pytest

from app.charts import quantize_bits, quantize_construction, quantize_line, quantize_outlier, quantize_types
from app.charts.svg import NARROW_PX, WIDE_PX
from qlora.quantization.codebook import codebook, decision_thresholds
from tests.app.charts.test_quantize import box, parts

WIDTHS = pytest.mark.parametrize("width", [WIDE_PX, NARROW_PX])


def points(part) -> np.ndarray:
    """(n, 2): all points of a part's path."""
    numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", part.find(".//{*}path").get("d"))]
    return np.array(numbers).reshape(-1, 2)


@WIDTHS
def test_bars_of_the_scales_are_in_proportion(width):
    bars = parts(quantize_bits.scales_figure(width, block_size=64, shown=3), r"bits-.*")
    lengths = {name: box(bar)[0] for name, bar in bars.items()}
    assert lengths["bits-1"] == pytest.approx(lengths["bits-0"] / 4, rel=1e-3)
    assert lengths["bits-2"] == pytest.approx(lengths["bits-1"], rel=1e-3)
    assert lengths["bits-nested"] == pytest.approx(lengths["bits-0"] / 256, rel=1e-2)


@WIDTHS
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_slices_cover_the_density(width, bits):
    shapes = parts(quantize_construction.step_figure(width, step=2, bits=bits), r"slices-.*")
    x = np.concatenate([points(shape)[:, 0] for shape in shapes.values()])
    assert len(shapes) == 2
    assert x.max() - x.min() == pytest.approx(width - 30 - 12, abs=1)


def test_the_tails_are_those_beyond_one_and_a_half():
    shapes = parts(quantize_construction.step_figure(WIDE_PX, step=1, bits=4), "beyond|density")
    whole, tails = points(shapes["density"]), points(shapes["beyond"])
    unit = (whole[:, 0].max() - whole[:, 0].min()) / 6.6
    middle = (whole[:, 0].max() + whole[:, 0].min()) / 2
    assert abs(tails[:, 0] - middle).min() == pytest.approx(1.5 * unit, abs=0.5)
    height = whole[:, 1].max() - tails[:, 1].min()
    expected = NormalDist().pdf(1.5) / NormalDist().pdf(0) * (whole[:, 1].max() - whole[:, 1].min())
    assert height == pytest.approx(expected, rel=0.02)


@WIDTHS
def test_marks_on_the_line_stand_at_value_and_level(width):
    thresholds, order = decision_thresholds("nf4")
    figure = quantize_line.line_figure(
        width, levels=codebook("nf4")[order.long()].tolist(), thresholds=thresholds.tolist(), data_type="nf4",
        value=0.4, level=0.44,
    )  # fmt: skip
    marks = parts(figure, "value|level")
    middles = {name: (points(mark)[:, 0].max() + points(mark)[:, 0].min()) / 2 for name, mark in marks.items()}
    assert middles["level"] - middles["value"] == pytest.approx(0.04 * quantize_line.pixels_a_unit(width), abs=0.01)


@WIDTHS
def test_levels_of_all_types_stand_on_one_axis(width):
    levels = {name: codebook(name).numpy() for name in ("nf4", "fp4-e2m1", "fp4-e3m0", "int4")}
    errors = dict.fromkeys(levels, 7.0)
    figure = quantize_types.types_figure(width, density=np.ones(100), levels=levels, errors=errors, chosen="nf4")
    rows = parts(figure, "levels-.*")
    assert set(rows) == {f"levels-{name}" for name in levels}
    ends = {}
    for name, row in rows.items():
        x = [float(re.findall(r"-?\d+\.?\d*", path.get("d"))[0]) for path in row.findall(".//{*}path")]
        assert len(x) == 16
        ends[name] = (sorted(x)[-16 if name != "levels-int4" else -15], max(x))
    first = ends["levels-nf4"]
    for name, found in ends.items():
        assert found == pytest.approx(first, abs=0.01), f"−1 and 1 of {name}"


@WIDTHS
@pytest.mark.parametrize("block_size", [32, 64])
def test_outlier_stands_where_the_browser_expects_it(width, block_size):
    weights = [math.sin(i) for i in range(128)]
    errors = {"whole": [50.0] * (128 // block_size), "blocks": [150.0, *[25.0] * (128 // block_size - 1)]}
    figure = quantize_outlier.outlier_figure(
        width, weights=weights, place=100, size=4.0, block_size=block_size, errors=errors, data_type="nf4"
    )
    at = quantize_outlier.places(width)
    found = parts(figure, r"(whole|blocks)-\d+|own-block|stem|handle|reach|weights")
    step = at.width / len(weights)
    assert box(found["whole-0"])[1] == pytest.approx(at.lane_height / 2, abs=0.01)
    assert box(found["blocks-0"])[1] == pytest.approx(at.lane_height, abs=0.01), "what is beyond 100 % stops there"
    assert box(found["blocks-1"])[1] == pytest.approx(at.lane_height / 4, abs=0.01)
    assert points(found["blocks-1"])[:, 1].max() == pytest.approx(at.lanes["blocks"], abs=0.01)
    own = points(found["own-block"])
    assert own[:, 0].min() == pytest.approx(at.left + 100 // block_size * block_size * step, abs=0.01)
    stem = points(found["stem"])
    assert (stem[:, 0].min() + stem[:, 0].max()) / 2 == pytest.approx(at.left + 100.5 * step, abs=0.01)
    assert stem[:, 1].min() == pytest.approx(at.zero - 4 * at.unit, abs=0.01)
    assert len(points(found["weights"])) >= 2 * 127, "a line for every weight"
    assert {"handle", "reach"} <= set(found)
