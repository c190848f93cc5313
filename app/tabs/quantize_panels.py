"""The Quantize tab's panels about all chosen weights: where levels sit, how many weights each gets, what is lost."""

import functools

from app.charts import markup
from app.charts.frame import Data
from app.charts.svg import chart
from app.tabs import quantize_measures
from app.tabs.kept import kept
from app.tabs.quantize_measures import Histogram, Quantized
from app.tabs.quantize_sources import Chosen
from app.text import common
from app.text import quantize as text


@kept(64)
def level_panels(chosen: Chosen, data_type: str, block_size: int, double_quantization: bool, narrow: bool) -> str:
    """The histogram under the levels, and how many weights each level gets.

    Raises:
        InputError: the chosen weights cannot be read or scaled.
        ValueError: an argument is not one that `qlora.quantize` takes.
    """
    histogram = quantize_measures.histogram(chosen, block_size)
    stored = quantize_measures.quantized(chosen, data_type, block_size, double_quantization)
    names = {"data_type": text.DATA_TYPES[data_type], "layer": chosen.where(), "block_size": f"{block_size:,}"}
    return _levels_panel(names, data_type, histogram, stored, narrow) + _counts_panel(names, data_type, stored, narrow)


@kept(64)
def error_panels(chosen: Chosen, data_type: str, block_size: int, double_quantization: bool, narrow: bool) -> str:
    """All four data types on the same axis, their errors, and what the chosen one takes to store.

    Raises:
        InputError, ValueError: as `level_panels`.
    """
    # The chosen one last: `level_panels` measures it meanwhile, and figures are kept.
    order = sorted(text.DATA_TYPES, key=lambda name: name == data_type)
    measured = {name: quantize_measures.quantized(chosen, name, block_size, double_quantization) for name in order}
    stored = {name: measured[name] for name in text.DATA_TYPES}
    histogram = quantize_measures.histogram(chosen, block_size)
    names = {"layer": chosen.where(), "block_size": f"{block_size:,}"}
    return (
        _types_panel(names, data_type, histogram, stored, narrow)
        + _error_panel(names, data_type, stored, narrow)
        + _storage_panel(stored[data_type])
    )


def _levels_panel(names: dict, data_type: str, histogram: Histogram, stored: Quantized, narrow: bool) -> str:
    from app.charts.quantize import level_name, levels_figure

    inside = stored.levels_within(histogram.half)
    described = text.LEVELS_DESCRIPTION.format(
        count=stored.count, levels=", ".join(map(level_name, stored.levels)), **names
    )
    draw = functools.partial(
        levels_figure,
        edges=histogram.edges,
        density=histogram.density,
        levels=stored.levels,
        thresholds=stored.thresholds,
        data_type=data_type,
    )
    edges = histogram.edges.tolist()
    rows = list(zip(edges[:-1], edges[1:], histogram.density.tolist(), strict=True))
    data = Data(
        text.TABLE_HISTOGRAM,
        rows,
        ("{:.2f}", "{:.2f}", "{:.4f}"),
        text.TABLE_HISTOGRAM_CAPTION.format(**names),
    )
    return (
        markup.panel_title(text.LEVELS_TITLE, kind=common.MEASURED, ask=text.LEVELS_QUESTION)
        + markup.conclusion(text.LEVELS_CONCLUSION.format(half=histogram.half, inside=inside, **names))
        + chart(draw, narrow=narrow, title=text.LEVELS_TITLE, description=described, data=data)
    )


def _counts_panel(names: dict, data_type: str, stored: Quantized, narrow: bool) -> str:
    from app.charts.quantize import counts_figure, level_name

    fullest = sorted(stored.shares, reverse=True)
    unused, two_zeros = int((stored.counts == 0).sum()), int((stored.levels == 0).sum()) == 2
    sentence = text.COUNTS_CONCLUSION.format(
        data_type=names["data_type"],
        largest=100 * fullest[0],
        four=100 * sum(fullest[:4]),
        remark=text.COUNTS_UNUSED[min(unused, 2)].format(count=unused) + (text.COUNTS_TWO_ZEROS if two_zeros else ""),
    )
    levels, counts, shares = stored.levels.tolist(), stored.counts.tolist(), stored.shares.tolist()
    told = ", ".join(f"{level_name(level)}: {100 * share:.1f} %" for level, share in zip(levels, shares, strict=True))
    rows = [(level, count, 100 * share) for level, count, share in zip(levels, counts, shares, strict=True)]
    return (
        markup.panel_title(text.COUNTS_TITLE, kind=common.MEASURED)
        + markup.conclusion(sentence)
        + chart(
            functools.partial(counts_figure, levels=levels, shares=shares, data_type=data_type),
            narrow=narrow,
            title=text.COUNTS_TITLE,
            description=text.COUNTS_DESCRIPTION.format(shares=told, **names),
            data=Data(
                text.TABLE_LEVEL,
                rows,
                ("{:.7g}", "{:,}", "{:.2f} %"),
                text.TABLE_LEVEL_CAPTION.format(**names),
                summary=text.TABLE_LEVEL_LABEL,
            ),
        )
    )


def _types_panel(names: dict, data_type: str, histogram: Histogram, stored: dict[str, Quantized], narrow: bool) -> str:
    from app.charts.quantize_types import types_figure

    inside = {name: one.levels_within(histogram.half) for name, one in stored.items()}
    errors = {name: one.relative_errors["mean_absolute"] for name, one in stored.items()}
    rows = [(text.DATA_TYPES[name], *one.levels.tolist(), errors[name]) for name, one in stored.items()]
    sentence = text.TYPES_CONCLUSION.format(
        half=histogram.half, inside=", ".join(f"{text.DATA_TYPES[name]} {count}" for name, count in inside.items())
    )
    told = "; ".join(f"{text.DATA_TYPES[name]} {error:.2f} %" for name, error in errors.items())
    return (
        markup.panel_title(text.TYPES_TITLE, kind=common.MEASURED, ask=text.TYPES_QUESTION)
        + markup.conclusion(sentence)
        + chart(
            functools.partial(
                types_figure,
                density=histogram.density,
                levels={name: one.levels for name, one in stored.items()},
                errors=errors,
                chosen=data_type,
            ),
            narrow=narrow,
            title=text.TYPES_TITLE,
            description=text.TYPES_DESCRIPTION.format(errors=told, **names),
            data=Data(
                text.TABLE_TYPES,
                rows,
                ("{}", *["{:.4f}"] * 16, "{:.3f} %"),
                text.TABLE_TYPES_CAPTION.format(**names),
                chosen=text.DATA_TYPES[data_type],
            ),
        )
    )


def _error_panel(names: dict, data_type: str, stored: dict[str, Quantized], narrow: bool) -> str:
    from app.charts.quantize import error_figure

    relative = {name: one.relative_errors for name, one in stored.items()}
    best, second, *_, worst = sorted(stored, key=lambda name: stored[name].errors["mean_absolute"])
    least = stored[best].errors["mean_absolute"]
    # Typed numbers can be levels of several data types, and nothing is lost then.
    gain, most = (
        100 * (1 - least / lost) if (lost := stored[name].errors["mean_absolute"]) else 0.0 for name in (second, worst)
    )
    sentence = text.ERROR_CONCLUSION.format(
        best=text.DATA_TYPES[best], second=text.DATA_TYPES[second], worst=text.DATA_TYPES[worst], gain=gain, most=most
    )
    told = "; ".join(
        f"{text.DATA_TYPES[name]}: "
        + ", ".join(f"{title.lower()} {errors[measure]:.3g}" for measure, title in text.ERROR_METRICS.items())
        for name, errors in relative.items()
    )
    rows = [
        (text.DATA_TYPES[name], *(one.errors[measure] for measure in text.ERROR_METRICS), one.bits_per_parameter)
        for name, one in stored.items()
    ]
    return (
        markup.panel_title(text.ERROR_TITLE, kind=common.MEASURED, ask=text.ERROR_QUESTION)
        + markup.conclusion(sentence)
        + markup.note(text.ERROR_UNIT)
        + chart(
            functools.partial(error_figure, errors=relative, chosen=data_type),
            narrow=narrow,
            title=text.ERROR_TITLE,
            description=text.ERROR_DESCRIPTION.format(errors=told, **names),
            data=Data(
                text.TABLE_ERROR,
                rows,
                ("{}", "{:.3e}", "{:.3e}", "{:.3e}", "{:.3f}"),
                text.TABLE_ERROR_CAPTION.format(**names),
                chosen=text.DATA_TYPES[data_type],
                summary=text.TABLE_ERROR_LABEL,
            ),
        )
    )


def _storage_panel(stored: Quantized) -> str:
    sentence = text.STORAGE.format(
        bits=stored.bits_per_parameter,
        constants=stored.bits_per_parameter - 4,
        count=stored.count,
        stored=stored.nbytes / 1024,
        half=stored.count * 2 / 1024,
    )
    return markup.panel_title(text.STORAGE_TITLE, kind=common.MEASURED) + markup.conclusion(sentence)
