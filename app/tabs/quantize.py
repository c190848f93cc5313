"""The Quantize tab: a real layer, its sixteen levels, and what four bits lose."""

import functools

import gradio as gr

from app.charts import markup
from app.charts.svg import chart
from app.charts.table import table
from app.tabs import quantize_weights, viewport
from app.tabs.quantize_weights import Histogram, Quantized
from app.text import common
from app.text import quantize as text
from qlora.errors import InputError

TAB_ID = "quantize"
TITLE = text.TITLE
BLOCK_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
_FIRST_MATRIX = "feed-forward: up"
_FIRST_LAYERS = 30


def build(blocks: gr.Blocks) -> None:
    """Controls at the side, three panels beside them; the first layer is read after the page has been painted."""
    gr.HTML(f"<h2>{text.HEADING}</h2><p class='lead'>{text.LEAD}</p>")
    with gr.Row():
        with gr.Column(scale=1, min_width=280, elem_id="quantize-controls"):
            model = gr.Radio(list(quantize_weights.MODELS), value=text.LANGUAGE_MODEL, label=text.MODEL)
            layer = gr.Slider(1, _FIRST_LAYERS, value=1, step=1, label=text.LAYER, elem_id="quantize-layer")
            matrix = gr.Dropdown(list(text.MATRICES), value=_FIRST_MATRIX, label=text.MATRIX, filterable=False)
            data_type = gr.Radio(
                [(name, key) for key, name in text.DATA_TYPES.items()], value="nf4", label=text.DATA_TYPE
            )
            block_size = gr.Radio(
                [(f"{size:,}", size) for size in BLOCK_SIZES],
                value=64,
                label=text.BLOCK_SIZE,
                info=text.BLOCK_SIZE_INFO,
                elem_id="quantize-block-size",
            )
            double_quantization = gr.Checkbox(True, label=text.DOUBLE_QUANTIZATION)
            about_model = gr.HTML()
        with gr.Column(scale=3, min_width=320):
            levels = gr.HTML(markup.note(text.WAITING), elem_id="quantize-levels")
            with gr.Accordion(text.TABLE_LEVEL_LABEL, open=False, visible=False) as level_fold:
                level_table = gr.HTML()
            errors = gr.HTML(elem_id="quantize-errors")
            with gr.Accordion(text.TABLE_ERROR_LABEL, open=False, visible=False) as error_fold:
                error_table = gr.HTML()
    narrow, width_changed = viewport.watch(blocks, TAB_ID)
    choices = [model, layer, matrix, data_type, block_size, double_quantization, narrow]
    level_panels, error_panels = [about_model, levels, level_fold, level_table], [errors, error_fold, error_table]
    quiet = {"queue": False, "show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
    # Two listeners to each event, so that both cores work and the first panel does not wait for the other data types.
    for draw, panels in ((draw_levels, level_panels), (draw_errors, error_panels)):
        redraw = {"fn": draw, "inputs": choices, "outputs": panels, "js": viewport.FILL_IN, **quiet}
        gr.on([control.input for control in choices[1:-1]] + [width_changed.click], **redraw)
        blocks.load(**redraw)
    offered = model.input(offer_layers, [model, matrix], [layer, matrix], **quiet)
    offered.then(draw_levels, choices, level_panels, js=viewport.FILL_IN, **quiet)
    offered.then(draw_errors, choices, error_panels, js=viewport.FILL_IN, **quiet)


def offer_layers(model: str, matrix: str) -> tuple[dict, dict]:
    """Fit layer and matrix to what the model has; on a broken file leave them, `draw` says what is wrong."""
    try:
        known = quantize_weights.matrices(model)
    except InputError:
        return gr.skip(), gr.skip()
    names = [name for name in text.MATRICES if (1, name) in known]
    last = max(number for number, _ in known)
    return (
        gr.update(maximum=last, value=1),
        gr.update(choices=names, value=matrix if matrix in names else _FIRST_MATRIX),
    )


def draw_levels(
    model: str, layer: int, matrix: str, data_type: str, block_size: int, double_quantization: bool, narrow: bool
) -> tuple[str, str, dict, str]:
    """What the chosen data type does to the matrix; a problem stands where the first panel would."""
    layer, block_size = int(layer), int(block_size)
    try:
        where = _where(model, layer, matrix)
        histogram = quantize_weights.histogram(model, layer, matrix, block_size)
        stored = quantize_weights.quantized(model, layer, matrix, data_type, block_size, double_quantization)
    except ValueError as problem:
        return "", markup.problem(str(problem)), gr.update(visible=False), ""
    return (
        markup.note(text.MODEL_NOTES[model].format(distinct=histogram.distinct_in_run)),
        _levels_panel(where, block_size, data_type, histogram, stored, narrow)
        + _counts_panel(where, data_type, stored, narrow),
        gr.update(visible=True),
        _level_table(where, block_size, data_type, stored),
    )


def draw_errors(
    model: str, layer: int, matrix: str, data_type: str, block_size: int, double_quantization: bool, narrow: bool
) -> tuple[str, dict, str]:
    """All four data types side by side; nothing where `draw_levels` shows the problem."""
    layer, block_size = int(layer), int(block_size)
    # The chosen one last: `draw_levels` measures it meanwhile, and figures are kept.
    order = sorted(text.DATA_TYPES, key=lambda name: name == data_type)
    try:
        where = _where(model, layer, matrix)
        measured = {
            name: quantize_weights.quantized(model, layer, matrix, name, block_size, double_quantization)
            for name in order
        }
    except ValueError:
        return "", gr.update(visible=False), ""
    stored = {name: measured[name] for name in text.DATA_TYPES}
    return (
        _error_panel(where, data_type, stored, narrow) + _storage_panel(stored[data_type]),
        gr.update(visible=True),
        _error_table(where, block_size, data_type, stored),
    )


def _where(model: str, layer: int, matrix: str) -> str:
    rows, columns = quantize_weights.matrix(model, layer, matrix).shape
    return f"{model}, " + text.WHERE.format(layer=layer, matrix=matrix, rows=rows, columns=columns)


def _levels_panel(
    where: str, block_size: int, data_type: str, histogram: Histogram, stored: Quantized, narrow: bool
) -> str:
    from app.charts.quantize import level_name, levels_figure

    inside = int((abs(stored.levels) <= histogram.half).sum())
    names = {"data_type": text.DATA_TYPES[data_type], "layer": where, "block_size": f"{block_size:,}"}
    described = text.LEVELS_DESCRIPTION.format(
        count=stored.count, levels=", ".join(map(level_name, stored.levels)), **names
    )
    draw_chart = functools.partial(
        levels_figure,
        edges=histogram.edges,
        density=histogram.density,
        levels=stored.levels,
        thresholds=stored.thresholds,
        data_type=data_type,
    )
    return (
        markup.panel_title(text.LEVELS_TITLE, kind=common.MEASURED)
        + markup.conclusion(text.LEVELS_CONCLUSION.format(half=histogram.half, inside=inside, **names))
        + chart(draw_chart, narrow=narrow, title=text.LEVELS_TITLE, description=described)
    )


def _counts_panel(where: str, data_type: str, stored: Quantized, narrow: bool) -> str:
    from app.charts.quantize import counts_figure, level_name

    fullest = sorted(stored.shares, reverse=True)
    unused, two_zeros = int((stored.counts == 0).sum()), int((stored.levels == 0).sum()) == 2
    name = text.DATA_TYPES[data_type]
    sentence = text.COUNTS_CONCLUSION.format(
        data_type=name,
        largest=100 * fullest[0],
        four=100 * sum(fullest[:4]),
        remark=text.COUNTS_UNUSED[min(unused, 2)].format(count=unused) + (text.COUNTS_TWO_ZEROS if two_zeros else ""),
    )
    shares = ", ".join(
        f"{level_name(level)}: {100 * share:.1f} %" for level, share in zip(stored.levels, stored.shares, strict=True)
    )
    draw_chart = functools.partial(counts_figure, levels=stored.levels, shares=stored.shares, data_type=data_type)
    return (
        markup.panel_title(text.COUNTS_TITLE, kind=common.MEASURED)
        + markup.conclusion(sentence)
        + chart(
            draw_chart,
            narrow=narrow,
            title=text.COUNTS_TITLE,
            description=text.COUNTS_DESCRIPTION.format(layer=where, data_type=name, shares=shares),
        )
    )


def _error_panel(where: str, data_type: str, stored: dict[str, Quantized], narrow: bool) -> str:
    from app.charts.quantize import error_figure

    relative = {
        name: {measure: 100 * error / one.typical_weight for measure, error in one.errors.items()}
        for name, one in stored.items()
    }
    best, second, *_, worst = sorted(stored, key=lambda name: stored[name].errors["mean_absolute"])
    least = stored[best].errors["mean_absolute"]
    gain, most = (100 * (1 - least / stored[name].errors["mean_absolute"]) for name in (second, worst))
    names = {"best": text.DATA_TYPES[best], "second": text.DATA_TYPES[second], "worst": text.DATA_TYPES[worst]}
    described = "; ".join(
        f"{text.DATA_TYPES[name]}: "
        + ", ".join(f"{title.lower()} {errors[measure]:.3g}" for measure, title in text.ERROR_METRICS.items())
        for name, errors in relative.items()
    )
    return (
        markup.panel_title(text.ERROR_TITLE, kind=common.MEASURED)
        + markup.conclusion(text.ERROR_CONCLUSION.format(gain=gain, most=most, **names))
        + markup.note(text.ERROR_UNIT)
        + chart(
            functools.partial(error_figure, errors=relative, chosen=data_type),
            narrow=narrow,
            title=text.ERROR_TITLE,
            description=text.ERROR_DESCRIPTION.format(layer=where, errors=described),
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


def _level_table(where: str, block_size: int, data_type: str, stored: Quantized) -> str:
    rows = [
        (f"{level:.7g}".replace("-", "−"), f"{count:,}", f"{100 * share:.2f} %")
        for level, count, share in zip(stored.levels, stored.counts, stored.shares, strict=True)
    ]
    caption = text.TABLE_LEVEL_CAPTION.format(
        data_type=text.DATA_TYPES[data_type], layer=where, block_size=f"{block_size:,}"
    )
    return table(text.TABLE_LEVEL, rows, caption=caption)


def _error_table(where: str, block_size: int, data_type: str, stored: dict[str, Quantized]) -> str:
    rows = [
        (
            text.DATA_TYPES[name],
            *(f"{one.errors[measure]:.3e}".replace("-", "−") for measure in text.ERROR_METRICS),
            f"{one.bits_per_parameter:.3f}",
        )
        for name, one in stored.items()
    ]
    caption = text.TABLE_ERROR_CAPTION.format(layer=where, block_size=f"{block_size:,}")
    return table(text.TABLE_ERROR, rows, caption=caption, chosen=text.DATA_TYPES[data_type])
