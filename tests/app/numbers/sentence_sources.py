"""The source of every number that a sentence of ``app/text`` states itself: key of the sentence -> number -> source.

A key is module, constant and place in it, as `reading.sentences` makes them. Numbers that a template is filled with do
not belong here (`panel_sources` has those); a number that is part of a name is a pattern of `reading.PLAIN_LANGUAGE`.
"""

from app.charts import memory as memory_charts
from app.charts import quantize_construction as construction
from app.tabs import memory_panels, paging_cost, quantize_journey, quantize_sources
from app.text import paging as paging_text
from app.text import quantize as quantize_text
from qlora.memory import estimate, figure6
from qlora.quantization import codebook, double_quantization
from tests.app.numbers import recomputed
from tests.app.numbers.sources import Source, cell, fact, formula, recording, setting

RANGE = {
    "−1": formula("least level of the four data types", lambda: min(recomputed.levels())),
    "1": formula("largest level of the four data types", lambda: max(recomputed.levels())),
}
SIXTEEN = {"sixteen": formula("levels of NF4", lambda: len(codebook.NF4_LEVELS))}
FOUR_TYPES = {"four": setting("app.text.quantize.DATA_TYPES", lambda: len(quantize_text.DATA_TYPES))}
CODE_BITS = {"4": formula("codebook.bits_of", lambda: codebook.bits_of("nf4"))}
SIDES = {
    "−3": formula("construction: first evenly spaced level", lambda: construction.construction(4).even[0]),
    "3": formula("construction: last evenly spaced level", lambda: construction.construction(4).even[-1]),
}
BEYOND = setting("quantize_construction._OUTER", lambda: construction._OUTER)
SCALES_OF_A_SCALE = {
    "256": setting("double_quantization.ABSMAX_BLOCK_SIZE", lambda: double_quantization.ABSMAX_BLOCK_SIZE)
}
STATES_OF_A_SCALE = {"256": setting("estimate._STATE_BLOCK_SIZE", lambda: estimate._STATE_BLOCK_SIZE)}
WHOLE_SCALE = {"32": formula("bits of an absmax", lambda: recomputed.scale_bits(False))}
SHORT_SCALE = {"8": formula("bits of an absmax, double quantization", lambda: recomputed.scale_bits(True))}
Q4_1 = formula("gguf: weights of a block of Q4_1", recomputed.weights_of_a_q4_1_block)
PAPER_RANK = {"64": setting("figure6.RANK, as B.2 has it", lambda: figure6.RANK)}
WIDTHS = {"18": formula("Figure 6's adapters / (2 bytes · r · h · L)", recomputed.widths_of_the_adapters)}
INPUT_WIDTHS = {"27": formula("figure6.input_gradient_mib / (512 · 2 bytes · h)", recomputed.widths_of_the_inputs)}
TWO_BYTES = {"2": formula("bytes of a 16-bit number", lambda: 16 / 8)}
PLAIN_BITS = {"4.5": formula("figure6.BITS_PLAIN, 4 + 32/64", lambda: figure6.BITS_PLAIN)}
TOKENS = {"512": fact(26, "512")}
TWO_STATES = {"2": formula("optimizer_state_bytes in 32 bits / 4 bytes", lambda: recomputed.states_of_a_weight())}
ENOUGH = {"10": setting("memory_panels.ENOUGH_PERCENT", lambda: memory_panels.ENOUGH_PERCENT)}
EQUAL_SHARE = {"6.25": formula("100 / 16", lambda: 100 / len(codebook.NF4_LEVELS))}
LONG_TEXTS = {"six": recording("recordings.plans and, where it is there, the recording", recomputed.long_texts)}
TENFOLD = {"tenfold": formula("paging_cost.cost at ten times the tokens", recomputed.fall_at_ten_times_the_tokens)}
FIRST = setting("counted from 1", lambda: 1)


def typed(text: str) -> dict[str, Source]:
    """Numbers of an example of what can be typed: the product's own reader takes each."""
    return {
        number: setting("read by quantize_sources.parse", lambda number=number: recomputed.as_typed(number))
        for number in text.replace(",", "").split()
    }


SENTENCES: dict[str, dict[str, Source]] = {
    "ask_experiment.DESCRIPTION": {"1": setting("last tick of retrieval_figure", recomputed.end_of_the_recall_scale)},
    "ask_library.SIMILAR_CAPTION": {
        "1": formula("cosine of a vector with itself", lambda: recomputed.likeness((3, 4), (3, 4))),
        "0": formula("cosine of orthogonal vectors", lambda: recomputed.likeness((3, 4), (4, -3))),
    },
    "finetune.BUDGET_INFO": {
        "0": setting("finetune_settings.field_values of no budget", lambda: recomputed.field_of_no_budget())
    },
    "memory.LEAD": {
        "twelve": formula("memory.estimate, full finetuning of 65B / weights", recomputed.bytes_of_full_finetuning),
        "65": fact(9, "65"),
        "48": fact(2, "48"),
    },
    "memory.FIGURE6_CONCLUSION": {"four": formula("sizes in figure_06_memory.csv", recomputed.sizes_of_figure_6)},
    "memory.FIGURE6_NOTE": {
        "1": fact(26, "1"),
        "512": fact(26, "512"),
        **PAPER_RANK,
        "2²⁰": setting("figure6.MIB", lambda: figure6.MIB),
        "2³⁰": setting("figure6.MIB · MIB_IN_GIB", lambda: figure6.MIB * memory_charts.MIB_IN_GIB),
        "80": setting("app.charts.memory.CARDS_GIB, the fifth", lambda: memory_charts.CARDS_GIB[4]),
    },
    "memory.TABLE_FIGURE6_FORMULAS.model": {**PLAIN_BITS, **TWO_BYTES},
    "memory.TABLE_FIGURE6_FORMULAS.adapters": {**TWO_BYTES, **PAPER_RANK, **WIDTHS},
    "memory.TABLE_FIGURE6_FORMULAS.optimizer": {
        "8": formula("two states of 32 bits", lambda: estimate.optimizer_state_bytes(1, "paged-adamw-32bit")),
        **PAPER_RANK,
        **WIDTHS,
    },
    "memory.TABLE_FIGURE6_FORMULAS.input_gradient": {**INPUT_WIDTHS, **TOKENS, **TWO_BYTES},
    "memory.UNEXPLAINED.1": {
        **PLAIN_BITS,
        "4.127": formula("figure6.BITS_DOUBLE_QUANTIZED", lambda: figure6.BITS_DOUBLE_QUANTIZED),
    },
    "memory.UNEXPLAINED.2": {
        **WIDTHS,
        "three": formula("matrices of LlamaShape.feed_forward_linears", recomputed.feed_forward_matrices),
    },
    "memory.UNEXPLAINED.3": INPUT_WIDTHS,
    "memory.FORMULA_NESTED": SCALES_OF_A_SCALE,
    "memory.FORMULA_STATES": TWO_STATES,
    "memory.FORMULA_STATES_8BIT": {**TWO_STATES, **STATES_OF_A_SCALE},
    "memory.FORMULAS.logits": {
        "3": formula("logits_bytes of one token / fp32 / words", recomputed.copies_of_the_logits)
    },
    "memory.SAVINGS_TITLE": ENOUGH,
    "memory.SAVINGS_CONCLUSION": ENOUGH,
    "memory.SAVINGS_TOO_LITTLE": ENOUGH,
    "page.PAPER": {"2023": fact(1, "2023")},
    "paging.RECORDINGS.smollm2-cpu-budget.1": LONG_TEXTS,
    "paging.RECORDINGS.llama-7b-cuda-budget.1": LONG_TEXTS,
    **{
        f"paging.SPEEDS.{speed}": {speed: setting("the factor that the script gets", lambda speed=speed: float(speed))}
        for speed in paging_text.SPEEDS
        if speed != "all"
    },
    "paging.FIRST_SPEED": {
        "4": setting("a key of SPEEDS", lambda: next(float(speed) for speed in paging_text.SPEEDS if speed == "4"))
    },
    "paging.BUDGET_INFO": {
        "198": recording(
            "smollm2-cpu-budget, its start", lambda: recomputed.demo_mib("base_model", "adapters", "gradients")
        ),
        "37": recording("smollm2-cpu-budget, its start", lambda: recomputed.demo_mib("optimizer")),
    },
    "paging.COST_NOTE": {"6": formula("paging_cost.cost / (parameters · tokens)", recomputed.operations_of_a_weight)},
    "paging.COST_PAPER": {"48": fact(6, "48"), "16": fact(6, "16")},
    "paging.COST_PAPER_COMPUTED": {
        "384": cell("table_09_training_hyperparameters.csv", "source_length_tokens", model="65B", dataset="All"),
        "128": cell("table_09_training_hyperparameters.csv", "target_length_tokens", model="65B", dataset="All"),
    },
    "paging.COST_PAPER_MARK": {"16": setting("paging_cost.PAPER_BATCH", lambda: paging_cost.PAPER_BATCH)},
    "paging.COST_DESCRIPTION": TENFOLD,
    "quantize.HEADING": SIXTEEN,
    "quantize.LEAD": {**SIXTEEN, **RANGE},
    "quantize.MODEL_NOTES.SmolLM2-135M-Instruct": {
        "sixteen": formula("values of a 4-bit code", lambda: 2**4),
        "32": Q4_1,
    },
    "quantize.MODEL_NOTES.all-MiniLM-L6-v2": {"32": Q4_1},
    "quantize.LEVELS_TITLE": SIXTEEN,
    "quantize.LEVELS_CONCLUSION": SIXTEEN,
    "quantize.COUNTS_EQUAL": EQUAL_SHARE,
    "quantize.COUNTS_CONCLUSION": {
        "four": formula("levels that share 25 % equally", lambda: 25 / EQUAL_SHARE["6.25"].value()),
        **EQUAL_SHARE,
        "25": formula("four equal shares", lambda: 4 * EQUAL_SHARE["6.25"].value()),
    },
    "quantize.COUNTS_TWO_ZEROS": {
        "0": formula("codebook of fp4-e2m1, code 0", lambda: codebook.codebook("fp4-e2m1")[0].item()),
        "−0": formula("codebook of fp4-e2m1, code 8", lambda: codebook.codebook("fp4-e2m1")[8].item()),
    },
    "quantize.COUNTS_UNUSED.1": SIXTEEN,
    "quantize.COUNTS_UNUSED.2": SIXTEEN,
    "quantize.TYPES_TITLE": FOUR_TYPES,
    "quantize.TYPES_CONCLUSION": SIXTEEN,
    "quantize.TYPES_DESCRIPTION": {**FOUR_TYPES, **RANGE},
    "quantize.STORAGE": CODE_BITS,
    "quantize.TABLE_HISTOGRAM_CAPTION": {"1": formula("area under a density", recomputed.area_of_a_histogram)},
    "quantize.NO_SUCH_MATRIX": {"1": FIRST},
    "quantize_journey.RUN": {"64": setting("quantize_journey.RUN", lambda: quantize_journey.RUN)},
    "quantize_journey.STEPS.scaled.1": RANGE,
    "quantize_journey.LINE_DESCRIPTION": {**RANGE, **SIXTEEN},
    "quantize_journey.LINE_CAPTION": SIXTEEN,
    "quantize_sources.FILE": {
        "512": setting("quantize_sources.MOST_FILE_BYTES", lambda: quantize_sources.MOST_FILE_BYTES / 2**20)
    },
    "quantize_sources.EXAMPLE_NUMBERS": typed(
        "0.31, -0.27, 0.05, 0.12, -0.44, 0.02, 0.19, -0.08, 0.5, -0.15, 0.07, 0.23, -0.33, 0.11, -0.02, 0.4"
    ),
    "quantize_sources.NO_NUMBERS": typed("0.3, −1.2, 0.05"),
    "quantize_story.CONSTRUCTION_TITLE": SIXTEEN,
    "quantize_story.CONSTRUCTION_LEAD": {
        **RANGE,
        "four": setting("app.text.quantize_story.STEPS", recomputed.steps_of_the_construction),
    },
    "quantize_story.BITS_INFO": {
        "2": formula("fewest bits of codebook.CODEBOOKS", lambda: min(recomputed.normal_float_bits())),
        "8": formula("most bits of codebook.CODEBOOKS", lambda: max(recomputed.normal_float_bits())),
        **CODE_BITS,
    },
    "quantize_story.STEP_TITLES.3": RANGE,
    "quantize_story.STEP_SENTENCES.0": {**SIDES, "±1.5": BEYOND},
    "quantize_story.STEP_SENTENCES.2": {"1": formula("all of the probability", lambda: construction.probability(40.0))},
    "quantize_story.STEP_SENTENCES.3": RANGE,
    "quantize_story.AGREES": SIXTEEN,
    "quantize_story.LEGEND_BEYOND": {"±1.5": BEYOND},
    "quantize_story.STEP_DESCRIPTIONS.0": {**SIDES, "1.5": BEYOND},
    "quantize_story.STEP_DESCRIPTIONS.3": RANGE,
    "quantize_story.DOUBLE_CONCLUSION": {
        **SCALES_OF_A_SCALE,
        "65": formula("the size that 65e9 in quantize_story stands for", recomputed.billions_of_the_largest),
    },
    "quantize_story.DOUBLE_ROWS.2": SCALES_OF_A_SCALE,
    "quantize_story.DOUBLE_FORMULAS.0": WHOLE_SCALE,
    "quantize_story.DOUBLE_FORMULAS.1": SHORT_SCALE,
    "quantize_story.DOUBLE_FORMULAS.2": {**SHORT_SCALE, **WHOLE_SCALE, **SCALES_OF_A_SCALE},
    "quantize_story.DOUBLE_SENTENCES.0": {**WHOLE_SCALE, **CODE_BITS},
    "quantize_story.DOUBLE_SENTENCES.1": SHORT_SCALE,
    "quantize_story.DOUBLE_SENTENCES.2": SCALES_OF_A_SCALE,
    "tour.STOPS.1.0": SIXTEEN,
    "tour.STOPS.1.1": FOUR_TYPES,
}
