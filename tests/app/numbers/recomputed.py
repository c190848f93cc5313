"""Values behind the sentences of the pages that take more than a name to look up, computed by the library itself."""

import gguf
import numpy as np

from app import recordings
from app.assistant.similar import average_linkage
from app.charts.retrieval import Dots, retrieval_figure
from app.recordings.plans import PLANS
from app.tabs import finetune_settings, paging_cost, quantize_measures, quantize_sources
from app.text import ask_experiment as experiment_text
from app.text import quantize as quantize_text
from app.text import quantize_sources as own_text
from app.text import quantize_story as story_text
from qlora import events
from qlora.memory import figure6
from qlora.memory.estimate import EstimateOptions, base_weight_bytes, estimate, optimizer_state_bytes
from qlora.memory.passes import logits_bytes
from qlora.memory.shapes import LLAMA, Pass
from qlora.quantization import codebook
from tests.app.numbers.sources import cell, rows

MIB = 2**20
_SMALL = LLAMA["7B"]


def levels() -> list[float]:
    """Of the four data types of the pages, scaled."""
    return [level for name in quantize_text.DATA_TYPES for level in codebook.codebook(name).tolist()]


def normal_float_bits() -> list[int]:
    """Of the NormalFloat types that can be had."""
    return [codebook.bits_of(name) for name in codebook.CODEBOOKS if name.startswith("nf")]


def scale_bits(double_quantization: bool) -> float:
    """Bits of one block's scale, the scales of scales left out."""
    options = EstimateOptions(double_quantization=double_quantization)
    constants = 8 * base_weight_bytes(_SMALL, options)[1]
    blocks = _SMALL.linear_parameters / options.block_size
    return float(int(constants / blocks))


def weights_of_a_q4_1_block() -> float:
    """Of the format in which the demo model is packaged."""
    return gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType.Q4_1][0]


def steps_of_the_construction() -> float:
    """Steps of the stepper, each with its drawing."""
    assert len(story_text.STEPS) == len(story_text.STEP_SENTENCES)
    return len(story_text.STEPS)


def area_of_a_histogram() -> float:
    """Of the Quantize tab's density, for the numbers that it offers as an example."""
    chosen = quantize_sources.choose(own_text.TYPE, 1, "", None, None, own_text.EXAMPLE_NUMBERS)
    found = quantize_measures.histogram(chosen, 64)
    return float((found.density * np.diff(found.edges)).sum())


def as_typed(number: str) -> float:
    """What the Quantize tab reads when that is typed."""
    chosen = quantize_sources.choose(own_text.TYPE, 1, "", None, None, number)
    return float(quantize_sources.weights(chosen).item())


def bytes_of_full_finetuning() -> float:
    """Bytes a weight that stay for a whole full finetune of 65B: weight, gradient, two states."""
    parts = estimate(LLAMA["65B"], EstimateOptions(method="full")).components
    kept = ("base_weights", "unquantized_weights", "gradients", "optimizer_states")
    return sum(parts[name] for name in kept) / LLAMA["65B"].parameters


def billions_of_the_largest() -> float:
    """Weights of the largest LLaMA."""
    return LLAMA["65B"].parameters / 1e9


def states_of_a_weight() -> float:
    """fp32 numbers that AdamW keeps for a weight."""
    return optimizer_state_bytes(1, "paged-adamw-32bit") / 4


def copies_of_the_logits() -> float:
    """fp32 numbers that the loss holds for each token and word of the vocabulary."""
    held = logits_bytes(_SMALL, Pass(rows=1, tokens=1, value_bytes=2), None)
    return (held - 2 * _SMALL.hidden_size) / 4 / _SMALL.vocabulary_size


def feed_forward_matrices() -> float:
    """Of a layer of LLaMA."""
    return len(_SMALL.feed_forward_linears)


def sizes_of_figure_6() -> float:
    """Models in the paper's figure at which adapters and optimizer agree to the last digit."""
    paper = {
        name: {row["component"]: float(row["mib"]) for row in rows("figure_06_memory.csv") if row["model"] == name}
        for name in LLAMA
    }
    ours = figure6.recreate(paper)
    return sum(all(ours[name][part] == paper[name][part] for part in ("adapters", "optimizer")) for name in LLAMA)


def widths_of_the_adapters() -> float:
    """Of the paper's adapters: inputs and outputs of a layer in hidden sizes."""
    printed = cell("figure_06_memory.csv", "mib", model="7B", component="adapters").value()
    return printed * MIB / 2 / figure6.RANK / _SMALL.hidden_size / _SMALL.layers


def widths_of_the_inputs() -> float:
    """Of the formula for input gradients: hidden sizes for each token and 16-bit number."""
    return figure6.input_gradient_mib(_SMALL) * MIB / _SMALL.hidden_size / figure6.SEQUENCE_LENGTH / 2


def operations_of_a_weight() -> float:
    """Of a step, for each weight and token."""
    made = paging_cost.cost("7B", 1, 1000, 1.0, 0.0, 60.0)
    return made.compute_seconds * 60e12 / _SMALL.parameters / made.tokens


def fall_at_ten_times_the_tokens() -> float:
    """How many times as small paging's share gets."""
    few, many = (paging_cost.cost("7B", 1, tokens, 1.0, 0.0, 60.0) for tokens in (512, 5120))
    bus = next(iter(few.moving_seconds))
    return few.per_cent(bus) / many.per_cent(bus)


def long_texts() -> float:
    """Of the runs under a budget: by their plans, and by those that are recorded."""
    found = set()
    for name, plan in PLANS.items():
        if not name.endswith("-budget"):
            continue
        found.add(plan.texts.long)
        if name in recordings.names():
            steps = [event for event in recordings.read(name).log if isinstance(event, events.StepFinished)]
            found.add(sum(step.tokens == plan.texts.longest for step in steps))
    (count,) = found
    return count


def demo_mib(*components: str) -> float:
    """Of the demo model's recorded run."""
    started = recordings.read("smollm2-cpu-budget").log[0]
    return sum(started.memory_bytes[name] for name in components) / MIB


def field_of_no_budget() -> float:
    """What the form's field shows where there is no budget."""
    assert finetune_settings.demo().optimizer.device_budget_mib is None
    return finetune_settings.field_values(finetune_settings.demo())[-1]


def likeness(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Of two papers with these mean vectors."""
    vectors = np.array([one, other], dtype=np.float32)
    (merge,) = average_linkage(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return merge.likeness


def end_of_the_recall_scale() -> float:
    """The largest number written under the chart's lines."""
    dots = Dots("fp32", {group: dict.fromkeys(experiment_text.METRICS, 0.7) for group in experiment_text.GROUPS})
    figure = retrieval_figure(880, rows=[dots])
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    return max(float(number) for number in written if number.replace(".", "").isdecimal())
