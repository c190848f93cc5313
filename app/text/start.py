"""What the Start tab says: the story in one picture."""

TITLE = "Start"
HEADING = "QLoRA in one picture"
LEAD = (
    "A frozen model in 4 bits, a small adapter that learns, and an optimizer whose memory can step aside. Choose a "
    "box to open the part of the page that explains it."
)
DIAGRAM_TITLE = "One QLoRA layer"
CONCLUSION = (
    "Only {share:.1f} % as many weights as the model has are trained: {trainable:,} beside {parameters:,} that stay "
    "frozen. The frozen ones take {base:,.0f} MiB instead of {half:,.0f} MiB in 16 bits, and the whole step "
    "{total:,.0f} MiB at its fullest moment."
)
CAPTION_STEP = "Step {step} of {steps}"
RANDOM_MODEL = "LLaMA 7B's shape with random weights"
CAPTION_RUN = "The numbers are of a recorded run: {model} on {device}, {date}."
EMULATED = "There was no GPU in it: the device is emulated, pages are copied between two areas of main memory."
NO_RECORDING = "The recorded run cannot be read ({reason}), so the picture has no numbers."
QUESTION = "How does QLoRA compute the output of a linear layer?"
NO_RUN_RECORDED = "there is none"
NO_STEPS_RECORDED = "it holds no finished step"
PLAY, PAUSE = "Play the recorded run", "Pause"
SCRUB = "Step of the recorded run"

# Box -> (title, what it is, tab that explains it, element there).
BOXES = {
    "tokens": ("Text", "{tokens} tokens", "finetune", "finetune-plan"),
    "codes": ("Weights in 4 bits", "{base_model} MiB, frozen", "quantize", "quantize-levels"),
    "decode": ("Decode", "level × block’s scale", "quantize", "quantize-levels"),
    "product": ("Product", "x · W in {compute}", "memory", "memory-own"),
    "adapter": ("LoRA adapter", "rank {r}: {adapters} MiB", "finetune", "finetune-settings"),
    "loss": ("Loss", "{loss} nats a token", "finetune", "finetune-cards"),
    "optimizer": ("Paged optimizer", "{pages_on_device} of {pages} pages on the device", "paging", ""),
    "gradient": ("Gradient", "{gradients} MiB, adapter only", "memory", "memory-own"),
}
ALTERNATIVE = (
    "A text goes two ways through a layer. Along the first, 4-bit weights are decoded with one scale a block and "
    "multiplied with it in 16 bits. Along the second it passes the two small matrices of a LoRA adapter. Both results "
    "are added and lead to the loss. Gradients flow back through the frozen weights but are kept for the adapter "
    "alone, and the paged optimizer updates it; its pages lie on the device or in main memory."
)
FORWARD, BACKWARD = "forward", "backward: gradients for the adapter only"
PAGES = "Optimizer pages: on the device, and in main memory"

FIRST_TITLE = "Two minutes"
FIRST = (
    ("See what 4 bits keep", "Change the block size and watch the error.", "quantize", "quantize-block-size"),
    ("See where the memory goes", "Move the rank and the sequence length.", "memory", "memory-rank"),
    ("Train a real model here", "One click; the loss moves after seconds.", "finetune", "finetune-start"),
    ("Watch pages move", "Replay a run whose memory ran short.", "paging", ""),
    ("Ask the paper", "Every sentence of the answer shows its page.", "ask", "ask-question"),
)
