"""Panels of the Memory tab beside the step itself: other methods, what would save memory, and what was measured."""

import functools
import json
from dataclasses import replace
from importlib.resources import files

from app.charts import markup
from app.charts.frame import Data
from app.charts.svg import chart
from app.text import common
from app.text import memory as text
from qlora.config import TrainingConfig
from qlora.errors import InputError
from qlora.memory.estimate import EstimateOptions, MemoryEstimate, estimate
from qlora.memory.shapes import Shape

RESULTS = ("nvidia_h200_step_llama-7b.jsonl", "nvidia_h200_step_llama-13b.jsonl")
_NOTICEABLE = 0.05
#: A saving of so many percent of the peak is what the panel asks for.
ENOUGH_PERCENT = 10


def comparison(shape: Shape, options: EstimateOptions, by_method: dict[str, MemoryEstimate], narrow: bool) -> str:
    """The same run with each method, at each one's peak."""
    from app.charts.memory import gib_text, smallest_card, stacked_figure

    rows = []
    for method, result in by_method.items():
        card = smallest_card(result.peak_bytes / 2**30)
        fits = text.CARD.format(size=card) if card else text.NO_CARD
        rows.append((text.METHOD_NAMES[method], result.trainable_parameters, result.peak_bytes / 2**30, fits))
    lora, full = (100 * by_method["qlora"].peak_bytes / by_method[method].peak_bytes for method in ("lora", "full"))
    caption = text.TABLE_COMPARISON_CAPTION.format(
        shape=shape.name, batch=options.batch_size, sequence=options.sequence_length
    )
    peaks = {method: result.moments[result.peak_moment] for method, result in by_method.items()}
    said = "; ".join(
        f"{text.METHOD_NAMES[method]} {gib_text(result.peak_bytes / 2**30)}" for method, result in by_method.items()
    )
    return (
        markup.panel_title(text.COMPARISON_TITLE, kind=common.COMPUTED, ask=text.COMPARISON_QUESTION)
        + markup.conclusion(text.COMPARISON_CONCLUSION.format(lora=lora, full=full))
        + chart(
            functools.partial(stacked_figure, rows=peaks, names=text.METHOD_SHORT),
            narrow=narrow,
            title=text.COMPARISON_TITLE,
            description=text.COMPARISON_DESCRIPTION.format(shape=shape.name, methods=said),
            parts=part_words(peaks, by_method, options),
            data=Data(
                text.TABLE_COMPARISON,
                rows,
                ("{}", "{:,}", "{:,.1f} GiB", "{}"),
                caption,
                chosen=text.METHOD_NAMES[options.method],
            ),
        )
    )


def part_words(
    rows: dict[str, dict[str, int]], methods: dict[str, MemoryEstimate], options: EstimateOptions
) -> dict[str, str]:
    """What each part of a bar says when it is reached: its name, its formula and its size.

    Args:
        rows: row -> component -> bytes, as drawn.
        methods: the methods that rows are named after; a row of another name is of the options' method.
        options: of the estimate.
    """
    from app.charts.memory import gib_text

    return {
        f"{row}-{component}": text.PART.format(
            name=text.COMPONENTS[component],
            formula=_formula(component, row if row in methods else options.method, options),
            size=gib_text(size / 2**30),
        )
        for row, parts in rows.items()
        for component, size in parts.items()
        if size
    }


def _formula(component: str, method: str, options: EstimateOptions) -> str:
    """The component's formula in words, with the settings' numbers."""
    trained = text.TRAINED_ALL if method == "full" else text.TRAINED_ADAPTERS.format(r=options.r)
    if component == "base_weights":
        return text.FORMULA_CODES if method == "qlora" else text.FORMULA_WHOLE_WEIGHTS
    if component == "quantization_constants":
        form = text.FORMULA_NESTED if options.double_quantization else text.FORMULA_CONSTANTS
        return form.format(block=options.block_size)
    if component == "optimizer_states":
        form = text.FORMULA_STATES_8BIT if options.optimizer.endswith("8bit") else text.FORMULA_STATES
        return form.format(trained=trained)
    if component == "activations":
        form = text.FORMULA_INPUTS if options.checkpointed_layers is None else text.FORMULA_ACTIVATIONS
        return form.format(batch=options.batch_size, tokens=options.sequence_length)
    return text.FORMULAS[component].format(trained=trained, batch=options.batch_size, tokens=options.sequence_length)


def changes(options: EstimateOptions) -> dict[str, EstimateOptions]:
    """Changes of one setting each that may lower the peak: in words -> options with it."""
    found = {}
    if options.method != "qlora":
        found[text.CHANGE_METHOD] = replace(options, method="qlora")
    if options.method != "full" and options.r > 1:
        found[text.CHANGE_RANK.format(r=options.r // 2)] = replace(options, r=options.r // 2)
    if options.batch_size > 1:
        half = options.batch_size // 2
        found[text.CHANGE_BATCH.format(batch=half)] = replace(options, batch_size=half)
    if options.sequence_length > 1:
        half = options.sequence_length // 2
        found[text.CHANGE_SEQUENCE.format(tokens=half)] = replace(options, sequence_length=half)
    if options.optimizer.endswith("32bit"):
        found[text.CHANGE_STATES] = replace(options, optimizer=options.optimizer.replace("32bit", "8bit"))
    if options.checkpointed_layers is not None:
        found[text.CHANGE_CHECKPOINTING] = replace(options, checkpointed_layers=None)
    if options.method == "qlora" and not options.double_quantization:
        found[text.CHANGE_NESTED] = replace(options, double_quantization=True)
    if options.loss_chunk_tokens is None:
        chunk = TrainingConfig().loss_chunk_tokens
        found[text.CHANGE_CHUNKS.format(tokens=chunk)] = replace(options, loss_chunk_tokens=chunk)
    return found


def savings(shape: Shape, options: EstimateOptions, result: MemoryEstimate) -> list[tuple[str, float]]:
    """By how many percent of the peak each change would lower it, largest first; those that do not are left out.

    Letting all pages of a paged optimizer leave counts as a change too.
    """
    peaks = {name: estimate(shape, changed).peak_bytes for name, changed in changes(options).items()}
    if result.pageable_bytes:
        peaks[text.CHANGE_PAGES] = max(result.peak_bytes_paged_out, sum(result.moments["update"].values()))
    found = [(name, 100 * (1 - peak / result.peak_bytes)) for name, peak in peaks.items()]
    return sorted((item for item in found if item[1] > _NOTICEABLE), key=lambda item: -item[1])


def savings_panel(shape: Shape, options: EstimateOptions, result: MemoryEstimate, narrow: bool) -> str:
    """Where the next ten percent would come from."""
    from app.charts.memory_savings import savings_figure

    title = markup.panel_title(text.SAVINGS_TITLE, kind=common.COMPUTED)
    found = savings(shape, options, result)
    if not found:
        return title + markup.conclusion(text.SAVINGS_NONE)
    enough = [name for name, percent in found if percent >= ENOUGH_PERCENT]
    name, percent = found[0]
    conclusion = text.SAVINGS_CONCLUSION if enough else text.SAVINGS_TOO_LITTLE
    return (
        title
        + markup.conclusion(conclusion.format(change=name, percent=percent, count=len(enough)))
        + chart(
            functools.partial(savings_figure, savings=found),
            narrow=narrow,
            title=text.SAVINGS_TITLE,
            description="; ".join(f"{change}: {share:.1f} %" for change, share in found) + ".",
            data=Data(text.TABLE_SAVINGS, found, ("{}", "{:.1f} %"), text.TABLE_SAVINGS_CAPTION),
        )
    )


def measured_panel(narrow: bool) -> str:
    """What the allocator of a GPU held at its fullest, over what the formula says; a problem stands in its place."""
    from app.charts.memory_savings import measured_figure

    title = markup.panel_title(text.MEASURED_TITLE, kind=common.RECORDED, beside=common.COMPUTED)
    try:
        rows, conditions = measured_rows()
    except InputError as problem:
        return title + markup.problem(str(problem))
    farthest = max(abs(formula / measured - 1) for _, formula, measured in rows)
    numbers = [(name, formula, measured, 100 * (formula / measured - 1)) for name, formula, measured in rows]
    note = text.MEASURED_NOTE.format(**conditions[0])
    return (
        title
        + markup.conclusion(text.MEASURED_CONCLUSION.format(count=len(rows), percent=100 * farthest))
        + chart(
            functools.partial(measured_figure, rows=rows),
            narrow=narrow,
            title=text.MEASURED_TITLE,
            description="; ".join(text.MEASURED_ROW.format(name=n, formula=f, measured=m) for n, f, m in rows) + ".",
            data=Data(text.TABLE_MEASURED, numbers, ("{}", "{:.2f}", "{:.2f}", "{:+.1f} %"), note),
        )
        + markup.note(note)
    )


def measured_rows() -> tuple[list[tuple[str, float, float]], list[dict]]:
    """(run in words, GiB by today's formula, GiB measured) of the product's own measured steps, and their conditions.

    Raises:
        InputError: a file of results is missing or broken.
    """
    from qlora.bench.programs import Program
    from qlora.bench.step import estimated_bytes
    from qlora.memory.model_config import NAMED_SHAPES

    programs = {program.name: program for program in (Program("qlora"), Program("qlora", checkpointing=True))}
    rows, conditions = [], []
    for name in RESULTS:
        try:
            first, *measured = map(json.loads, (files("qlora.bench") / "results" / name).read_text().splitlines())
            known = first["conditions"]
            shape = NAMED_SHAPES[known["model"]]
            for row in (row for row in measured if row["program"] in programs):
                size = (row["batch"], row["tokens"])
                formula = estimated_bytes(
                    shape, programs[row["program"]], r=known["r"], dtype=known["dtype"], size=size
                )
                kept = text.MEASURED_KEPT[programs[row["program"]].checkpointing]
                words = text.MEASURED_RUN.format(model=shape.name, batch=size[0], tokens=size[1], kept=kept)
                rows.append((words, formula / 2**30, row["peak_bytes"] / 2**30))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(text.BROKEN_RESULTS.format(name=name, reason=error)) from None
        conditions.append(known)
    return rows, conditions
