"""What the Quantize tab says."""

TITLE = "Quantize"
HEADING = "Sixteen values for every weight"
LEAD = (
    "A 4-bit weight can only take one of sixteen values. Each block of weights is divided by its largest one, and every "
    "weight is moved to the nearest of sixteen levels between −1 and 1. Where those levels sit decides how much of the "
    "model survives. Pick a real layer and see."
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
        "These weights are not untouched: the package that carries this language model stored them in 4 bits (Q4_1: "
        "sixteen evenly spaced values for every 32 weights), and the demo decodes that. So the histogram has an edge at "
        "±1 and, in blocks of 32, traces of a grid, and evenly spaced INT4 looks better here than on weights that were "
        "never quantized. Choose the embedding model to see those."
    ),
    EMBEDDING_MODEL: (
        "This is the model that the assistant searches the paper with. Its weights were published in 32 bits and were "
        "never quantized before."
    ),
}

DATA_TYPES = {"nf4": "NF4", "fp4-e2m1": "FP4 (E2M1)", "fp4-e3m0": "FP4 (E3M0)", "int4": "INT4"}

LEVELS_TITLE = "Where the sixteen levels sit"
LEVELS_X = "weight ÷ largest weight of its block"
LEVELS_Y = "how many weights"
LEVELS_LEGEND_LEVEL = "level"
LEVELS_LEGEND_EDGE = "edge between two levels"
LEVELS_CONCLUSION = (
    "Half of this layer's weights lie within ±{half:.2f} of zero once each block is scaled; {data_type} has {inside} of "
    "its sixteen levels there."
)

COUNTS_TITLE = "How many weights each level gets"
COUNTS_AXIS = "% of the layer's weights"
COUNTS_EQUAL = "equal share: 6.25 %"
COUNTS_CONCLUSION = (
    "{data_type} puts {largest:.1f} % of the weights on its fullest level; the fullest four hold {four:.0f} % "
    "(equal use would be 25 %){unused}."
)
COUNTS_UNUSED = {0: "", 1: ", and one of its sixteen codes is never used"}
COUNTS_UNUSED_MANY = ", and {count} of its sixteen codes are never used"

ERROR_TITLE = "What is lost"
ERROR_METRICS = {
    "mean_absolute": "Mean absolute error",
    "root_mean_square": "Root mean square error",
    "largest": "Largest error",
}
ERROR_UNIT = "% of the layer's typical weight (its root mean square)"
ERROR_CONCLUSION = (
    "On this layer {best} loses least on average: {gain:.0f} % less mean absolute error than {second}{worst}."
)
ERROR_WORST = ", and {gain:.0f} % less than {worst}"

STORAGE_TITLE = "What it costs to store"
STORAGE = (
    "{bits:.3f} bits a weight: 4 for the code and {constants:.3f} for the scales. The {count:,} weights of this matrix take "
    "{stored:,.1f} KiB instead of {half:,.1f} KiB in 16 bits."
)

TABLE_LEVEL = ("Level", "Weights", "Share")
TABLE_LEVEL_CAPTION = "{data_type} on {layer}, blocks of {block_size}: levels from smallest to largest, measured."
TABLE_ERROR = ("Data type", "Mean absolute", "Root mean square", "Largest", "Bits a weight")
TABLE_ERROR_CAPTION = "Error of every weight of {layer}, in the weight's own unit, blocks of {block_size}, measured."

LEVELS_DESCRIPTION = (
    "Histogram of {count:,} weights of {layer}, each divided by the largest weight of its block of {block_size}. Vertical "
    "lines mark the levels of {data_type}, which are {levels}; dashed lines halfway between them are the edges of the bins."
)
COUNTS_DESCRIPTION = "Share of the weights of {layer} at each level of {data_type}: {shares}."
ERROR_DESCRIPTION = "Error after 4-bit storage of {layer}, in % of its root mean square weight. {errors}."

MATRICES = {
    "q_proj": "attention: query",
    "k_proj": "attention: key",
    "v_proj": "attention: value",
    "o_proj": "attention: output",
    "gate_proj": "feed-forward: gate",
    "up_proj": "feed-forward: up",
    "down_proj": "feed-forward: down",
    "query": "attention: query",
    "key": "attention: key",
    "value": "attention: value",
    "attention.output": "attention: output",
    "intermediate": "feed-forward: up",
    "output": "feed-forward: down",
}
WHERE = "layer {layer}, {matrix} ({rows} × {columns})"

MISSING_FILE = "The weights of {model} are not at {path}. Run `make app` again: it puts them there."
BROKEN_FILE = "The weights of {model} at {path} cannot be read ({reason}). Delete that file and run `make app` again."
NO_MATRICES = "{path} holds no weight matrices of transformer layers under the names that {model} uses."
NO_SUCH_LAYER = "{model} has layers 1 to {layers}; choose one of them, not {layer}."
EMPTY_LAYER = "This layer has no weights that differ from zero, so there is nothing to scale. Choose another one."
