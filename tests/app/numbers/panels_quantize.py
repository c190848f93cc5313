"""Panels of the Quantize tab as they open: numbers of the real layer by `qlora.quantize`, and of the normal curve."""

import itertools
from functools import cache
from statistics import NormalDist

import torch

import qlora
from app.tabs import quantize_redraw, quantize_weights
from app.text import quantize as text
from app.text import quantize_story as story_text
from qlora.memory.shapes import LLAMA
from qlora.quantization.codebook import NF4_LEVELS, codebook
from qlora.quantization.packing import unpack
from tests.app.numbers.rendered import Fields, Panel, Value, only

BLOCK = 64
CHOICE = (text.LANGUAGE_MODEL, 1, quantize_redraw.FIRST_MATRIX, None, None, None, "nf4", BLOCK, True)
NORMAL = NormalDist()


@cache
def matrix() -> torch.Tensor:
    """fp32 (out, in): the layer that the tab opens with."""
    return quantize_weights.matrix(*CHOICE[:3])


@cache
def stored(data_type: str, double_quantization: bool = True):
    return qlora.quantize(matrix(), data_type, block_size=BLOCK, double_quantization=double_quantization)


def layer() -> list[float]:
    """Numbers of the words for it."""
    return [CHOICE[1], *matrix().shape]


def ascending(data_type: str) -> list[float]:
    return codebook(data_type).sort().values.tolist()


@cache
def scaled() -> torch.Tensor:
    """Every weight over the largest magnitude of its block."""
    blocks = matrix().view(-1, BLOCK)
    return (blocks / blocks.abs().amax(dim=1, keepdim=True)).flatten()


def half() -> float:
    """Half of the scaled weights lie within ± this."""
    return scaled().abs().median().item()


def inside(data_type: str) -> int:
    """Levels within it."""
    return sum(abs(level) <= half() for level in ascending(data_type))


def typical() -> float:
    """Root mean square of the weights."""
    return matrix().square().mean().sqrt().item()


@cache
def errors(data_type: str, double_quantization: bool = True) -> tuple[float, float, float]:
    """Mean absolute, root mean square and largest error."""
    lost = (stored(data_type, double_quantization).dequantize(torch.float32) - matrix()).abs()
    return lost.mean().item(), lost.square().mean().sqrt().item(), lost.max().item()


def relative(data_type: str, double_quantization: bool = True) -> list[float]:
    """The same in % of the typical weight."""
    return [100 * error / typical() for error in errors(data_type, double_quantization)]


def levels() -> Panel:
    codes = unpack(stored("nf4").codes, 4, matrix().numel())
    counts = torch.bincount(codes.long(), minlength=16).tolist()
    shares = [100 * count / matrix().numel() for count in counts]
    fullest = sorted(shares, reverse=True)
    density = torch.histc(scaled(), 100, -1, 1) * 50 / matrix().numel()
    runs = matrix().flatten()[: 512 * 32].view(512, 32)
    return Panel(
        "Where the sixteen levels sit, and how many weights each gets",
        lambda: "".join(quantize_redraw.draw_levels(*CHOICE, False)),
        {
            "quantize.LEVELS_CONCLUSION": {"half": half(), "data_type": "NF4", "inside": inside("nf4")},
            "quantize.LEVELS_DESCRIPTION": {
                "count": matrix().numel(), "layer": layer(), "block_size": BLOCK, "data_type": "NF4",
                "levels": ascending("nf4"),
            },
            "quantize.COUNTS_CONCLUSION": {
                "data_type": "NF4", "largest": fullest[0], "four": sum(fullest[:4]), "remark": ""
            },
            "quantize.COUNTS_DESCRIPTION": {
                "layer": layer(), "data_type": "NF4",
                "shares": list(itertools.chain(*zip(NF4_LEVELS, shares, strict=True))),
            },
            "quantize.TABLE_HISTOGRAM_CAPTION": {"layer": layer(), "block_size": BLOCK},
            "quantize.TABLE_LEVEL_CAPTION": {"data_type": "NF4", "layer": layer(), "block_size": BLOCK},
            f"quantize.MODEL_NOTES.{text.LANGUAGE_MODEL}": {
                "distinct": sum(len(set(run)) for run in runs.tolist()) / 512
            },
        },
        {
            "Histogram of the weights": [
                [-1 + place / 50, -1 + (place + 1) / 50, height] for place, height in enumerate(density.tolist())
            ],
            "NF4 on": [list(row) for row in zip(NF4_LEVELS, counts, shares, strict=True)],
        },
    )  # fmt: skip


def lost() -> Panel:
    order = sorted(text.DATA_TYPES, key=lambda name: errors(name)[0])
    best, second, worst = order[0], order[1], order[-1]
    bits = {name: 8 * stored(name).nbytes / matrix().numel() for name in text.DATA_TYPES}
    return Panel(
        "Four data types, what is lost, and what it costs to store",
        lambda: quantize_redraw.draw_errors(*CHOICE, False),
        {
            "quantize.TYPES_CONCLUSION": {"half": half(), "inside": [inside(name) for name in text.DATA_TYPES]},
            "quantize.TYPES_DESCRIPTION": {
                "layer": layer(), "block_size": BLOCK, "errors": [relative(name)[0] for name in text.DATA_TYPES],
            },
            "quantize.TABLE_TYPES_CAPTION": {"layer": layer(), "block_size": BLOCK},
            "quantize.ERROR_CONCLUSION": {
                "best": text.DATA_TYPES[best], "second": text.DATA_TYPES[second], "worst": text.DATA_TYPES[worst],
                "gain": 100 * (1 - errors(best)[0] / errors(second)[0]),
                "most": 100 * (1 - errors(best)[0] / errors(worst)[0]),
            },
            "quantize.ERROR_DESCRIPTION": {
                "layer": layer(), "errors": [error for name in text.DATA_TYPES for error in relative(name)],
            },
            "quantize.TABLE_ERROR_CAPTION": {"layer": layer(), "block_size": BLOCK},
            "quantize.STORAGE": {
                "bits": bits["nf4"], "constants": bits["nf4"] - 4, "count": matrix().numel(),
                "stored": stored("nf4").nbytes / 2**10, "half": matrix().numel() * 16 / 8 / 2**10,
            },
        },
        {
            "Levels from smallest to largest": [
                [name, *ascending(key), relative(key)[0]] for key, name in text.DATA_TYPES.items()
            ],
            "Error of every weight": [[name, *errors(key), bits[key]] for key, name in text.DATA_TYPES.items()],
        },
    )  # fmt: skip


def _construction(step: int) -> tuple[Fields, list[float], list[list[Value]]]:
    """(what its sentence is filled with, the positions that are drawn, the rows of its table)."""
    even = [-3 + 6 * i / 15 for i in range(16)]
    middles = [-float("inf"), *((low + high) / 2 for low, high in itertools.pairwise(even)), float("inf")]
    edges = [NORMAL.inv_cdf(i / 16) for i in range(1, 16)]
    top = 1 - (1 / 30 + 1 / 32) / 2
    upper = [NORMAL.inv_cdf(0.5 + (top - 0.5) * i / 8) for i in range(1, 9)]
    lower = [-NORMAL.inv_cdf(0.5 + (top - 0.5) * i / 7) for i in range(7, 0, -1)]
    quantiles = [*lower, 0.0, *upper]
    scaled_ones = [quantile / quantiles[-1] for quantile in quantiles]
    spans = list(itertools.pairwise([-float("inf"), *edges, float("inf")]))
    apart = max(abs(ours - printed) for ours, printed in zip(scaled_ones, NF4_LEVELS, strict=True))
    return {
        1: (
            {"count": 16, "outer": 200 * NORMAL.cdf(-1.5)},
            even,
            [[i + 1, place, 100 * (_below(high) - _below(low))]
             for i, (place, (low, high)) in enumerate(zip(even, itertools.pairwise(middles), strict=True))],
        ),
        2: ({"count": 16, "share": 100 / 16}, edges, [[i + 1, *span, 100 / 16] for i, span in enumerate(spans)]),
        3: (
            {"positive": 8, "negative": 7, "count": 16, "top": top, "first": 30, "second": 32},
            quantiles,
            [[code, NORMAL.cdf(quantile), quantile] for code, quantile in enumerate(quantiles)],
        ),
        4: (
            {"largest": quantiles[-1], "agreement": [16, apart]},
            scaled_ones,
            [[code, *pair] for code, pair in enumerate(zip(quantiles, scaled_ones, strict=True))],
        ),
    }[step]  # fmt: skip


def _below(x: float) -> float:
    return {float("inf"): 1.0, -float("inf"): 0.0}.get(x) if abs(x) == float("inf") else NORMAL.cdf(x)


def construction(step: int) -> Panel:
    filled, positions, rows = _construction(step)
    place = step - 1
    caption = story_text.STEP_CAPTIONS[place].format(bits=4, count=16)
    return Panel(
        f"How the sixteen levels arise, step {step}",
        lambda: quantize_redraw.draw_construction(4, story_text.STEPS[place], False)[0],
        {
            f"quantize_story.STEP_SENTENCES.{place}": filled,
            f"quantize_story.STEP_DESCRIPTIONS.{place}": only(
                story_text.STEP_DESCRIPTIONS[place], {"count": 16, "negative": 7, "positive": 8, "values": positions}
            ),
            **({"quantize_story.STEP_TITLES.1": {"count": 16}} if step == 2 else {}),
            **({f"quantize_story.STEP_CAPTIONS.{place}": {"count": 16}} if step <= 2 else {}),
        },
        {caption: rows},
    )


def double() -> Panel:
    bits = [32 / BLOCK, 8 / BLOCK, 8 / BLOCK + 32 / (BLOCK * 256)]
    saved = bits[0] - bits[2]
    assert round(LLAMA["65B"].parameters / 1e9) == 65
    formulas = [[32, BLOCK], [8, BLOCK], [8, BLOCK, 32, BLOCK, 256]]
    kept, plain = (8 * stored("nf4", on).nbytes / matrix().numel() for on in (True, False))
    return Panel(
        "The scales are quantized too",
        lambda: quantize_redraw.draw_double(*CHOICE, story_text.DOUBLE_STEPS[-1], False),
        {
            "quantize_story.DOUBLE_CONCLUSION": {
                "block_size": BLOCK, "before": bits[0], "after": bits[2], "saved": saved, "gigabytes": saved * 65 / 8,
            },
            "quantize_story.DOUBLE_SENTENCES.2": {
                "block": BLOCK, "shared": 256 * BLOCK, "last": bits[2] - bits[1], "bits": bits[2],
            },
            "quantize_story.DOUBLE_DESCRIPTION": {"block": BLOCK, "rows": [*bits[:2], 256, bits[2]]},
            "quantize_story.DOUBLE_CAPTION": {"block": BLOCK},
            "quantize_story.DOUBLE_MEASURED": {
                "layer": layer(), "with_it": relative("nf4")[0], "without": relative("nf4", False)[0], "stored": kept,
                "plain": plain,
            },
        },
        {
            story_text.DOUBLE_CAPTION.format(block=BLOCK): [
                [name, formula, value, 4 + value]
                for name, formula, value in zip(story_text.DOUBLE_ROWS, formulas, bits, strict=True)
            ]
        },
    )  # fmt: skip


def _step(number: int):
    def panel() -> Panel:
        return construction(number)

    panel.__name__ = f"construction_{number}"
    return panel


PANELS = (levels, lost, *map(_step, (1, 2, 3, 4)), double)
