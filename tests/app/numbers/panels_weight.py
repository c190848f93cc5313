"""Panels of the Quantize tab about one weight and about an outlier, as they open: the same arithmetic, done again."""

import torch

import qlora
from app.tabs import quantize_redraw
from app.text import quantize_journey as text
from qlora.quantization.codebook import NF4_LEVELS
from qlora.quantization.packing import unpack
from tests.app.numbers.panels_quantize import BLOCK, CHOICE, layer, matrix, stored
from tests.app.numbers.rendered import Fields, Panel, Value

#: Of the tensor, so many weights are shown with the outlier, which is so many times the largest and stands there.
SHOWN, TIMES, PLACE = 1024, 5.0, 417
_LEVELS = torch.tensor(NF4_LEVELS)
EDGES = ((_LEVELS[:-1] + _LEVELS[1:]) / 2).tolist()


def journey() -> Panel:
    weights = matrix().flatten()[:BLOCK].tolist()
    quantized = stored("nf4")
    codes = unpack(quantized.codes, 4, matrix().numel())[:BLOCK].tolist()
    back, absmax = quantized.absmax_values()[0].item(), max(map(abs, weights))
    largest = max(range(BLOCK), key=lambda place: abs(weights[place]))
    decoded = [NF4_LEVELS[code] * back for code in codes]
    chosen = max(range(BLOCK), key=lambda place: abs(decoded[place] - weights[place]))
    value, code, given_back = weights[chosen], codes[chosen], decoded[chosen]
    assert abs(value / absmax - NF4_LEVELS[code]) == min(abs(value / absmax - level) for level in NF4_LEVELS)
    other, byte = codes[chosen ^ 1], quantized.codes[chosen // 2].item()
    halves = f"{byte >> 4:04b} {byte & 15:04b}"
    assert halves.split()[chosen % 2] == f"{code:04b}" and halves.split()[1 - chosen % 2] == f"{other:04b}"
    template = "BYTE_SECOND" if chosen % 2 else "BYTE_FIRST"
    lines: list[list[Value]] = [
        [number, f"{number:04b}", level, None if number == 0 else EDGES[number - 1]]
        for number, level in enumerate(NF4_LEVELS)
    ]
    steps: dict[str, Fields] = {
        "block": {"block_first": 1, "block_last": BLOCK},
        "scaled": {"value": value, "absmax": absmax},
        "level": {
            "below": EDGES[code - 1] if code else text.NO_EDGE,
            "above": EDGES[code] if code < 15 else text.NO_EDGE,
        },
        "nibble": {"code": code},
        "decoded": {"level": NF4_LEVELS[code], "absmax_back": back, "difference": given_back - value},
    }
    return Panel(
        "One weight's journey",
        lambda: quantize_redraw.draw_journey(*CHOICE, 1, False)[0],
        {
            "quantize_journey.CONCLUSION": {
                "others": BLOCK - 1, "value": value, "decoded": given_back,
                "error": 100 * abs(given_back - value) / absmax,
            },
            "quantize_journey.RUN_LABEL": {"first": 1, "last": BLOCK},
            "quantize_journey.CELL": [
                {"number": number, "value": weight} for number, weight in enumerate(weights, start=1)
            ],
            "quantize_journey.PLACE_IN_MATRIX": {"row": 1, "column": chosen + 1},
            "quantize_journey.ABSMAX_DOUBLE": {
                "number": largest + 1, "code": quantized.absmax[0].item(), "back": back,
            },
            f"quantize_journey.{template}": {"byte_hex": f"0x{byte:02X}", "other": other},
            "quantize_journey.LINE_DESCRIPTION": {"data_type": "NF4"},
            "quantize_journey.LINE_CAPTION": {"data_type": "NF4"},
            **{f"quantize_journey.STEPS.{step}.1": filled for step, filled in steps.items()},
        },
        {"The sixteen codes": lines},
        alone=[
            *(weight / absmax for weight in weights),
            value, 1, absmax, NF4_LEVELS[code], f"{code:04b}", halves, given_back,
        ],
    )  # fmt: skip


def _lost(weights: torch.Tensor, block_size: int) -> torch.Tensor:
    plain = qlora.quantize(weights, "nf4", block_size=block_size, double_quantization=False)
    return (plain.dequantize(torch.float32) - weights).abs().double()


def outlier() -> Panel:
    weights = matrix().flatten()[:SHOWN]
    spoiled = weights.clone()
    spoiled[PLACE - 1] = TIMES * weights.abs().max()
    others = torch.arange(SHOWN) != PLACE - 1
    percent = 100 / weights.double().square().mean().sqrt().item()
    whole, blocks = _lost(spoiled, SHOWN) * percent, _lost(spoiled, BLOCK) * percent
    groups = [slice(start, start + BLOCK) for start in range(0, SHOWN, BLOCK)]

    def mean(lost: torch.Tensor, part: slice) -> float:
        return lost[part][others[part]].mean().item()

    everything = slice(0, SHOWN)
    own = groups[(PLACE - 1) // BLOCK]
    return Panel(
        "An outlier, and what blocks are for",
        lambda: quantize_redraw.draw_outlier(*CHOICE, TIMES, PLACE, False)[0],
        {
            "quantize_journey.OUTLIER_BLOCKS": {
                "size": TIMES,
                "count": SHOWN,
                "before": mean(_lost(weights, SHOWN) * percent, everything),
                "whole": mean(whole, everything),
                "block_size": BLOCK,
                "own": mean(blocks, own),
                "blocks": mean(blocks, everything),
            },
            "quantize_journey.OUTLIER_UNIT": {"count": SHOWN, "layer": layer(), "data_type": "NF4"},
            "quantize_journey.OUTLIER_DESCRIPTION": {"count": SHOWN, "place": PLACE, "block_size": BLOCK},
            "quantize_journey.OUTLIER_CAPTION": {"block_size": BLOCK},
        },
        {
            text.OUTLIER_CAPTION.format(block_size=BLOCK): [
                [text.OUTLIER_ALL, mean(whole, everything), mean(blocks, everything)],
                *([[part.start + 1, part.stop], mean(whole, part), mean(blocks, part)] for part in groups),
            ]
        },
    )


PANELS = (journey, outlier)
