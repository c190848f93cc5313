"""What the Quantize tab says."""

TITLE = "Quantize"
HEADING = "Sixteen values for every weight"
LEAD = (
    "A 4-bit weight can take only one of sixteen values. Each block of weights is divided by its largest one, and "
    "every weight moves to the nearest of sixteen levels between −1 and 1. Where those levels sit decides how much of "
    "the model survives. Pick a real layer and see."
)

MODEL = "Model"
LAYER = "Transformer layer"
MATRIX = "Weight matrix"
DATA_TYPE = "4-bit data type"
BLOCK_SIZE = "Block size"
BLOCK_SIZE_INFO = "how many weights share one scale"
DOUBLE_QUANTIZATION = "Double quantization: store the scales in 8 bits too"

LANGUAGE_MODEL = "SmolLM2-135M-Instruct"
EMBEDDING_MODEL = "all-MiniLM-L6-v2"
MODEL_NOTES = {
    LANGUAGE_MODEL: (
        "These weights have been in 4 bits before: the package that carries this language model stores them as "
        "Q4_1, sixteen evenly spaced values for each run of 32 weights, and the demo decodes that. In this matrix a "
        "run of 32 holds {distinct:.0f} different values on average (measured), where untouched weights would hold "
        "32. With block size 32 that makes the histogram ragged; in larger blocks the grids of many runs blend. The "
        "errors shown are against these decoded weights."
    ),
    EMBEDDING_MODEL: (
        "This is the model that the assistant searches the paper with. Its weights were published in 32 bits and never "
        "quantized: a run of 32 holds {distinct:.0f} different values on average (measured)."
    ),
}

DATA_TYPES = {"nf4": "NF4", "fp4-e2m1": "FP4 (E2M1)", "fp4-e3m0": "FP4 (E3M0)", "int4": "INT4"}

WAITING = "Reading the layer…"

LEVELS_TITLE = "Where the sixteen levels sit"
LEVELS_X = "weight ÷ largest weight of its block"
LEVELS_Y = "how many weights"
LEVELS_LEGEND_LEVEL = "{data_type} level"
LEVELS_LEGEND_EDGE = "edge between two levels"
LEVELS_CONCLUSION = (
    "Once each block is scaled, half of these weights lie within ±{half:.2f} of zero; {data_type} has {inside} of its "
    "sixteen levels there."
)

COUNTS_TITLE = "How many weights each level gets"
COUNTS_AXIS = "% of the layer's weights"
COUNTS_EQUAL = "equal share: 6.25 %"
COUNTS_CONCLUSION = (
    "The fullest level of {data_type} holds {largest:.1f} % of the weights and its fullest four hold {four:.0f} % "
    "(equal use would be 6.25 % and 25 %){remark}."
)
COUNTS_TWO_ZEROS = "; its zero exists twice, as 0 and as −0"
COUNTS_UNUSED = ("", "; one of its sixteen codes holds none", "; {count} of its sixteen codes hold none")

TYPES_TITLE = "Four data types on one axis"
TYPES_ERROR = "mean error"
TYPES_CONCLUSION = (
    "A data type loses little where its levels stand close together and the weights are many. Of the sixteen levels, "
    "these many lie within ±{half:.2f} of zero, where half of the weights are: {inside}."
)
TYPES_DESCRIPTION = (
    "The levels of four data types from −1 to 1, each row over the histogram of {layer} in blocks of {block_size}. "
    "Mean absolute error in % of the typical weight: {errors}."
)
TABLE_TYPES = ("Data type", *(f"Level {number}" for number in range(1, 17)), "Mean absolute error")
TABLE_TYPES_CAPTION = (
    "Levels from smallest to largest, and the mean absolute error on {layer} in % of its root mean square weight, "
    "blocks of {block_size}, measured."
)

ERROR_TITLE = "What is lost"
ERROR_METRICS = {
    "mean_absolute": "Mean absolute error",
    "root_mean_square": "Root mean square error",
    "largest": "Largest error",
}
ERROR_UNIT = "In % of the matrix's typical weight (its root mean square)."
ERROR_CONCLUSION = (
    "On this layer {best} loses least on average: its mean absolute error is {gain:.0f} % below that of {second} and "
    "{most:.0f} % below that of {worst}."
)

STORAGE_TITLE = "What it costs to store"
STORAGE = (
    "{bits:.3f} bits a weight: 4 for the code and {constants:.3f} for the scales. The {count:,} weights of this matrix "
    "take {stored:,.1f} KiB instead of {half:,.1f} KiB in 16 bits."
)

TABLE_HISTOGRAM = ("From", "To", "Density of weights")
TABLE_HISTOGRAM_CAPTION = (
    "Histogram of the weights of {layer} divided by the largest of their block of {block_size}, measured; the area "
    "under it is 1."
)
TABLE_ERROR_LABEL = "Show the errors as a table"
TABLE_LEVEL_LABEL = "Show the levels as a table"
TABLE_LEVEL = ("Level", "Weights", "Share")
TABLE_LEVEL_CAPTION = "{data_type} on {layer}, blocks of {block_size}: levels from smallest to largest, measured."
TABLE_ERROR = ("Data type", "Mean absolute", "Root mean square", "Largest", "Bits a weight")
TABLE_ERROR_CAPTION = "Error of every weight of {layer}, in the weight's own unit, blocks of {block_size}, measured."

LEVELS_DESCRIPTION = (
    "Histogram of {count:,} weights of {layer}, each divided by the largest weight of its block of {block_size}. "
    "Vertical lines mark the levels of {data_type}, which are {levels}; dashed lines halfway between them are the "
    "edges of the bins."
)
COUNTS_DESCRIPTION = "Share of the weights of {layer} at each level of {data_type}: {shares}."
ERROR_DESCRIPTION = "Error after 4-bit storage of {layer}, in % of its root mean square weight. {errors}."

WHERE = "layer {layer}, {matrix} ({rows} × {columns})"
MATRICES = {
    "attention: query": ("self_attn.q_proj", "attention.self.query"),
    "attention: key": ("self_attn.k_proj", "attention.self.key"),
    "attention: value": ("self_attn.v_proj", "attention.self.value"),
    "attention: output": ("self_attn.o_proj", "attention.output.dense"),
    "feed-forward: gate": ("mlp.gate_proj", None),
    "feed-forward: up": ("mlp.up_proj", "intermediate.dense"),
    "feed-forward: down": ("mlp.down_proj", "output.dense"),
}

NO_FILE = "The weights of {model} are missing ({path}). Run `make app` again: it puts them there."
BROKEN_FILE = "The weights of {model} in {path} cannot be read ({reason}). Delete that file and run `make app` again."
NO_MATRICES = "{path} holds none of the weight matrices of {model}. Delete that file and run `make app` again."
NO_SUCH_MATRIX = "{model} has no layer {layer} with the matrix “{matrix}”. Choose a layer from 1 to {layers}."
NOT_FINITE = "Some weights of this matrix are not finite numbers, so it cannot be quantized. Choose another one."
NOTHING_TO_SCALE = "All weights of this matrix are zero, so there is nothing to scale. Choose another one."

LEVELS_QUESTION = "How are the values of the NormalFloat data type estimated from quantiles?"
TYPES_QUESTION = "Is NF4 better than FP4?"
ERROR_QUESTION = "Does NF4 with double quantization match the performance of 16-bit finetuning?"
