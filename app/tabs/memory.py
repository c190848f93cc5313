"""The Memory tab: the paper's Figure 6 from a formula, and an estimate for any model and setting."""

import functools
import json
from dataclasses import replace
from pathlib import Path

import gradio as gr

from app.charts import markup
from app.charts.frame import Data
from app.charts.svg import chart
from app.tabs import address, memory_figure6, memory_panels, viewport
from app.text import common
from app.text import memory as text
from qlora import hub
from qlora.errors import InputError
from qlora.memory.estimate import METHODS, EstimateOptions, MemoryEstimate, estimate
from qlora.memory.model_config import shape_of
from qlora.memory.shapes import LLAMA, SMOLLM2_135M, LlamaShape, Shape

TAB_ID = "memory"
TITLE = text.TITLE
SHAPES = {shape.name: shape for shape in (SMOLLM2_135M, *LLAMA.values())}
_FIRST = LLAMA["7B"]
_LARGEST_CONFIG = 2 * 2**20

_FIELDS = {
    name: [*(getattr(shape, field) for field in text.SHAPE_FIELDS), shape.tied_embeddings]
    for name, shape in SHAPES.items()
}
# A preset's numbers; own numbers stay as they are.
_FILL_IN_SHAPE = f"(model, ...own) => ({json.dumps(_FIELDS)})[model] ?? own"


def build(blocks: gr.Blocks) -> None:
    """Figure 6 first, then the visitor's own numbers with controls at the side; both are drawn after first paint."""
    gr.HTML(f"<h2>{text.HEADING}</h2><p class='lead'>{text.LEAD}</p>")
    figure = gr.HTML(markup.note(text.WAITING), elem_id="memory-figure6")
    gr.HTML(f"<h2>{text.OWN_TITLE}</h2><p class='lead'>{text.OWN_LEAD}</p>")
    with gr.Row():
        with gr.Column(scale=1, min_width=280, elem_id="memory-controls"):
            model = gr.Dropdown([*SHAPES, text.OWN_MODEL], value=_FIRST.name, label=text.MODEL, filterable=False)
            method = gr.Radio([(name, key) for key, name in text.METHODS.items()], value="qlora", label=text.METHOD)
            rank = gr.Slider(1, 256, value=64, step=1, label=text.RANK, elem_id="memory-rank")
            batch = gr.Slider(1, 64, value=1, step=1, label=text.BATCH)
            sequence = gr.Slider(64, 8192, value=512, step=64, label=text.SEQUENCE)
            optimizer = gr.Dropdown(
                [(name, key) for key, name in text.OPTIMIZERS.items()],
                value="paged-adamw-32bit",
                label=text.OPTIMIZER,
                filterable=False,
            )
            checkpointing = gr.Checkbox(True, label=text.CHECKPOINTING)
            double_quantization = gr.Checkbox(True, label=text.DOUBLE_QUANTIZATION)
            with gr.Accordion(text.SHAPE_FOLD, open=False):
                sizes = [gr.Number(getattr(_FIRST, field), label=label) for field, label in text.SHAPE_FIELDS.items()]
                tied = gr.Checkbox(_FIRST.tied_embeddings, label=text.TIED)
            with gr.Accordion(text.READ_FOLD, open=False, elem_id="memory-read"):
                name = gr.Textbox(label=text.READ_NAME, info=text.READ_NAME_INFO, max_lines=1)
                read = gr.Button(text.READ, size="sm")
                config = gr.File(label=text.READ_FILE, file_types=[".json"], height=120)
                unread = gr.HTML(elem_classes="finetune-place")
            known = gr.State(None)
        with gr.Column(scale=3, min_width=320):
            own = gr.HTML(elem_id="memory-own")
            comparison = gr.HTML(elem_id="memory-comparison")
            saved = gr.HTML(elem_id="memory-savings")
    measured = gr.HTML(elem_id="memory-measured")
    narrow, width_changed = viewport.watch(blocks, TAB_ID)
    settings = [
        model,
        *sizes,
        tied,
        method,
        rank,
        batch,
        sequence,
        optimizer,
        checkpointing,
        double_quantization,
        known,
        narrow,
    ]
    panels = [own, comparison, saved]
    quiet = viewport.QUIET | {"queue": False, "trigger_mode": "always_last"}
    changed = viewport.occasion(blocks, "memory-changed")
    redraw = {"js": viewport.arise(changed), **quiet}
    free = (method, rank, batch, sequence, optimizer, checkpointing, double_quantization)
    gr.on(
        [control.input for control in free] + [changed.click, width_changed.click],
        draw_own,
        settings,
        panels,
        js=viewport.FILL_IN,
        **quiet,
    )
    shape = [*sizes, tied]
    own_model = f"() => {json.dumps(text.OWN_MODEL)}"
    gr.on([control.input for control in shape], None, None, model, js=own_model, **quiet).then(None, **redraw)
    fill_in = {"fn": None, "inputs": [model, *shape], "outputs": shape, "js": _FILL_IN_SHAPE, **quiet}
    model.input(**fill_in).then(None, **redraw)
    found = [known, model, unread]
    for trigger, reading, source in (
        (read.click, read_name, name),
        (name.submit, read_name, name),
        (config.upload, read_config, config),
    ):
        asked = trigger(reading, source, found, show_progress="hidden", api_visibility="private")
        asked.then(None, **redraw)
    for drawn, place in ((memory_figure6.panel, figure), (memory_panels.measured_panel, measured)):
        gr.on([blocks.load, width_changed.click], drawn, narrow, place, js=viewport.FILL_IN, **quiet)
    named = {"model": model, "method": method, "rank": rank, "batch": batch, "tokens": sequence}
    named |= {"optimizer": optimizer, "checkpointing": checkpointing, "nested": double_quantization, "tied": tied}
    restored = address.keep(blocks, named | dict(zip(text.SHAPE_FIELDS, sizes, strict=True)))
    restored.then(**fill_in).then(None, **redraw)


def read_name(name: str | None) -> tuple:
    """The shape of a model on the hub, whose configuration is fetched now, for the list of models.

    Returns:
        the shape, the list with it, and what is wrong where it cannot be read.
    """
    name = (name or "").strip()
    try:
        # A name only: a path would let a visitor look at the server's files.
        if not hub.is_name(name):
            raise InputError(text.READ_NOTHING)
        return _offered(shape_of(name))
    except InputError as problem:
        return gr.skip(), gr.skip(), markup.problem(str(problem))


def read_config(path: str) -> tuple:
    """The same for an uploaded config.json."""
    try:
        if Path(path).stat().st_size > _LARGEST_CONFIG:
            raise InputError(text.READ_TOO_LARGE.format(limit=_LARGEST_CONFIG // 2**20))
        return _offered(replace(shape_of(path), name=text.READ_OWN))
    except InputError as problem:
        return gr.skip(), gr.skip(), markup.problem(str(problem).replace(path, Path(path).name))


def _offered(shape: Shape) -> tuple:
    return shape, gr.update(choices=[*SHAPES, shape.name, text.OWN_MODEL], value=shape.name), ""


def draw_own(
    model: str,
    hidden_size: float | None,
    layers: float | None,
    heads: float | None,
    key_value_heads: float | None,
    intermediate_size: float | None,
    vocabulary_size: float | None,
    tied: bool,
    method: str,
    rank: float | None,
    batch: float | None,
    sequence: float | None,
    optimizer: str,
    checkpointing: bool,
    double_quantization: bool,
    known: Shape | None,
    narrow: bool,
) -> tuple[str, str, str]:
    """Panels for one setting; what is not a number or out of range stands in their place as a sentence."""
    numbers = (hidden_size, layers, heads, key_value_heads, intermediate_size, vocabulary_size)
    try:
        if known is not None and model == known.name:
            shape = known
        else:
            sizes = {
                field: _whole(value, label)
                for (field, label), value in zip(text.SHAPE_FIELDS.items(), numbers, strict=True)
            }
            name = text.OWN_MODEL_IN_A_SENTENCE if model == text.OWN_MODEL else model
            shape = LlamaShape(name=name, tied_embeddings=bool(tied), **sizes)
        options = EstimateOptions(
            method=method,
            r=_whole(rank, text.RANK),
            batch_size=_whole(batch, text.BATCH),
            sequence_length=_whole(sequence, text.SEQUENCE),
            optimizer=optimizer,
            checkpointed_layers=None if checkpointing else 0,
            double_quantization=bool(double_quantization),
        )
        by_method = {name: estimate(shape, replace(options, method=name)) for name in METHODS}
    except InputError as problem:
        return markup.problem(str(problem)), "", ""
    result = by_method[method]
    return (
        _own_panel(shape, options, result, bool(narrow)),
        memory_panels.comparison(shape, options, by_method, bool(narrow)),
        memory_panels.savings_panel(shape, options, result, bool(narrow)),
    )


def _whole(value: float | None, label: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer():
        shown = text.EMPTY if value is None else value
        raise InputError(text.NOT_A_NUMBER.format(label=label, value=shown))
    return int(value)


def _own_panel(shape: Shape, options: EstimateOptions, result: MemoryEstimate, narrow: bool) -> str:
    from app.charts.memory import gib_text, smallest_card, stacked_figure

    peak = result.peak_bytes / 2**30
    card = smallest_card(peak)
    paged = ""
    if result.pageable_bytes:
        paged = text.PAGED.format(resident=gib_text(result.peak_bytes_paged_out / 2**30))
    conclusion = text.OWN_CONCLUSION.format(
        shape=shape.name,
        method=text.METHOD_NAMES[options.method],
        peak=gib_text(peak),
        moment=text.PEAK[result.peak_moment],
        card=text.FITS.format(size=card) if card else text.FITS_NONE,
        paged=paged,
    )
    described = "; ".join(
        f"{text.MOMENTS[moment]} {gib_text(sum(parts.values()) / 2**30)}" for moment, parts in result.moments.items()
    )
    share = 100 * result.trainable_parameters / shape.parameters
    note = text.OWN_NOTE.format(
        trainable=result.trainable_parameters,
        parameters=shape.parameters,
        share=f"{share:.0f}" if share >= 10 else f"{share:.2g}",
    )
    return (
        markup.panel_title(text.STEP_TITLE, kind=common.COMPUTED, ask=text.STEP_QUESTION)
        + markup.conclusion(conclusion)
        + chart(
            functools.partial(stacked_figure, rows=result.moments, names=text.MOMENTS),
            narrow=narrow,
            title=text.STEP_TITLE,
            description=text.OWN_DESCRIPTION.format(shape=shape.name, moments=described),
            parts=memory_panels.part_words(result.moments, {}, options),
            data=_components(shape, options.method, result),
        )
        + markup.note(note)
    )


def _components(shape: Shape, method: str, result: MemoryEstimate) -> Data:
    peak = result.moments[result.peak_moment]
    rows = [
        (
            label,
            result.components[name],
            result.components[name] / 2**20,
            100 * peak[name] / result.peak_bytes if name in peak else text.NOT_AT_PEAK,
        )
        for name, label in text.COMPONENTS.items()
    ]
    caption = text.TABLE_OWN_CAPTION.format(
        shape=shape.name, method=text.METHOD_NAMES[method], moment=text.MOMENTS[result.peak_moment].lower()
    )
    formats = ("{}", "{:,}", "{:,.1f}", "{:.1f} %")
    return Data(text.TABLE_OWN, rows, formats, caption, summary=text.TABLE_OWN_LABEL)
