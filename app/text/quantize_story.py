"""What the Quantize tab says about the construction of NormalFloat and about double quantization."""

CONSTRUCTION_TITLE = "How the sixteen levels arise"
CONSTRUCTION_LEAD = (
    "NormalFloat puts a level wherever the same share of normally distributed weights lies between neighbours, keeps "
    "an exact zero, and spans −1 to 1. Four steps lead there; no weight of any model is needed for them."
)
BITS = "Bits of a weight (k)"
BITS_INFO = "2 to 8; QLoRA uses 4"
STEP = "Step"
STEPS = ("1 Density", "2 Equal masses", "3 Two halves", "4 Rescale")
PREVIOUS = "← Previous step"
NEXT = "Next step →"

STEP_TITLES = (
    "Most weights lie near zero",
    "{count} slices of the same mass",
    "Two halves that share one zero",
    "Divided by the largest, they span −1 to 1",
)
STEP_SENTENCES = (
    "Weights of a trained layer are close to normally distributed. {count} evenly spaced levels from −3 σ to 3 σ would "
    "spend half of their number on the {outer:.0f} % of weights beyond ±1.5 σ.",
    "Cut the area into {count} slices that hold {share:.3g} % of the weights each: narrow where weights are many, wide "
    "where they are few. Two faults remain: zero is an edge, so nothing stands for an exact zero, and the outermost "
    "slices reach to infinity.",
    "So each half is cut for itself: {positive} levels above zero, {negative} below, and zero once make {count}. The "
    "outermost stop at probability {top:.4f} = 1 − δ, where the normal curve is still finite: δ is the mean of "
    "1 ∕ {first} and 1 ∕ {second}.",
    "The largest quantile is {largest:.3f} σ. Divided by it, the levels span exactly −1 to 1, the range of a block of "
    "weights after division by its largest magnitude. {agreement}",
)
AGREES = "The sixteen levels agree with those that the paper prints (Appendix E) to {difference:.1e}."
AGREES_OTHER = "With {bits} bits this is NF{bits}, {count} levels; the paper prints those of NF4 only."

DENSITY_X = "weight in standard deviations (σ)"
DENSITY_Y = "how many weights"
LEGEND_EVEN = "evenly spaced level"
LEGEND_BEYOND = "beyond ±1.5 σ"
LEGEND_EDGE = "edge of a slice"
LEGEND_LEVEL = "level of NF{bits}"
HALF = "{count} levels"
LEGEND_ZERO = "the shared zero"
ROW_BEFORE = "in σ"
ROW_AFTER = "divided"

STEP_DESCRIPTIONS = (
    "The normal density with {count} evenly spaced levels from −3 to 3 standard deviations under it; the tails beyond "
    "1.5 standard deviations are shaded.",
    "The normal density cut into {count} slices of equal area, at {values} standard deviations.",
    "The normal density with {negative} quantiles below zero, zero itself and {positive} above, at {values} standard "
    "deviations.",
    "Two rows of {count} marks joined by lines: the quantiles in standard deviations above, the levels from −1 to 1 "
    "below: {values}.",
)
STEP_COLUMNS = (
    ("Evenly spaced level", "Position in σ", "Share of weights nearest to it"),
    ("Slice", "From (σ)", "To (σ)", "Share of weights"),
    ("Code", "Probability below", "Quantile (σ)"),
    ("Code", "Quantile (σ)", "Level"),
)
STEP_CAPTIONS = (
    "{count} evenly spaced levels and the share of a normal distribution nearest to each, computed by formula.",
    "{count} slices of equal mass of a normal distribution, computed by formula.",
    "The quantiles of NF{bits}, computed by formula.",
    "The levels of NF{bits}: quantiles divided by the largest, computed by formula.",
)

DOUBLE_TITLE = "The scales are quantized too"
DOUBLE_CONCLUSION = (
    "A 32-bit scale for every {block_size} weights costs {before:.3f} bits a weight. Storing the scales in 8 bits, "
    "with one 32-bit scale for every 256 of them, takes that to {after:.3f}: {saved:.3f} bits less, or {gigabytes:.2f} "
    "GB for 65 billion weights."
)
DOUBLE_STEP = "Show"
DOUBLE_STEPS = ("1 A scale a block", "2 Scales in 8 bits", "3 With their own scale")
DOUBLE_ROWS = (
    "32-bit scale a block",
    "8-bit scale a block",
    "… and a 32-bit scale of 256 scales",
)
DOUBLE_FORMULAS = ("32 ∕ {block}", "8 ∕ {block}", "8 ∕ {block} + 32 ∕ ({block} · 256)")
DOUBLE_SENTENCES = (
    "Each block of {block} weights keeps its largest magnitude as one 32-bit number: 32 ∕ {block} = {bits:.3f} bits "
    "a weight on top of the 4 of its code.",
    "The scales of neighbouring blocks are alike, so 8 bits serve once their mean is subtracted: 8 ∕ {block} = "
    "{bits:.3f} bits. But those 8 bits need a scale as well.",
    "That second scale, 32 bits for 256 first scales, is shared by 256 · {block} = {shared:,} weights and adds "
    "{last:.5f}: {bits:.3f} bits in all.",
)
DOUBLE_AXIS = "bits a weight, beside the 4 bits of the code"
DOUBLE_DESCRIPTION = "Bits a weight that the scales cost in blocks of {block}. {rows}."
DOUBLE_COLUMNS = ("What is stored", "Formula", "Bits a weight for scales", "Bits a weight in all")
DOUBLE_CAPTION = "Cost of the scales with blocks of {block} weights, computed by formula (section 3 of the paper)."
DOUBLE_MEASURED = (
    "Measured on {layer}: with 8-bit scales the mean absolute error is {with_it:.3f} % of the typical weight, with "
    "32-bit scales {without:.3f} %; {stored:.3f} instead of {plain:.3f} bits a weight are stored."
)

DOUBLE_QUESTION = "How many bits per parameter does double quantization save?"
