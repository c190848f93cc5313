"""Two panels of the Quantize tab: how NormalFloat's levels arise, and what double quantization saves."""

import functools
import itertools
from html import escape

from app.charts import markup
from app.charts.frame import Data
from app.charts.svg import chart
from app.tabs import quantize_measures
from app.tabs.quantize_sources import Chosen
from app.text import common
from app.text import quantize_story as text

_WEIGHTS_OF_THE_LARGEST = 65e9


@functools.lru_cache(maxsize=2 * 7 * 4)
def draw_step(bits: int, step: int, narrow: bool) -> str:
    """One step of the construction, from 1 to 4, for 2 to 8 bits."""
    from app.charts.quantize_construction import construction, outer_share, step_figure

    steps = construction(bits)
    shown = (steps.even, steps.edges, steps.quantiles, steps.levels)[step - 1]
    names = {
        "bits": bits,
        "count": steps.count,
        "positive": steps.count // 2,
        "negative": steps.count // 2 - 1,
        "outer": 100 * outer_share(),
        "share": 100 / steps.count,
        "top": steps.top,
        "first": 2 * (steps.count - 1),
        "second": 2 * steps.count,
        "largest": steps.quantiles[-1],
        "agreement": _agreement(bits, steps.levels) if step == 4 else "",
        "values": ", ".join(f"{value:.3g}" for value in shown).replace("-", "−"),
    }
    title = text.STEP_TITLES[step - 1].format(**names)
    return (
        f'<h4 class="sub-title">{escape(title)} {markup.origin(common.COMPUTED)}</h4>'
        + markup.conclusion(text.STEP_SENTENCES[step - 1].format(**names))
        + chart(
            functools.partial(step_figure, step=step, bits=bits),
            narrow=narrow,
            title=f"NF{bits}: {title}",
            description=text.STEP_DESCRIPTIONS[step - 1].format(**names),
            data=_step_data(bits, step),
        )
    )


def _agreement(bits: int, levels: tuple[float, ...]) -> str:
    if bits != 4:
        return text.AGREES_OTHER.format(bits=bits, count=len(levels))
    from qlora.quantization.codebook import NF4_LEVELS

    difference = max(abs(ours - printed) for ours, printed in zip(levels, NF4_LEVELS, strict=True))
    return text.AGREES.format(difference=difference).replace("e-0", "e−")


def _step_data(bits: int, step: int) -> Data:
    from app.charts.quantize_construction import construction, nearest_shares, probability

    steps = construction(bits)
    if step == 1:
        shares = nearest_shares(steps.even)
        rows = [(i + 1, place, 100 * share) for i, (place, share) in enumerate(zip(steps.even, shares, strict=True))]
        formats = ("{}", "{:.3f}", "{:.2f} %")
    elif step == 2:
        edges = (float("-inf"), *steps.edges, float("inf"))
        rows = [
            (i + 1, low, high, 100 * (probability(high) - probability(low)))
            for i, (low, high) in enumerate(itertools.pairwise(edges))
        ]
        formats = ("{}", "{:.3f}", "{:.3f}", "{:.3g} %")
    elif step == 3:
        rows = [(code, probability(quantile), quantile) for code, quantile in enumerate(steps.quantiles)]
        formats = ("{}", "{:.4f}", "{:.4f}")
    else:
        rows = [(code, *pair) for code, pair in enumerate(zip(steps.quantiles, steps.levels, strict=True))]
        formats = ("{}", "{:.4f}", "{:.7f}")
    caption = text.STEP_CAPTIONS[step - 1].format(bits=bits, count=steps.count)
    return Data(text.STEP_COLUMNS[step - 1], rows, formats, caption)


@functools.lru_cache(maxsize=2 * 8 * 3)
def draw_double(block_size: int, shown: int, narrow: bool) -> str:
    """What the scales cost; ``shown`` is how many of the three rows have their bars."""
    from app.charts.quantize_bits import scale_bits, scales_figure

    bits = scale_bits(block_size)
    rows = [
        (label, formula.format(block=block_size), value, 4 + value)
        for label, formula, value in zip(text.DOUBLE_ROWS, text.DOUBLE_FORMULAS, bits, strict=True)
    ]
    saved = bits[0] - bits[2]
    conclusion = text.DOUBLE_CONCLUSION.format(
        block_size=f"{block_size:,}",
        before=bits[0],
        after=bits[2],
        saved=saved,
        gigabytes=saved * _WEIGHTS_OF_THE_LARGEST / 8 / 1e9,
    )
    sentence = text.DOUBLE_SENTENCES[shown - 1].format(
        block=block_size, bits=bits[shown - 1], shared=256 * block_size, last=bits[2] - bits[1]
    )
    told = "; ".join(f"{label}: {value:.5f}" for label, _, value, _ in rows[:shown])
    return (
        markup.panel_title(text.DOUBLE_TITLE, kind=common.COMPUTED, ask=text.DOUBLE_QUESTION)
        + markup.conclusion(conclusion)
        + chart(
            functools.partial(scales_figure, block_size=block_size, shown=shown),
            narrow=narrow,
            title=text.DOUBLE_TITLE,
            description=text.DOUBLE_DESCRIPTION.format(block=block_size, rows=told),
            data=Data(
                text.DOUBLE_COLUMNS,
                rows[:shown],
                ("{}", "{}", "{:.5f}", "{:.5f}"),
                text.DOUBLE_CAPTION.format(block=block_size),
            ),
        )
        + f'<p class="quantize-sentence">{escape(sentence)}</p>'
    )


def double_measured(chosen: Chosen, data_type: str, block_size: int) -> str:
    """What 8-bit scales change on the chosen weights.

    Raises:
        InputError: as `quantize_sources.weights`.
    """
    with_it, without = (quantize_measures.quantized(chosen, data_type, block_size, on) for on in (True, False))
    sentence = text.DOUBLE_MEASURED.format(
        layer=chosen.where(),
        with_it=with_it.relative_errors["mean_absolute"],
        without=without.relative_errors["mean_absolute"],
        stored=with_it.bits_per_parameter,
        plain=without.bits_per_parameter,
    )
    return markup.note(sentence)
