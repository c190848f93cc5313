"""One weight's journey: value, block, absmax, scaled value, level, code, nibble, byte, and back.

Python writes the record of each of 64 weights, in words; in the browser ``app/scripts/quantize_journey.js`` puts the
chosen one in place and computes nothing.
"""

import functools
import json
from dataclasses import dataclass
from html import escape

from app.charts import markup
from app.charts.frame import Data
from app.charts.svg import NARROW_PX, WIDE_PX, chart
from app.tabs import quantize_measures, quantize_sources
from app.tabs.quantize_sources import Chosen
from app.text import common
from app.text import quantize as labels
from app.text import quantize_journey as text

RUN = 64


@dataclass(frozen=True)
class Step:
    """What happens to one weight.

    Attributes:
        number: position in the tensor, from 1.
        value, absmax, scaled, level, decoded: floats; ``absmax`` is that of the block before it is stored.
        code: 0 to 15.
        byte: the packed byte that holds the code.
        other: code in the byte's other half, None where the tensor ends.
        edges: the decision thresholds on either side of ``level``, None beyond the outermost.
        block: (number from 1, first weight, last weight).
        largest: position of the block's largest weight, from 1.
        absmax_code: 8-bit code of the absmax, None without double quantization.
        absmax_back: the absmax that decoding uses.
    """

    number: int
    value: float
    absmax: float
    scaled: float
    level: float
    decoded: float
    code: int
    byte: int
    other: int | None
    edges: tuple[float | None, float | None]
    block: tuple[int, int, int]
    largest: int
    absmax_code: int | None
    absmax_back: float


def runs(chosen: Chosen) -> int:
    """How many runs of 64 the weights make, the last perhaps short.

    Raises:
        InputError: as `quantize_sources.weights`.
    """
    return -(-quantize_sources.weights(chosen).numel() // RUN)


def journey(chosen: Chosen, data_type: str, block_size: int, double_quantization: bool, run: int) -> list[Step]:
    """The steps of each weight of a run, every number from `qlora.quantize`.

    Args:
        run: from 1 to `runs`.

    Raises:
        InputError: as `quantize_sources.weights`.
        ValueError: an argument is not one that `qlora.quantize` takes.
    """
    import torch

    from qlora.quantization.codebook import codebook, decision_thresholds
    from qlora.quantization.packing import unpack

    weights = quantize_sources.weights(chosen).flatten()
    stored = quantize_measures.stored(chosen, data_type, block_size, double_quantization)
    back = stored.absmax_values()
    levels = codebook(data_type)
    thresholds, order = decision_thresholds(data_type)
    rank = torch.argsort(order.long()).tolist()
    edges = [None, *thresholds.tolist(), None]
    start = (run - 1) * RUN
    values = weights[start : start + RUN].tolist()
    packed = stored.codes[start // 2 : -(-(start + len(values)) // 2)]
    codes = unpack(packed, 4, len(values)).tolist()
    found = []
    for place, (value, code) in enumerate(zip(values, codes, strict=True)):
        number, block = start + place, (start + place) // block_size
        first, last = block * block_size, min((block + 1) * block_size, weights.numel())
        magnitudes = weights[first:last].abs()
        absmax, scale = magnitudes.max().item(), back[block].item()
        neighbour = place ^ 1
        found.append(
            Step(
                number=number + 1,
                value=value,
                absmax=absmax,
                scaled=value / absmax if absmax else 0.0,
                level=levels[code].item(),
                decoded=(levels[code] * back[block]).item(),
                code=code,
                byte=packed[place // 2].item(),
                other=codes[neighbour] if neighbour < len(codes) else None,
                edges=(edges[rank[code]], edges[rank[code] + 1]),
                block=(block + 1, first + 1, last),
                largest=first + int(magnitudes.argmax()) + 1,
                absmax_code=stored.absmax[block].item() if double_quantization else None,
                absmax_back=scale,
            )
        )
    return found


def draw_journey(
    chosen: Chosen, data_type: str, block_size: int, double_quantization: bool, run: int, narrow: bool
) -> str:
    """The panel, standing at the run's weight with the largest error; a run beyond the last is taken as the last.

    Raises:
        InputError, ValueError: as `journey`.
    """
    run = min(max(1, run), runs(chosen))
    steps = journey(chosen, data_type, block_size, double_quantization, run)
    shape = quantize_sources.weights(chosen).shape
    records = [_record(step, shape) for step in steps]
    start = max(range(len(steps)), key=lambda place: abs(steps[place].decoded - steps[place].value))
    current = records[start]
    cells = "".join(
        f'<button type="button" role="radio" aria-checked="{str(place == start).lower()}" data-weight="{place}" '
        f'tabindex="{0 if place == start else -1}" aria-label="{escape(record["cell"])}" '
        f'style="--share: {abs(step.scaled):.3f}">{escape(record["scaled_short"])}</button>'
        for place, (step, record) in enumerate(zip(steps, records, strict=True))
    )
    label = text.RUN_LABEL.format(first=steps[0].number, last=steps[-1].number)
    return (
        f'<div class="journey" data-pixels="{_pixels(narrow):.3f}" data-journey="{escape(json.dumps(_wire(records)))}">'
        + markup.panel_title(text.TITLE, kind=common.MEASURED, ask=text.QUESTION)
        + f'<p class="conclusion" data-field="conclusion">{escape(current["conclusion"])}</p>'
        + markup.note(label)
        + f'<div class="journey-run" role="radiogroup" aria-label="{escape(label)}">{cells}</div>'
        + _cards(current)
        + _placed(_line(data_type, narrow), current, _pixels(narrow))
        + "</div>"
    )


def _pixels(narrow: bool) -> float:
    from app.charts.quantize_line import pixels_a_unit

    return pixels_a_unit(NARROW_PX if narrow else WIDE_PX)


def _cards(record: dict[str, str]) -> str:
    cards = "".join(
        f'<li><span class="journey-step">{escape(heading)}</span>'
        f'<strong data-field="{field}">{escape(record[field])}</strong>'
        f'<span data-field="{field}_told">{escape(record[f"{field}_told"])}</span></li>'
        for field, (heading, _) in text.STEPS.items()
    )
    return f'<ol class="journey-cards">{cards}</ol>'


def _wire(records: list[dict[str, str]]) -> list[dict[str, str]]:
    shown = {"conclusion", "at", "at_level"} | {f for field in text.STEPS for f in (field, f"{field}_told")}
    return [{field: value for field, value in record.items() if field in shown} for record in records]


def _record(step: Step, shape: tuple[int, ...]) -> dict[str, str]:
    """A weight's steps in words: what stands in every field of the panel."""
    others = step.block[2] - step.block[1]
    names = {
        "value": _short(step.value),
        "scaled": _fixed(step.scaled),
        "scaled_short": _fixed(step.scaled, 2).replace("0.", "."),
        "level": _fixed(step.level),
        "absmax": _short(step.absmax),
        "absmax_back": _short(step.absmax_back),
        "block": f"{step.block[0]:,}",
        "block_first": f"{step.block[1]:,}",
        "block_last": f"{step.block[2]:,}",
        "nibble": f"{step.code:04b}",
        "code": f"{step.code}",
        "byte": f"{step.byte >> 4:04b} {step.byte & 15:04b}",
        "byte_hex": f"0x{step.byte:02X}",
        "other": f"{step.other}",
        "decoded": _short(step.decoded),
        "difference": _short(step.decoded - step.value),
        "below": _edge(step.edges[0]),
        "above": _edge(step.edges[1]),
        "at": f"{step.scaled:.5f}",
        "at_level": f"{step.level:.5f}",
    }
    if len(shape) == 2:
        row, column = divmod(step.number - 1, shape[1])
        names["place"] = text.PLACE_IN_MATRIX.format(row=row + 1, column=column + 1)
    else:
        names["place"] = text.PLACE_IN_LIST.format(number=step.number)
    if step.absmax_code is None:
        names["absmax_stored"] = text.ABSMAX_PLAIN.format(number=step.largest)
    else:
        names["absmax_stored"] = text.ABSMAX_DOUBLE.format(
            number=step.largest, code=step.absmax_code, back=names["absmax_back"]
        )
    told = text.BYTE_ALONE if step.other is None else (text.BYTE_FIRST, text.BYTE_SECOND)[(step.number - 1) % 2]
    names["byte_told"] = told.format(**names)
    told = {f"{field}_told": sentence.format(**names) for field, (_, sentence) in text.STEPS.items()}
    error = 100 * abs(step.decoded - step.value) / step.absmax if step.absmax else 0.0
    names["conclusion"] = text.CONCLUSION.format(
        others=f"{others:,}" if others else text.ALONE,
        error=f"{error:.2f}",
        **{k: names[k] for k in ("value", "decoded")},
    )
    names["cell"] = text.CELL.format(number=f"{step.number:,}", value=names["value"])
    return names | told


def _placed(line: str, record: dict[str, str], pixels: float) -> str:
    """The line with its marks, which are drawn at 0, moved to the weight and its level, as the browser does it."""
    for part, at in (("value", "at"), ("level", "at_level")):
        moved = f'data-part="{part}" transform="translate({float(record[at]) * pixels:.3f} 0)"'
        line = line.replace(f'data-part="{part}"', moved, 1)
    return line


@functools.lru_cache(maxsize=8)
def _line(data_type: str, narrow: bool) -> str:
    """The axis of a data type, with both marks at 0. It stands on a page once, so its ids may be kept with it."""
    from app.charts.quantize_line import line_figure
    from qlora.quantization.codebook import codebook, decision_thresholds

    thresholds, order = decision_thresholds(data_type)
    levels = codebook(data_type)[order.long()].tolist()
    rows = [
        (code, f"{code:04b}", level, edge)
        for code, level, edge in zip(order.tolist(), levels, [None, *thresholds.tolist()], strict=True)
    ]
    name = labels.DATA_TYPES[data_type]
    return chart(
        functools.partial(
            line_figure,
            levels=levels,
            thresholds=thresholds.tolist(),
            data_type=data_type,
            value=0.0,
            level=0.0,
        ),
        narrow=narrow,
        title=text.LINE_TITLE,
        description=text.LINE_DESCRIPTION.format(data_type=name),
        data=Data(text.LINE_COLUMNS, rows, ("{}", "{}", "{:.7f}", "{:.7f}"), text.LINE_CAPTION.format(data_type=name)),
    )


def _short(value: float) -> str:
    """Four significant digits, with a true minus sign."""
    return f"{value:.4g}".replace("-", "−")


def _fixed(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


def _edge(value: float | None) -> str:
    return text.NO_EDGE if value is None else _fixed(value)
