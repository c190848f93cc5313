"""What the Finetune tab says."""

TITLE = "Finetune"
HEADING = "Teach a 4-bit model something new"
LEAD = (
    "One click starts a real QLoRA run on this machine: a small language model is stored in 4 bits and frozen, LoRA "
    "adapters on every linear layer learn from questions and answers about QLoRA, and you watch it happen. When it is "
    "done, ask both models the same question."
)

PRESET = "Start from"
PRESETS = {
    "demo": "The demo",
    "short": "Quick look: a quarter of the steps",
    "small_device": "Too little memory: optimizer pages must move",
}
STEPS = "Steps"
STEPS_INFO = "how often the adapters are updated"
LEARNING_RATE = "Learning rate"
LEARNING_RATE_INFO = "how far each update goes"
RANK = "Rank r"
RANK_INFO = "width of the LoRA adapters; more can learn more"
MAX_LENGTH = "Longest sample, tokens"
MAX_LENGTH_INFO = "a longer answer is cut there"
BATCH_SIZE = "Batch size"
BATCH_SIZE_INFO = "samples a step looks at together"
BUDGET = "Device memory budget, MiB"
BUDGET_INFO = "0: no limit; too little, and optimizer pages leave when activations need the room"
DATA_TYPE = "4-bit data type"
DATA_TYPE_INFO = "of the frozen weights; the paper recommends NF4"
DATA_TYPES = {"nf4": "NF4", "fp4-e2m1": "FP4 (E2M1)", "fp4-e3m0": "FP4 (E3M0)", "int4": "INT4"}
UPLOAD = "Your own questions and answers (JSONL)"
UPLOAD_INFO = (
    "Without a file the run learns from the packaged questions about QLoRA. With yours: one JSON object a line, with "
    "“instruction” and “output” (and “input” if you like), or “prompt” and “completion”."
)
SETTINGS = "Settings"
EXACTLY = "Exactly what will run: configuration and command"
YAML_LABEL = "Configuration"
COMMAND_LABEL = "The same run from a shell, with this configuration in a file"
COMMAND = "qlora train config.yaml"

PLAN = (
    "{steps:,} steps, {batch} at a time of up to {max_length:,} tokens from {data}. {model} is stored in "
    "{data_type}{double_quantization} and stays frozen; adapters of rank {r} learn.{budget}"
)
PLAN_BATCH = ("{count} sample", "{count:,} samples")
PLAN_PACKAGED_DATA = "our questions about QLoRA"
PLAN_UPLOAD = "{count:,} samples in {name}"
PLAN_DOUBLE_QUANTIZATION = " with double quantization"
PLAN_BUDGET = " At most {budget:g} MiB may be on the device: optimizer pages make room when they must."
DEMO_MODEL = "SmolLM2-135M-Instruct"
DEMO_WEIGHTS = (
    "The packaged demo model was stored in 4 bits once before (Q4_1, the format of its package). The run decodes those "
    "weights and quantizes them again, so a little of the loss you see is older than this run."
)

START = "Start the run"
STOP = "Stop"
KILL = "End it now"
KILL_NOTE = "The trainer has not answered for {seconds:.0f} seconds. Ending it now loses what was not saved."

NO_RUN = "No run yet. Choose settings or keep them, then start."
STATES = {
    "starting": "Starting: loading the model and storing it in 4 bits.",
    "running": "Running on {device}.",
    "stopping": "Stopping: the current step is finished and the adapter saved.",
    "finished": "Finished.",
    "stopped": "Stopped.",
    "failed": "The run failed.",
    "lost": "The run was lost.",
}
STARTED_AT = "Run {id}"
RUN_GONE = "The folder of this run is no longer there."
UNREADABLE = "{count} damaged lines of the log were passed over; everything else is shown."
EMULATED_DEVICE = (
    "This machine has no GPU, so the run computes on the CPU and its “device” is emulated: an area of main memory with "
    "the budget that you set. Pages really are copied between it and a second area, and sizes, order and times are "
    "measured; only the bus of a GPU is missing."
)

LIVE_TITLE = "The run"
CARD_STEP = "Step"
CARD_STEP_OF = "of {steps:,} · {epoch:.2f} passes over {samples:,} samples"
CARD_LOSS = "Loss"
CARD_LOSS_FIRST = "first step"
CARD_LOSS_FROM_FIRST = "{change} from {first:.2f} in the first step"
CARD_LOSS_FROM = "mean of the last {count} steps; {change} from {first:.2f} in the first {count}"
CARD_SPEED = "Tokens a second"
CARD_SPEED_NOTE = "{seconds:.2f} s a step (medians over {count:,})"
CARD_TIME_LEFT = "Time left"
CARD_TIME_TAKEN = "Time taken"
CARD_TIME_NOTE = "{taken} since the start"
CARD_TIME_STEPS = "for {steps:,} steps, loading included"
CARD_MEMORY = "Memory on the device"
CARD_MEMORY_BUDGET = "of {budget:,.0f} MiB allowed, at the step's fullest moment"
CARD_MEMORY_FREE = "no budget set; at the step's fullest moment"
CARD_PAGES = "Pages on the device"
CARD_PAGES_NOTE = "of {pages:,} with {page:,.1f} MiB each, at that moment"

STEP_AXIS = "step"
LOSS_AXIS = "loss, nats a token"
LOSS_EACH_STEP = "each step"
LOSS_RANGE = "range of {steps} steps"
LOSS_SMOOTHED = "smoothed"
LEARNING_RATE_AXIS = "learning rate"
THROUGHPUT_AXIS = "tokens a second"
MEMORY_AXIS = "MiB on the device"
MEMORY_BUDGET = "budget"
PAGE_MOVES_AXIS = "optimizer pages moved a step"
PAGE_MOVES_AXIS_SUMMED = "optimizer pages moved in {steps} steps"
PAGES_ARRIVED = "to the device"
PAGES_LEFT = "away from it"
COMPONENTS = {
    "base_model": "base model",
    "adapters": "adapters",
    "gradients": "gradients",
    "optimizer": "optimizer pages",
    "activations": "activations",
}

LOSS_TITLE = "Training loss"
LOSS_DESCRIPTION = "Training loss over {steps} steps, from {first:.2f} to {last:.2f} nats a token (smoothed)."
LEARNING_RATE_TITLE = "Learning rate"
LEARNING_RATE_DESCRIPTION = "Learning rate over {steps} steps, from {first} to {last}."
THROUGHPUT_TITLE = "Tokens a second"
THROUGHPUT_DESCRIPTION = "Tokens a second over {steps} steps; {median:.0f} in the median."
MEMORY_TITLE = "Memory by component"
MEMORY_DESCRIPTION = "Memory on the device at the fullest moment of the last step: {components}."
PAGE_MOVES_TITLE = "Page moves"
PAGE_MOVES_DESCRIPTION = "{arrived:,} optimizer pages came to the device and {left:,} left it in {steps} steps."
TABLE_CAPTION = "Measured, from this run's log; memory in MiB at each step's fullest moment."
TABLE_CAPTION_THINNED = TABLE_CAPTION + " One step in {every} is shown."
TABLE_COLUMNS = ("step", "loss", "learning rate", "tokens/s")
TABLE_PAGE_COLUMNS = ("pages in", "pages out")

PAGES_TITLE = "Optimizer pages"
PAGES_STAYED = "All {pages} pages stayed on the device: nothing needed their room."
PAGES_NOT_YET = "No page has moved so far."
PAGES_SUMMARY = (
    "Moves off the device: {left:,}; back: {arrived:,}. A move of {page:.1f} MiB took {ms:.2f} ms in the median."
)
PAGES_LATEST = "Latest moves"
PAGE_MOVE = "{when}: {pages} {what}."
PAGE_NUMBERS = ("page {page}", "pages {page}", "pages {pages} and {last}")
PAGE_RUN = "{first} to {last}"
PAGE_STEP = "Step {step:,}"
PAGE_REASONS = {
    ("out", "activations"): "left the device: room for activations",
    ("out", "budget"): "left the device: room for another page",
    ("out", "out of memory"): "left the device: memory had run out, and the step ran again",
    ("in", "update"): "came to the device: the optimizer updates what belongs to it",
    ("in", "prefetch"): "came to the device ahead of time: the optimizer is about to reach it",
}
PAGE_OTHER_REASON = {"out": "left the device: {reason}", "in": "came to the device: {reason}"}
PAGE_BEFORE_FIRST = "Before the first step"

SAMPLES_TITLE = "The same question, before and after"
SAMPLE_BEFORE = "Before: the 4-bit base model"
SAMPLE_AFTER = "After step {step}"
SAMPLE_PENDING = "comes when the run ends"
SAMPLE_EMPTY = "(the model said nothing)"
SAMPLE_NOTE = "{tokens} tokens in {seconds:.1f} s"

ASK_TITLE = "Ask both"
ASK_LEAD = "The base model and the one that you finetuned answer the same question, word by word."
ASK_WAIT_FOR_RUN = "When a run has ended, this asks its model and the base model the same question."
ASK_PROMPT = "Question"
ASK_TOKENS = "Longest answer, tokens"
ASK = "Ask both"
ASK_STOP = "Stop answering"
ASK_BASE = "Base model, 4 bits"
ASK_FINETUNED = "Finetuned: base model and adapter"
ASK_LOADING = "Loading the model: {seconds:.0f} s so far."
ASK_WAITING = "waits for its turn"
ASK_ANSWERING = "answering"
ASK_DONE = "{tokens} tokens in {seconds:.1f} s"
ASK_EMPTY_PROMPT = "Write a question first: there is nothing to ask in an empty one."
ASK_LONG_PROMPT = "The question has {count:,} characters, but at most {most:,} are taken: shorten it."
ASK_NO_ADAPTER = "This run saved no adapter, so there is nothing to compare with: start a run and let it end."
ASK_ENDED = "The answering process ended before it was done{reason}."

GRADIENT_TITLE = "Gradient norm"
GRADIENT_AXIS = "gradient norm, before clipping"
GRADIENT_DESCRIPTION = "Norm of the adapters' gradient over {steps} steps; {median:.2g} in the median."

EXPECTED = "Expected memory: about {mib:,.0f} MiB at a step's fullest moment, {out:,.0f} MiB with all pages moved out."
EXPECTED_KEPT = (
    "Expected memory: up to {mib:,.0f} MiB at a step's fullest moment, {out:,.0f} MiB with all pages moved out; less "
    "where activations must be computed again."
)
EXPECTED_TIME = "Expected time: at most about {minutes:,} min at the pace of the latest run here, plus loading."

RUNS_TITLE = "Runs on this machine"
RUNS_SHOW = "Show"
RUNS_COMPARE = "Compare with"
RUN_LABEL = "{time} · {done} of {steps} steps · {data_type} · r {r} · {state}"
RUN_UNKNOWN = "{time} · its configuration cannot be read"
RESUME = "Resume this run"
ADAPTER = "Download the adapter (PEFT files)"
NO_ADAPTER = "This run saved no adapter: let a run end, or choose another one."
COMPARE_TITLE = "Two runs, smoothed training loss"
COMPARE_CHOOSE = "Choose a second run to see both losses on one chart and what was set differently."
COMPARE_NO_STEPS = "{name} has no finished step yet, so there is nothing to compare."
COMPARE_CONCLUSION = (
    "At step {step}, {better} has the lower loss: {lower:.2f} against {higher:.2f} (means of the last {count} steps)."
)
COMPARE_DESCRIPTION = "{name}: {steps} steps, smoothed loss {last:.2f} at the end"
COMPARE_CAPTION = "Training loss of both runs at each step, not smoothed, measured."
COMPARE_SETTING = "Setting"
COMPARE_SETTINGS = "Settings in which the two runs differ."
COMPARE_SAME = "Both runs have the same settings."

LIVE_QUESTION = "Which learning rate and batch size did the authors use for finetuning?"
COMPARE_QUESTION = "Does the LoRA rank r affect the final performance?"
