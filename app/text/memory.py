"""What the Memory tab says."""

TITLE = "Memory"
HEADING = "Where the memory goes"
LEAD = (
    "Finetuning a model in 16 bits takes about twelve bytes for every weight. QLoRA keeps the weights in 4 bits, "
    "trains only small adapters beside them, and so brings a 65-billion-weight model onto one 48 GB card."
)
WAITING = "Drawing the figure…"

#: Components of the paper's Figure 6, in its order.
FIGURE6_PARTS = {
    "model": "Model, 4-bit",
    "adapters": "Adapters",
    "weight_gradient": "Weight gradient",
    "optimizer": "Optimizer",
    "input_gradient": "Input gradient",
}
FIGURE6_TITLE = "The paper's Figure 6, recreated"
FIGURE6_CONCLUSION = (
    "Adapters and optimizer agree with the paper to the last digit at all four sizes and the 4-bit model within "
    "{deviation:.1f} %. The model itself is {share_small:.0f} % of the total at 7B and {share_large:.0f} % at 65B, so "
    "halving its bits is what counts."
)
FIGURE6_NOTE = (
    "Batch 1, up to 512 tokens, rank 64. The figure writes MB and GB; its numbers fit units of 2²⁰ bytes (MiB), and "
    "the cards are drawn in units of 2³⁰ bytes (GiB). The fifth common card, 80 GB, lies beyond the right edge."
)
FIGURE6_DESCRIPTION = "Stacked bars of memory in MiB by model size, the formula above the paper's bar. {sizes}."
FIGURE6_DESCRIPTION_SIZE = "{size}: {ours:,.0f} by formula, {paper:,.0f} in the paper; {parts}"
ROW_FORMULA = "formula"
ROW_PAPER = "paper"
BAR_FORMULA = "{mib:,.0f} MiB"
BAR_PAPER = "labelled {gb:.1f} GB"
CARD = "{size} GB"
MEMORY_AXIS = "GiB (dashed lines: common cards)"

TABLE_FIGURE6_CAPTION = (
    "MiB. Paper: model, adapters and optimizer are printed in the figure; weight gradient and input gradient are "
    "measured from its drawing (input gradient: middle of the bar's possible range)."
)
TABLE_FIGURE6_PART = "Part"
TABLE_FIGURE6_COLUMNS = ("{size} formula", "paper", "differs by")
TABLE_FIGURE6_SUM = "Sum"
TABLE_FIGURE6_FORMULAS = {
    "model": "4.5 bits a weight of the linear layers + 2 bytes for each other weight + {overhead:,.0f} MiB (fitted)",
    "adapters": "2 bytes · 64 · 18 · hidden size · layers",
    "weight_gradient": "the same as the adapters",
    "optimizer": "8 bytes · 64 · 18 · hidden size · layers",
    "input_gradient": "27 · hidden size · 512 tokens · 2 bytes, of one layer",
}
FORMULA_COLUMNS = ("Part", "Formula")
FORMULA_CAPTION = "The formulas; the paper prints none, they are derived from its numbers."
FORMULA_LABEL = "Show the formulas"

UNEXPLAINED_TITLE = "What the paper leaves unexplained"
UNEXPLAINED = (
    "The model's bars need a constant of {overhead:,.0f} MiB on top of the stored weights. It is fitted here; the "
    "paper does not say what it is.",
    "The bars look like measurements without double quantization: at 4.5 bits a weight the formula is within "
    "{plain:.1f} %, at the 4.127 bits of the text even the best constant leaves {nested:.1f} %. Stored as the text "
    "describes, the weights alone would be {arithmetic} MiB.",
    "The adapters fit 18 · hidden size a layer: a feed-forward part of two matrices. LLaMA's has three; counted so, "
    "the adapters would be {real_adapters} MiB.",
    "The input gradient's bar has no label. 27 · hidden size fits its height best, but at 65B that is {short:.0f} % "
    "below the bar's lower end.",
    "The 65B bar is labelled {label:.1f} GB. Its labelled parts and the weight gradient already add up to "
    "{labelled:,.0f} MB, and with the input gradient by formula to {sum65:,.0f} MB; at the other sizes label and sum "
    "agree.",
)

NO_FIGURES = "The paper's numbers are missing ({path}). They come with the repository; run from a clone of it."
BROKEN_FIGURES = "The paper's numbers in {path} cannot be read: {reason}. Get that file again from the repository."

OWN_TITLE = "Your own finetune"
STEP_TITLE = "One training step"
OWN_LEAD = (
    "The same question for any model and setting, with the bytes that this project's own format stores: 4-bit codes "
    "two to a byte, their scales, everything else in 16 bits."
)
MODEL = "Model"
OWN_MODEL = "Own numbers"
OWN_MODEL_IN_A_SENTENCE = "your own model"
METHOD = "Method"
METHODS = {
    "qlora": "QLoRA: 4-bit model, adapters",
    "lora": "LoRA: 16-bit model, adapters",
    "full": "Full finetuning, 16 bit",
}
METHOD_NAMES = {"qlora": "QLoRA", "lora": "LoRA on a 16-bit model", "full": "Full finetuning in 16 bits"}
RANK = "Adapter rank"
BATCH = "Sequences at once (batch)"
SEQUENCE = "Tokens in a sequence"
OPTIMIZER = "Optimizer"
OPTIMIZERS = {
    "paged-adamw-32bit": "Paged AdamW, 32-bit states",
    "adamw-32bit": "AdamW, 32-bit states",
    "paged-adamw-8bit": "Paged AdamW, 8-bit states",
    "adamw-8bit": "AdamW, 8-bit states",
}
CHECKPOINTING = "Activation checkpointing: keep one tensor a layer, compute the rest twice"
DOUBLE_QUANTIZATION = "Double quantization: store the scales in 8 bits too"
SHAPE_FOLD = "The model's shape (change a number for your own)"
SHAPE_FIELDS = {
    "hidden_size": "Hidden size",
    "layers": "Layers",
    "heads": "Attention heads",
    "key_value_heads": "Key and value heads",
    "intermediate_size": "Feed-forward width",
    "vocabulary_size": "Vocabulary size",
}
TIED = "Output head shares the embedding's weights"
NOT_A_NUMBER = "{label} must be a whole number, not {value}."
EMPTY = "empty"

COMPONENTS = {
    "base_weights": "Linear weights",
    "quantization_constants": "Scales of the 4-bit blocks",
    "unquantized_weights": "Embedding, head, norms",
    "workspace": "One decoded matrix",
    "adapters": "Adapters",
    "gradients": "Gradients",
    "optimizer_states": "Optimizer states",
    "activations": "Activations",
    "input_gradients": "Activation gradients",
    "logits": "Logits and loss",
}
#: Parts of a bar that share a colour, by what they belong to.
GROUPS = {
    "base-model": ("Model", ("base_weights", "quantization_constants", "unquantized_weights", "workspace")),
    "adapter": ("Adapters", ("adapters",)),
    "gradient": ("Gradients", ("gradients",)),
    "optimizer": ("Optimizer", ("optimizer_states",)),
    "activation": ("Activations and loss", ("activations", "input_gradients", "logits")),
}
MOMENTS = {"loss": "At the loss", "backward": "Backward pass", "update": "Update"}
PEAK = {
    "loss": "when the loss is computed",
    "backward": "during the backward pass",
    "update": "at the optimizer's update",
}
OWN_CONCLUSION = "{method} of {shape} needs {peak} at its peak, {moment}: {card}.{paged}"
FITS = "it fits on a card with {size} GB"
FITS_NONE = "more than any single card here has"
PAGED = " With all optimizer pages moved out it would be {resident}."
OWN_NOTE = (
    "{trainable:,} of {parameters:,} weights are trained ({share} %). Not counted: what the driver and the "
    "allocator take for themselves, so leave some room under the card's line."
)
OWN_DESCRIPTION = "Memory of {shape} by moment of a training step: {moments}."
TABLE_OWN = ("Component", "Bytes", "MiB", "Share of the peak")
TABLE_OWN_CAPTION = "{shape}, {method}: each component, and its share at the peak ({moment}). Computed by formula."
TABLE_OWN_LABEL = "Show every component as a table"
NOT_AT_PEAK = "not there"
COMPARISON_TITLE = "The same run with other methods"
TABLE_COMPARISON = ("Method", "Trained weights", "Peak", "Smallest common card")
TABLE_COMPARISON_CAPTION = "{shape}, batch {batch}, {sequence:,} tokens. Computed by formula."
COMPARISON_CONCLUSION = (
    "QLoRA's peak is {lora:.0f} % of LoRA's on a 16-bit model and {full:.1f} % of full finetuning's."
)
NO_CARD = "none of them"

FIGURE6_QUESTION = "Which parts make up the memory of finetuning in Figure 6?"
STEP_QUESTION = "How does gradient checkpointing change the memory of the input gradients?"
COMPARISON_QUESTION = "How much memory does regular 16-bit finetuning of a 65B model need, and how much does QLoRA?"

METHOD_SHORT = {"qlora": "QLoRA", "lora": "LoRA, 16 bit", "full": "Full, 16 bit"}
COMPARISON_DESCRIPTION = "Memory of {shape} at the peak of a training step: {methods}."

#: What a part of a bar says: name, formula, size.
PART = "{name}: {formula} = {size}"
TRAINED_ALL = "all weights"
TRAINED_ADAPTERS = "adapter weights at rank {r}"
FORMULA_CODES = "linear weights × 4 bits"
FORMULA_WHOLE_WEIGHTS = "linear weights × 16 bits"
FORMULA_CONSTANTS = "linear weights ÷ {block} × 32 bits"
FORMULA_NESTED = "linear weights ÷ {block} × (8 bits + 32 bits ÷ 256)"
FORMULA_STATES = "{trained} × 2 states × 32 bits"
FORMULA_STATES_8BIT = "{trained} × 2 states × (8 bits + 32 bits ÷ 256)"
FORMULA_INPUTS = (
    "each layer's input: layers × {batch} × {tokens:,} tokens × hidden size × 16 bits, and what the loss keeps"
)
FORMULA_ACTIVATIONS = "what the layers keep for the backward pass, for {batch} × {tokens:,} tokens in 16 bits"
FORMULAS = {
    "unquantized_weights": "weights that stay in 16 bits × 16 bits",
    "workspace": "the largest weight matrix × 16 bits",
    "adapters": "rank × (inputs + outputs) of every linear layer × 16 bits",
    "gradients": "{trained} × 16 bits",
    "input_gradients": "gradients inside the layer that is being computed, for {batch} × {tokens:,} tokens",
    "logits": "{batch} × {tokens:,} tokens × (vocabulary × 3 × 32 bits + hidden size × 16 bits)",
}

SAVINGS_TITLE = "Where the next 10 % would come from"
SAVINGS_AXIS = "lower peak, in % of the present one"
SAVINGS_CONCLUSION = "The largest saving, {percent:.0f} %: {change}. Changes that alone save 10 % or more: {count}."
SAVINGS_TOO_LITTLE = "No single change saves 10 %; the largest saving is {percent:.1f} %: {change}."
SAVINGS_NONE = "None of these settings lowers the peak any more: what is left is the model itself."
TABLE_SAVINGS = ("Change", "Lower peak")
TABLE_SAVINGS_CAPTION = "One change at a time, everything else as set. Computed by formula."
CHANGE_METHOD = "QLoRA: the model in 4 bits"
CHANGE_RANK = "half the rank: {r}"
CHANGE_BATCH = "half the batch: {batch}"
CHANGE_SEQUENCE = "half the tokens: {tokens:,}"
CHANGE_STATES = "optimizer states in 8 bits"
CHANGE_CHECKPOINTING = "activation checkpointing"
CHANGE_NESTED = "double quantization"
CHANGE_CHUNKS = "the loss in chunks of {tokens} tokens"
CHANGE_PAGES = "all optimizer pages moved out"

MEASURED_TITLE = "The formula against a GPU"
MEASURED_AXIS = "GiB at the peak of a step"
MEASURED_FORMULA = "by formula"
MEASURED_POINT = "measured"
MEASURED_KEPT = {True: "checkpointed", False: "all kept"}
MEASURED_RUN = "{model}, {batch} × {tokens:,}, {kept}"
MEASURED_ROW = "{name}: {formula:.2f} GiB by formula, {measured:.2f} GiB measured"
MEASURED_CONCLUSION = "In {count} measured runs the formula is at most {percent:.1f} % off the allocator's own peak."
MEASURED_NOTE = "Recorded on {device}, {date}, random weights, r {r}, {dtype}: {command}"
TABLE_MEASURED = ("Run", "Formula, GiB", "Measured, GiB", "Difference")
BROKEN_RESULTS = "The measured results in {name} cannot be read ({reason}). Get that file again from the repository."

READ_FOLD = "Another model: from the hub, or its config.json"
READ_NAME = "Name on the hub"
READ_NAME_INFO = "only its configuration is fetched, when you press Read"
READ = "Read"
READ_FILE = "config.json"
READ_OWN = "Your config.json"
READ_NOTHING = "Write a name such as mistralai/Mistral-7B-v0.3 first, or choose a config.json."
READ_TOO_LARGE = "A config.json has a few kilobytes; this file has more than {limit} MiB, so it is none."
