"""Panels of the Memory tab as they open, and their numbers from `qlora.memory`, the paper's CSV files and the bench."""

import json
from dataclasses import replace
from importlib.resources import files

from app.tabs import memory, memory_figure6, memory_panels
from app.text import memory as text
from qlora.bench.programs import Program
from qlora.bench.step import estimated_bytes
from qlora.config import TrainingConfig
from qlora.memory import figure6
from qlora.memory.estimate import METHODS, EstimateOptions, MemoryEstimate, estimate
from qlora.memory.model_config import NAMED_SHAPES
from qlora.memory.shapes import LLAMA
from tests.app.numbers.rendered import Fields, Panel, Value, only
from tests.app.numbers.sources import rows

MIB, GIB = 2**20, 2**30
SHAPE = LLAMA["7B"]
OPTIONS = EstimateOptions()
CARDS = (8, 16, 24, 48, 80)
#: Numbers in the formula of a bar's part, by component, for QLoRA at the first settings.
PART_FORMULAS = {
    "quantization_constants": (64, 256),
    "gradients": (64,),
    "optimizer_states": (64, 2),
    "activations": (1, 512),
    "input_gradients": (1, 512),
    "logits": (1, 512, 3),
}


def paper() -> dict[str, dict[str, float]]:
    """Size -> part -> MiB in the paper's figure, the input gradient in the middle of its range."""
    found: dict[str, dict[str, float]] = {}
    for row in rows("figure_06_memory.csv"):
        found.setdefault(row["model"], {})[row["component"]] = float(row["mib"])
    for parts in found.values():
        parts["input_gradient"] = (parts["input_gradient_low"] + parts["input_gradient_high"]) / 2
    return {size: {part: found[size][part] for part in figure6.COMPONENTS} for size in LLAMA}


def in_units(count: float) -> float:
    """Bytes as memory is written: GiB, or MiB under one GiB."""
    return count / GIB if count >= GIB else count / MIB


def smallest_card(count: float) -> int:
    """Of those that hold so many bytes."""
    return next(size for size in CARDS if size * GIB >= count)


def results() -> dict[str, MemoryEstimate]:
    """Method -> estimate at the first settings."""
    return {method: estimate(SHAPE, replace(OPTIONS, method=method)) for method in METHODS}


def figure_6() -> Panel:
    bars, ours = paper(), figure6.recreate(paper())
    plain, nested = (figure6.fit_overhead(bars, bits) for bits in (figure6.BITS_PLAIN, figure6.BITS_DOUBLE_QUANTIZED))
    labels = {row["model"]: float(row["label_gb"]) for row in rows("figure_06_labels.csv")}
    (low,) = [float(row["mib"]) for row in rows("figure_06_memory.csv")
              if (row["model"], row["component"]) == ("65B", "input_gradient_low")]  # fmt: skip
    sizes = [
        number
        for size in LLAMA
        for number in (sum(ours[size].values()), sum(bars[size].values()), *ours[size].values())
    ]
    labelled = sum(bars["65B"].values()) - bars["65B"]["input_gradient"]
    unexplained: Fields = {
        "overhead": plain.overhead_mib,
        "plain": 100 * plain.largest_deviation,
        "nested": 100 * nested.largest_deviation,
        "arithmetic": [figure6.weights_mib(shape, figure6.BITS_DOUBLE_QUANTIZED) for shape in LLAMA.values()],
        "real_adapters": [2 * shape.adapter_parameters(64) / MIB for shape in LLAMA.values()],
        "short": 100 * (1 - ours["65B"]["input_gradient"] / low),
        "label": labels["65B"],
        "labelled": labelled,
        "sum65": labelled + ours["65B"]["input_gradient"],
    }
    table = [
        [name, *(value for size in LLAMA for value in _compared(ours[size][part], bars[size][part]))]
        for part, name in text.FIGURE6_PARTS.items()
    ]
    sums = [_compared(sum(ours[size].values()), sum(bars[size].values())) for size in LLAMA]
    table.append([text.TABLE_FIGURE6_SUM, *(value for three in sums for value in three)])
    formulas = [
        [name, [*_numbers_of(part), *([plain.overhead_mib] if part == "model" else [])]]
        for part, name in text.FIGURE6_PARTS.items()
    ]
    return Panel(
        "Figure 6",
        lambda: memory_figure6.panel(False),
        {
            "memory.FIGURE6_CONCLUSION": {
                "deviation": 100 * plain.largest_deviation,
                "share_small": 100 * ours["7B"]["model"] / sum(ours["7B"].values()),
                "share_large": 100 * ours["65B"]["model"] / sum(ours["65B"].values()),
            },
            "memory.FIGURE6_DESCRIPTION": {"sizes": sizes},
            **{
                f"memory.UNEXPLAINED.{place}": only(sentence, unexplained)
                for place, sentence in enumerate(text.UNEXPLAINED)
            },
        },
        {text.TABLE_FIGURE6_CAPTION: table, text.FORMULA_CAPTION: formulas},
    )


def _numbers_of(part: str) -> list[float]:
    return {
        "model": [figure6.BITS_PLAIN, 2],
        "adapters": [2, 64, 18],
        "weight_gradient": [],
        "optimizer": [8, 64, 18],
        "input_gradient": [27, 512, 2],
    }[part]


def _compared(ours: float, printed: float) -> list[Value]:
    return [ours, printed, "exact" if ours == printed else 100 * (ours / printed - 1)]


def own() -> Panel:
    result = results()["qlora"]
    peak, moments = result.peak_bytes, result.moments
    share = 100 * result.trainable_parameters / SHAPE.parameters
    at_peak = moments[result.peak_moment]
    table = [
        [label, result.components[name], result.components[name] / MIB,
         100 * at_peak[name] / peak if name in at_peak else text.NOT_AT_PEAK]
        for name, label in text.COMPONENTS.items()
    ]  # fmt: skip
    caption = text.TABLE_OWN_CAPTION.split("{")[0] or SHAPE.name
    return Panel(
        "A step of one's own",
        lambda: drawn()[0],
        {
            "memory.OWN_CONCLUSION": {
                "method": text.METHOD_NAMES["qlora"],
                "shape": SHAPE.name,
                "peak": [in_units(peak)],
                "moment": text.PEAK[result.peak_moment],
                "card": [smallest_card(peak)],
                "paged": [in_units(peak - result.components["optimizer_states"])],
            },
            "memory.OWN_NOTE": {
                "trainable": SHAPE.adapter_parameters(64),
                "parameters": SHAPE.parameters,
                "share": share,
            },
            "memory.OWN_DESCRIPTION": {
                "shape": SHAPE.name,
                "moments": [in_units(sum(parts.values())) for parts in moments.values()],
            },
            "memory.PART": parts_of(moments, dict.fromkeys(moments, "qlora")),
            "memory.TABLE_OWN_CAPTION": {
                "shape": SHAPE.name,
                "method": text.METHOD_NAMES["qlora"],
                "moment": text.MOMENTS[result.peak_moment].lower(),
            },
        },
        {caption: table},
    )


def parts_of(moments: dict[str, dict[str, int]], methods: dict[str, str]) -> list[Fields]:
    """What the parts of bars say: row -> component -> bytes, and the method of each row."""
    return [
        {"name": text.COMPONENTS[name], "formula": _part_formula(name, methods[row]), "size": in_units(size)}
        for row, parts in moments.items()
        for name, size in parts.items()
        if size
    ]


def _part_formula(component: str, method: str) -> tuple[int, ...]:
    numbers = PART_FORMULAS.get(component, ())
    return numbers[1:] if method == "full" and component in ("gradients", "optimizer_states") else numbers


def comparison() -> Panel:
    found = results()
    peaks = {method: result.peak_bytes for method, result in found.items()}
    table = [
        [text.METHOD_NAMES[method], result.trainable_parameters, peaks[method] / GIB,
         [smallest_card(peaks[method])] if peaks[method] <= CARDS[-1] * GIB else text.NO_CARD]
        for method, result in found.items()
    ]  # fmt: skip
    return Panel(
        "The same run with other methods",
        lambda: drawn()[1],
        {
            "memory.COMPARISON_CONCLUSION": {
                "lora": 100 * peaks["qlora"] / peaks["lora"],
                "full": 100 * peaks["qlora"] / peaks["full"],
            },
            "memory.COMPARISON_DESCRIPTION": {
                "shape": SHAPE.name,
                "methods": [in_units(peak) for peak in peaks.values()],
            },
            "memory.PART": parts_of(
                {method: result.moments[result.peak_moment] for method, result in found.items()},
                {method: method for method in found},
            ),
            "memory.TABLE_COMPARISON_CAPTION": {"shape": SHAPE.name, "batch": 1, "sequence": 512},
        },
        {SHAPE.name: table},
    )


def savings() -> Panel:
    peak = estimate(SHAPE, OPTIONS).peak_bytes
    chunk = TrainingConfig().loss_chunk_tokens
    changed = {
        (text.CHANGE_RANK, 32): replace(OPTIONS, r=32),
        (text.CHANGE_SEQUENCE, 256): replace(OPTIONS, sequence_length=256),
        (text.CHANGE_STATES, None): replace(OPTIONS, optimizer="paged-adamw-8bit"),
        (text.CHANGE_CHUNKS, chunk): replace(OPTIONS, loss_chunk_tokens=chunk),
    }
    lower = {change: 100 * (1 - estimate(SHAPE, options).peak_bytes / peak) for change, options in changed.items()}
    first = estimate(SHAPE, OPTIONS)
    fullest = max(first.peak_bytes_paged_out, sum(first.moments["update"].values()))
    lower[text.CHANGE_PAGES, None] = 100 * (1 - fullest / peak)
    found = sorted(((change, percent) for change, percent in lower.items() if percent > 0.05), key=lambda c: -c[1])
    words = [(template.format(r=number, tokens=number), percent) for (template, number), percent in found]
    said = [number for (_, own), percent in found for number in (*([own] if own else []), percent)]
    return Panel(
        "Where the next 10 % would come from",
        lambda: drawn()[2],
        {
            "memory.SAVINGS_CONCLUSION": {
                "percent": found[0][1],
                "change": words[0][0],
                "count": sum(percent >= memory_panels.ENOUGH_PERCENT for _, percent in found),
            },
        },
        {text.TABLE_SAVINGS_CAPTION: [[change, percent] for change, percent in words]},
        said,
    )


def measured() -> Panel:
    programs = {program.name: program for program in (Program("qlora"), Program("qlora", checkpointing=True))}
    found, conditions = [], []
    for file in ("nvidia_h200_step_llama-7b.jsonl", "nvidia_h200_step_llama-13b.jsonl"):
        lines = (files("qlora.bench") / "results" / file).read_text(encoding="utf-8").splitlines()
        known, *steps = map(json.loads, lines)
        conditions.append(known["conditions"])
        for step in (step for step in steps if step["program"] in programs):
            known, program = conditions[-1], programs[step["program"]]
            shape, size = NAMED_SHAPES[known["model"]], (step["batch"], step["tokens"])
            formula = estimated_bytes(shape, program, r=known["r"], dtype=known["dtype"], size=size)
            found.append((shape.name, size, formula / GIB, step["peak_bytes"] / GIB))
    return Panel(
        "The formula against a GPU",
        lambda: memory_panels.measured_panel(False),
        {
            "memory.MEASURED_CONCLUSION": {
                "count": len(found),
                "percent": max(100 * abs(formula / peak - 1) for _, _, formula, peak in found),
            },
            "memory.MEASURED_NOTE": {key: conditions[0][key] for key in ("device", "date", "r", "dtype", "command")},
        },
        {"Recorded on": [[size, formula, peak, 100 * (formula / peak - 1)] for _, size, formula, peak in found]},
        [number for _, size, formula, peak in found for number in (*size, formula, peak)],
    )


def drawn() -> tuple[str, str, str]:
    """The three panels of the visitor's own numbers at the controls' first values."""
    sizes = [getattr(SHAPE, name) for name in text.SHAPE_FIELDS]
    setting = ("qlora", 64, 1, 512, "paged-adamw-32bit", True, True)
    return memory.draw_own(SHAPE.name, *sizes, SHAPE.tied_embeddings, *setting, None, False)


PANELS = (figure_6, own, comparison, savings, measured)
