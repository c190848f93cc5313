"""What the Quantize tab says about one weight's way into four bits and back, and about an outlier."""

TITLE = "One weight’s journey"
RUN = "Which run of 64 weights"
RUN_INFO = "one of its weights is chosen above, by a click or with the arrow keys"
RUN_LABEL = "Weights {first:,} to {last:,}, each divided by the largest of its block"
CELL = "Weight {number}: {value}"

CONCLUSION = (
    "This weight keeps 4 bits of its own and shares one scale with {others} others: {value} goes in, {decoded} comes "
    "back, an error of {error} % of the largest weight of its block."
)
ALONE = "no"

# A card of the journey: its heading and what stands under its number. The fields of both are those of a weight's
# record (app.tabs.quantize_journey).
STEPS = {
    "value": ("Value", "{place}"),
    "block": ("Block", "weights {block_first} to {block_last} share one scale"),
    "absmax": ("Largest of the block", "{absmax_stored}"),
    "scaled": ("Divided", "{value} ÷ {absmax}: now between −1 and 1"),
    "level": ("Nearest level", "the next edges are {below} and {above}"),
    "nibble": ("Code, a nibble", "code {code}: four bits name the level"),
    "byte": ("Byte", "{byte_told}"),
    "decoded": ("And back", "{level} × {absmax_back}; error {difference}"),
}
PLACE_IN_MATRIX = "row {row:,}, column {column:,}"
PLACE_IN_LIST = "number {number:,}"
ABSMAX_PLAIN = "weight {number:,} of the tensor, kept in 32 bits"
ABSMAX_DOUBLE = "weight {number:,}; kept in 8 bits as code {code}, which gives {back}"
BYTE_FIRST = "{byte_hex}: this weight in the high half, the next one, code {other}, in the low"
BYTE_SECOND = "{byte_hex}: this weight in the low half, the one before, code {other}, in the high"
BYTE_ALONE = "{byte_hex}: the last weight has no neighbour, so the low half means nothing"
NO_EDGE = "none"

LINE_TITLE = "From the scaled value to the nearest level"
LINE_AXIS = "weight ÷ largest weight of its block"
LINE_VALUE = "this weight"
LINE_LEVEL = "its level"
LINE_EDGE = "edge between two levels"
LINE_DESCRIPTION = (
    "An axis from −1 to 1 with the sixteen levels of {data_type} and the edges between them. One mark stands at the "
    "chosen weight divided by the largest of its block, another at the level nearest to it; the cards above have both."
)
LINE_COLUMNS = ("Code", "Bits", "Level", "Rounded up to it above")
LINE_CAPTION = "The sixteen codes of {data_type}, from the smallest level to the largest, as the product defines them."

NOTHING = "Nothing can be shown here: {problem}"

OUTLIER_TITLE = "An outlier, and what blocks are for"
OUTLIER_SIZE = "Size of the outlier"
OUTLIER_SIZE_INFO = "times the largest of these weights"
OUTLIER_PLACE = "Place of the outlier"
OUTLIER_PLACE_INFO = "which weight it replaces; or drag it in the drawing"
OUTLIER_BLOCKS = (
    "An outlier {size} times as large as the largest of these {count} weights raises the mean error of the others from "
    "{before} % to {whole} % when all share one scale. In blocks of {block_size} it spoils its own block ({own} %); "
    "over all blocks the error is {blocks} %."
)
OUTLIER_ONE_BLOCK = (
    "An outlier {size} times as large as the largest of these {count} weights raises the mean error of the others from "
    "{before} % to {whole} %. A block of {block_size} holds them all, so it protects none: choose a smaller block size."
)
OUTLIER_UNIT = (
    "Real weights, the first {count} of {layer}, one of which is replaced. Errors are mean absolute errors of all "
    "other weights in % of their typical size (root mean square before the outlier), with {data_type} and 32-bit "
    "scales."
)
OUTLIER_WEIGHTS = "weights"
OUTLIER_WHOLE = "error, one scale for all"
OUTLIER_IN_BLOCKS = "error, a scale a block"
OUTLIER_AXIS = "position of the weight"
OUTLIER_DESCRIPTION = (
    "Above, {count} weights with an outlier at weight {place}. Below, the mean error of each block of {block_size} in "
    "% of the typical weight, first with one scale for all, then with a scale for each block. The table has the "
    "numbers."
)
OUTLIER_COLUMNS = ("Weights", "One scale for all", "A scale a block")
OUTLIER_ALL = "all"
OUTLIER_CAPTION = (
    "Mean absolute error of the weights beside the outlier, in % of the typical weight, by block of {block_size}, "
    "measured in the browser as the outlier moves."
)
OUTLIER_TOO_FEW = "An outlier needs neighbours: type at least two numbers."

QUESTION = "How is an input tensor quantized block by block with a quantization constant?"
OUTLIER_QUESTION = "Why is the input split into blocks that are quantized independently, and what do outliers do?"
