"""An outlier among real weights: what it does to all of them with one scale, and with a scale for each block.

The first drawing is made here with `qlora.quantize`; as the outlier moves, ``app/scripts/quantize_outlier.js`` does the
same arithmetic in the browser, and a test holds one against the other.
"""

import functools
import json
from dataclasses import asdict, dataclass
from html import escape

from app.charts import markup
from app.charts.frame import Data
from app.charts.svg import NARROW_PX, WIDE_PX, chart
from app.tabs import quantize_sources
from app.tabs.kept import kept
from app.tabs.quantize_sources import Chosen
from app.text import common
from app.text import quantize as labels
from app.text import quantize_journey as text
from qlora.errors import InputError

#: Weights that the outlier stands among: the first of the tensor.
MOST_WEIGHTS = 1024


@dataclass(frozen=True)
class Spoiled:
    """Mean absolute errors of the weights beside the outlier, in % of the typical weight.

    Attributes:
        block_size: weights of a group and of a block.
        whole, blocks: error of each group, with one scale for all and with a scale a block; 0 for a group that the
            outlier has to itself.
        mean_whole, mean_blocks: over all weights but the outlier.
        before: the same with one scale for all and no outlier.
    """

    block_size: int
    whole: tuple[float, ...]
    blocks: tuple[float, ...]
    mean_whole: float
    mean_blocks: float
    before: float


def strip(chosen: Chosen):
    """fp32 (at most 1,024,): the weights that are shown.

    Raises:
        InputError: there is one weight alone, or as `quantize_sources.weights`.
    """
    weights = quantize_sources.weights(chosen).flatten()[:MOST_WEIGHTS]
    if weights.numel() < 2:
        raise InputError(text.OUTLIER_TOO_FEW)
    if not weights.any():
        raise InputError(labels.NOTHING_TO_SCALE)
    return weights


def spoil(chosen: Chosen, data_type: str, block_size: int, place: int, size: float) -> Spoiled:
    """Replace one weight by an outlier, quantize, and measure what happens to the others.

    Args:
        place: from 0.
        size: in largest magnitudes of the weights that are shown.

    Raises:
        InputError: as `strip`.
    """
    weights = strip(chosen).double()
    with_outlier = strip(chosen).clone()
    with_outlier[place] = size * weights.abs().max().item()
    typical = weights.square().mean().sqrt().item()
    whole = _errors(with_outlier, data_type, MOST_WEIGHTS) * (100 / typical)
    blocks = _errors(with_outlier, data_type, block_size) * (100 / typical)
    before = _errors(strip(chosen), data_type, MOST_WEIGHTS) * (100 / typical)
    return Spoiled(
        block_size=block_size,
        whole=_by_group(whole, block_size, place),
        blocks=_by_group(blocks, block_size, place),
        mean_whole=_without(whole, place),
        mean_blocks=_without(blocks, place),
        before=_without(before, place),
    )


def _errors(values, data_type: str, block_size: int):
    import torch

    import qlora

    stored = qlora.quantize(values, data_type, block_size=block_size, double_quantization=False)
    return (stored.dequantize(torch.float32).double() - values.double()).abs()


def _by_group(errors, block_size: int, place: int) -> tuple[float, ...]:
    means = []
    for start in range(0, errors.numel(), block_size):
        group = errors[start : start + block_size]
        inside = start <= place < start + block_size
        means.append(_without(group, place - start) if inside else group.mean().item())
    return tuple(means)


def _without(errors, place: int) -> float:
    others = errors.numel() - 1
    return ((errors.sum() - errors[place]) / others).item() if others else 0.0


@kept(32)
def draw_outlier(chosen: Chosen, data_type: str, block_size: int, place: int, size: float, narrow: bool) -> str:
    """The panel for an outlier at ``place``, counted from 1; a place beyond the last weight is taken as the last.

    Raises:
        InputError: as `strip`.
    """
    from app.charts.quantize_outlier import LARGEST_SIZE, outlier_figure

    weights = strip(chosen)
    place = min(max(1, place), weights.numel()) - 1
    size = min(max(1.0, size), LARGEST_SIZE)
    spoiled = spoil(chosen, data_type, block_size, place, size)
    names = {
        "count": f"{weights.numel():,}",
        "block_size": f"{block_size:,}",
        "layer": chosen.where(),
        "data_type": labels.DATA_TYPES[data_type],
    }
    relative = (weights.double() / weights.abs().max().item()).tolist()
    drawing = chart(
        functools.partial(
            outlier_figure,
            weights=relative,
            place=place,
            size=size,
            block_size=block_size,
            errors={"whole": spoiled.whole, "blocks": spoiled.blocks},
            data_type=data_type,
        ),
        narrow=narrow,
        title=text.OUTLIER_TITLE,
        description=text.OUTLIER_DESCRIPTION.format(place=place + 1, **names),
        data=_data(spoiled, weights.numel(), names),
    )
    sentence = text.OUTLIER_BLOCKS if len(spoiled.blocks) > 1 else text.OUTLIER_ONE_BLOCK
    filled = {
        "size": f"{size:.1f}",
        "before": f"{spoiled.before:.1f}",
        "whole": f"{spoiled.mean_whole:.1f}",
        "own": f"{spoiled.blocks[place // block_size]:.1f}",
        "blocks": f"{spoiled.mean_blocks:.1f}",
    }
    settings = _settings(weights, data_type, block_size, names, sentence, narrow)
    settings["drawn"] = {"place": place, "size": size}
    return (
        f'<div class="outlier" data-outlier="{escape(json.dumps(settings))}">'
        + markup.panel_title(text.OUTLIER_TITLE, kind=common.MEASURED, ask=text.OUTLIER_QUESTION)
        + f'<p class="conclusion">{escape(sentence.format(**names, **filled))}</p>'
        + drawing
        + markup.note(text.OUTLIER_UNIT.format(**names))
        + "</div>"
    )


def _settings(weights, data_type: str, block_size: int, names: dict, sentence: str, narrow: bool) -> dict:
    """What the browser needs to draw the same for another outlier."""
    from app.charts.quantize_outlier import LARGEST_SIZE, places
    from qlora.quantization.codebook import codebook, decision_thresholds

    thresholds, order = decision_thresholds(data_type)
    return {
        "weights": weights.tolist(),
        "levels": codebook(data_type)[order.long()].tolist(),
        "thresholds": thresholds.tolist(),
        "blockSize": block_size,
        "wholeSize": MOST_WEIGHTS,
        "largestSize": LARGEST_SIZE,
        "places": asdict(places(NARROW_PX if narrow else WIDE_PX)),
        "sentence": sentence.format(
            **names, **{key: "{" + key + "}" for key in ("size", "before", "whole", "own", "blocks")}
        ),
        "description": text.OUTLIER_DESCRIPTION.format(place="{place}", **names),
    }


def _data(spoiled: Spoiled, count: int, names: dict) -> Data:
    rows = [(text.OUTLIER_ALL, spoiled.mean_whole, spoiled.mean_blocks)]
    for number, pair in enumerate(zip(spoiled.whole, spoiled.blocks, strict=True)):
        first = number * spoiled.block_size
        last = min(first + spoiled.block_size, count)
        rows.append((f"{first + 1:,}–{last:,}", *pair))
    return Data(text.OUTLIER_COLUMNS, rows, ("{}", "{:.2f} %", "{:.2f} %"), text.OUTLIER_CAPTION.format(**names))
