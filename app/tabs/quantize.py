"""The Quantize tab: how the levels arise, one weight's journey, an outlier, double quantization, and a whole matrix."""

import gradio as gr

from app.charts import markup
from app.tabs import address, quantize_outlier, quantize_redraw, quantize_sources, quantize_weights, viewport
from app.text import quantize as text
from app.text import quantize_journey as journey_text
from app.text import quantize_sources as source_text
from app.text import quantize_story as story_text
from qlora.config import BLOCK_SIZES

TAB_ID = "quantize"
TITLE = text.TITLE
_FIRST_LAYERS = 30
_FIRST_RUNS = 13_824  # of that matrix: 1536 · 576 / 64
_OUTLIER = (5.0, 417)  # size in largest weights, place
_QUIET = viewport.QUIET | {"queue": False, "trigger_mode": "always_last"}


def build(blocks: gr.Blocks) -> None:
    """The story from top to bottom; controls stay beside what they change. All is drawn after the page is painted."""
    gr.HTML(f"<h2>{text.HEADING}</h2><p class='lead'>{text.LEAD}</p>")
    narrow, width_changed = viewport.watch(blocks, TAB_ID)
    step, bits, construction = _build_construction(blocks, narrow, width_changed)
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=280, elem_id="quantize-controls"):
            source, setting, trouble, about = _controls()
        with gr.Column(scale=3, min_width=320, elem_id="quantize-panels"):
            journey = gr.HTML(markup.note(text.WAITING), elem_id="quantize-journey")
            run = gr.Slider(
                1, _FIRST_RUNS, value=1, step=1, label=journey_text.RUN, info=journey_text.RUN_INFO,
                elem_id="quantize-run",
            )  # fmt: skip
            outlier = gr.HTML(elem_id="quantize-outlier")
            with gr.Row():
                size = gr.Slider(
                    1, 8, value=_OUTLIER[0], step=0.1, label=journey_text.OUTLIER_SIZE,
                    info=journey_text.OUTLIER_SIZE_INFO, elem_id="quantize-outlier-size",
                )  # fmt: skip
                place = gr.Slider(
                    1, quantize_outlier.MOST_WEIGHTS, value=_OUTLIER[1], step=1, label=journey_text.OUTLIER_PLACE,
                    info=journey_text.OUTLIER_PLACE_INFO, elem_id="quantize-outlier-place",
                )  # fmt: skip
            double = gr.HTML(elem_id="quantize-double")
            double_step = gr.Radio(
                list(story_text.DOUBLE_STEPS), value=story_text.DOUBLE_STEPS[-1], label=story_text.DOUBLE_STEP,
                elem_id="quantize-double-step",
            )  # fmt: skip
            levels = gr.HTML(elem_id="quantize-levels")
            errors = gr.HTML(elem_id="quantize-errors")
    # Gradio refuses a value beyond its slider's end, so a slider whose end a listener moves is an input of that alone.
    drawn = (
        (quantize_redraw.draw_journey, [run], [journey, run]),
        (quantize_redraw.draw_levels, [], [levels, trouble, about]),
        (quantize_redraw.draw_outlier, [size, place], [outlier, place]),
        (quantize_redraw.draw_errors, [], [errors]),
        (quantize_redraw.draw_double, [double_step], [double]),
    )
    model, layer, matrix, upload, tensor, numbers = source
    fitted = [layer, matrix, upload, tensor, numbers]
    named = {"weights": model, "layer": layer, "matrix": matrix, "run": run, "outlier": size, "place": place}
    named |= dict(zip(("type", "block", "double"), setting, strict=True))
    restored = address.keep(blocks, named | {"scales": double_step, "step": step, "bits": bits})
    turns = []
    for draw, own, panels in drawn:
        turn = viewport.occasion(blocks, f"{panels[0].elem_id}-turn")
        turns.append(panels[0].elem_id)
        # The outlier's sliders are followed in the browser.
        moved = [control.input for control in own] if draw is not quantize_redraw.draw_outlier else []
        inputs = [*source, *setting, *own, narrow]
        gr.on([turn.click, *moved], draw, inputs, panels, js=viewport.FILL_IN, **_QUIET)
    take_turns = {"fn": None, "js": f"() => {{ quantizeTurns({turns}); return []; }}", **_QUIET}
    changes = [control.input for control in (model, layer, matrix, tensor, *setting)]
    changes += [numbers.change, width_changed.click]  # a text box has no input when text is pasted into it
    gr.on(changes, **take_turns)
    # A model is drawn at once; meanwhile its controls are fitted to it, as the drawing fits their values by itself.
    offer = {"fn": quantize_redraw.offer, "inputs": [model, layer, matrix, upload], "outputs": fitted, **_QUIET}
    model.input(**offer)
    gr.on([upload.upload, upload.clear], **offer).then(**take_turns)
    restored.then(**take_turns)
    restored.then(**offer)
    restored.then(None, js=viewport.arise(construction), **_QUIET)


def _build_construction(
    blocks: gr.Blocks, narrow: gr.Checkbox, width_changed: gr.Button
) -> tuple[gr.Radio, gr.Slider, gr.Button]:
    """The stepper: its two controls, and the occasion that draws the step they stand at."""
    gr.HTML(
        f'<h3 class="panel-title">{story_text.CONSTRUCTION_TITLE}</h3>'
        + markup.conclusion(story_text.CONSTRUCTION_LEAD)
    )
    with gr.Row(elem_id="quantize-construction-controls"):
        step = gr.Radio(
            list(story_text.STEPS), value=story_text.STEPS[0], label=story_text.STEP, elem_id="quantize-step", scale=3
        )
        bits = gr.Slider(
            2, 8, value=4, step=1, label=story_text.BITS, info=story_text.BITS_INFO, elem_id="quantize-bits", scale=2
        )
    construction = gr.HTML(markup.note(text.WAITING), elem_id="quantize-construction")
    with gr.Row(elem_id="quantize-stepper"):
        previous = gr.Button(story_text.PREVIOUS, size="sm", elem_id="quantize-previous", interactive=False)
        following = gr.Button(story_text.NEXT, size="sm", variant="primary", elem_id="quantize-next")
    outputs = [construction, previous, following]
    draw = quantize_redraw.draw_construction
    changed = viewport.occasion(blocks, "quantize-construction-changed")
    occasions = [bits.input, step.input, changed.click, width_changed.click]
    gr.on(occasions, draw, [bits, step, narrow], outputs, js=viewport.FILL_IN, **_QUIET)
    for button, by in ((previous, -1), (following, 1)):
        move = (
            f"(step) => {{ const all = {list(story_text.STEPS)!r}; return all[all.indexOf(step) + ({by})] ?? step; }}"
        )
        button.click(None, step, step, js=move, **_QUIET).then(None, js=viewport.arise(changed), **_QUIET)
    return step, bits, changed


def _controls() -> tuple[list, list, gr.HTML, gr.HTML]:
    """Controls of the source and of the setting, and the places for what is wrong with the source and a word on it."""
    model = gr.Radio(
        [*quantize_weights.MODELS, source_text.UPLOAD, source_text.TYPE], value=text.LANGUAGE_MODEL, label=text.MODEL,
        elem_id="quantize-model",
    )  # fmt: skip
    layer = gr.Slider(1, _FIRST_LAYERS, value=1, step=1, label=text.LAYER, elem_id="quantize-layer")
    matrix = gr.Dropdown(
        list(text.MATRICES),
        value=quantize_redraw.FIRST_MATRIX,
        label=text.MATRIX,
        filterable=False,
        elem_id="quantize-matrix",
    )
    upload = gr.File(
        file_types=[".safetensors"], label=source_text.FILE, height=130, visible=False, elem_id="quantize-upload"
    )
    gr.HTML(quantize_sources.upload_limit(), elem_id="quantize-limit")
    tensor = gr.Dropdown([], label=source_text.TENSOR, visible=False, elem_id="quantize-tensor")
    numbers = gr.Textbox(
        source_text.EXAMPLE_NUMBERS, label=source_text.NUMBERS, lines=3, visible=False, elem_id="quantize-numbers"
    )
    trouble = gr.HTML(elem_id="quantize-trouble")
    data_type = gr.Radio(
        [(name, key) for key, name in text.DATA_TYPES.items()], value="nf4", label=text.DATA_TYPE,
        elem_id="quantize-data-type",
    )  # fmt: skip
    block_size = gr.Radio(
        [(f"{size:,}", size) for size in BLOCK_SIZES],
        value=64,
        label=text.BLOCK_SIZE,
        info=text.BLOCK_SIZE_INFO,
        elem_id="quantize-block-size",
    )
    double_quantization = gr.Checkbox(True, label=text.DOUBLE_QUANTIZATION, elem_id="quantize-double-quantization")
    about = gr.HTML(elem_id="quantize-about")
    return [model, layer, matrix, upload, tensor, numbers], [data_type, block_size, double_quantization], trouble, about
