"""What the Paging tab says, and what the recordings are called."""

from typing import NamedTuple


class RecordingText(NamedTuple):
    """A recording's name in a list, and why it was made."""

    title: str
    reason: str


RECORDINGS = {
    "smollm2-cpu-budget": RecordingText(
        "SmolLM2-135M under a budget: long texts push pages out",
        "A run under a memory budget: short texts fit beside all optimizer pages, and six long ones do not.",
    ),
    "smollm2-cpu-free": RecordingText(
        "The same run without a budget: no page moves",
        "The same run without a budget, to see what moving pages costs.",
    ),
    "smollm2-cpu-step": RecordingText(
        "SmolLM2-135M: one step with a long text",
        "The memory of one step with a long text under the budget, after every operator.",
    ),
    "llama-7b-cuda-budget": RecordingText(
        "LLaMA 7B's shape on a GPU under a budget: long texts push pages out",
        "A run of 7B's shape under a memory budget: short texts fit beside all optimizer pages, six long ones do not.",
    ),
    "llama-7b-cuda-free": RecordingText(
        "LLaMA 7B's shape on a GPU without a budget: no page moves",
        "The same run of 7B's shape without a budget, to see what moving pages costs.",
    ),
    "llama-7b-cuda-step": RecordingText(
        "LLaMA 7B's shape on a GPU: one step with a long text",
        "The memory of one step of 7B's shape with a long text under the budget, after every operator.",
    ),
}

TITLE = "Paging"
HEADING = "When memory runs out, optimizer pages leave; when they are needed, they come back"
LEAD = (
    "AdamW keeps two numbers for every trained weight. Cut into pages, they stay on the device while there is room, "
    "step aside into main memory when one long text needs the room for its activations, and return for the update. "
    "The run does not fail, and while everything fits it costs nothing."
)
WAITING = "Reading the recording…"

SOURCE = "What is shown"
SOURCE_RECORDED = "Recorded: {title}"
SOURCE_RUN = "This machine: run of {when}{state}"
SOURCE_LIVE = " (going on)"
SOURCE_GONE = "This run is no longer on this machine. Choose another one above."
NO_RECORDINGS = (
    "No recording of a run is there: they come with the repository, so run from a clone of it. A run of your own can "
    "be started below and is shown here."
)
NO_PAGES = "This log does not say which pages the run has, so there is nothing to replay: its first event is missing."
NOT_YET = "The run is loading its model; its pages appear with the first step."
NO_STEP_YET = "No step of this run has finished, so nothing has moved yet."
CUT = "The file of this recording ends in the middle: what comes before is shown."
UNREADABLE = "{count} damaged lines of the log were passed over; everything else is shown."
STARTED_AT = "{when:%Y-%m-%d %H:%M} UTC"

ORIGIN_RECORDED = "on {device}, {date}, threads: {threads}"
ORIGIN_RECORDED_GPU = "on {device}, {date}"
ORIGIN_MEASURED = "on this machine: {device}"
EMULATED = (
    "There was no GPU: the “device” is emulated, an area of main memory with a limit. Pages really are copied, and "
    "which, when and how many bytes is real; only a GPU’s bus is missing, so times of copies say nothing about one."
)
OVER_LIMIT = "On a GPU memory is looked at between layers: within one the limit was passed, by {over:,.0f} MiB at most."
MADE_WITH = "How it was made"
MADE_WITH_WORDS = "{reason} Command: {command}. Versions: {versions}."

REPLAY_TITLE = "Every page, at every moment"
CONCLUSION_MOVED = (
    "{quiet} When a batch of {tokens:,} tokens came (step {step}), {away} of {pages} pages stepped aside{back}. "
    "Copying took {share} of the time of {moving}."
)
QUIET_NONE = "Pages moved in every step so far."
QUIET_SOME = "In {quiet} of {steps} steps nothing moved."
MOVING = ("the one step in which pages moved", "the {count} steps in which pages moved")
BACK_IN_STEP = " and were all back when the step ended"
CONCLUSION_STAYED = (
    "All {pages} pages stayed on the device in {steps}: while there is room nothing moves, and paging costs nothing."
)
STAYED = ("the one step so far", "all {count} steps")
ASK_PAGING = "How do paged optimizers work?"
ASK_COST = "When do paged optimizers slow training down?"

PLAY, PAUSE = "Play", "Pause"
SPEED = "Speed"
SPEEDS = {"0.5": "0.5×", "1": "1×", "4": "4×", "16": "16×", "all": "all at once"}
FIRST_SPEED = "4"
MOMENT = "Moment of the run"
KEYS = "Space plays, arrows go event by event, Home and End go to the ends; the chart below can be dragged."
PLAYER = "Replay of the run's pages"

# The script fills these in; their names are those of app/scripts/paging.js.
WHEN = "{when} · {clock} after the start"
WHEN_STEP = "step {step}"
WHEN_BEFORE = "before the first step"
WHEN_AFTER = "after the last step"
GRID_LABEL = "{pages} optimizer pages: {resident} on the device, {away} away, {unused} not used yet. {moving}"
MOVING_OUT = "Page {page} is leaving."
MOVING_IN = "Page {page} is coming back."
PAGE_LABEL = "page {page}: {where}"
COUNT_RESIDENT = "On the device"
COUNT_AWAY = "Away, in main memory"
COUNT_MOVES = "Moves so far"
COUNT_MIB = "{mib} MiB"
COUNT_MOVES_NOTE = "{out} out, {in} back"
LATEST = "Latest moves"
LATEST_NONE = "No page has moved so far."
UNDER_WAY = "{words} (under way)"
NOW = "Now"
FULLEST = "Fullest moment of step {step}"
BAR_LABEL = "{name}: {parts}"
BAR_PART = "{name} {mib} MiB"
ROOM = "room for activations"
OVER = "more than the limit"
LIMIT_WORDS = "limit {mib} MiB"
NO_LIMIT = "no limit"

LEGEND_RESIDENT = "on the device"
LEGEND_AWAY = "away"
LEGEND_MOVING = "moving"
LEGEND_UNUSED = "not used yet"
COMPONENTS = {
    "base_model": "base model",
    "adapters": "adapters",
    "gradients": "gradients",
    "optimizer": "optimizer pages",
    "activations": "activations",
}

# Charts.
ON_THE_DEVICE = "page on the device"
AWAY = "page away"
PAGES_ON_DEVICE = "optimizer pages"
ACTIVATIONS = "activations"
LIMIT = "limit"
PAGES_AXIS = "number of the page"
MEMORY_ABOVE_AXIS = "MiB on top of {constant:,.0f} that never move"
STEP_TIME_AXIS = "end of step (distance: time)"
RUN_CHART_TITLE = "Where each page was"
RUN_CHART_DESCRIPTION = (
    "Each row of the upper part is one of {pages} optimizer pages over {steps} steps, in another colour while it was "
    "away; {absences} times a page was away. The lower part shows the pages that were on the device, and above them "
    "the activations at each step's fullest moment{limit}."
)
RUN_CHART_LIMIT = ", under a limit of {limit:,.0f} MiB"
RUN_CHART_NOTE = (
    "Weights, adapters and gradients ({constant:,.0f} MiB) never move and are left out below; activations are drawn up "
    "to each step's fullest moment. Long steps are wide, because the distance is time."
)
RUN_TABLE = (
    "step", "tokens", "seconds", "pages out", "pages in", "copying, ms", "pages at the fullest moment, MiB",
    "activations, MiB", "in all, MiB",
)  # fmt: skip
RUN_TABLE_CAPTION = "{origin}: each step's moves and its fullest moment."
RUN_TABLE_THINNED = " One step in {every} is shown."

STEP_TITLE = "One step from inside"
STEP_CONCLUSION = (
    "Activations pile up in the forward pass, because the backward pass needs them. At {tokens:,} tokens they and the "
    "pages do not fit together: {left:,.0f} of {pages:,.0f} MiB of pages leave just before the top, and come back for "
    "the update, when the activations are gone."
)
STEP_CONCLUSION_FITS = (
    "Activations pile up in the forward pass, because the backward pass needs them. Here they and the pages fit "
    "together: nothing leaves."
)
STEP_CHART_TITLE = "Memory of one step"
STEP_DESCRIPTION = (
    "Pages and activations in MiB after each of {operators:,} operators: pages {first:,.1f} at first, {least:,.1f} at "
    "least, {last:,.1f} at the end; activations {most:,.1f} at most{limit}."
)
STEP_NOTE = (
    "Operators and not seconds, because looking at memory after each one takes time of its own. Of neighbouring "
    "operators the fullest is drawn."
)
STEP_TABLE = ("operator", "phase", "activations, MiB", "pages on the device, MiB")
STEP_TABLE_CAPTION = "{origin}: memory on top of {constant:,.1f} MiB of weights, adapters and gradients."
NO_STEP = "The recording of one step is missing or cannot be read: {problem}"
NO_STEP_RECORDING = "no recording of one step is there. It comes with the repository, so run from a clone of it."
STEP_UNREADABLE = "{name} holds no step that can be read. Get the file again from the repository."
OPERATORS_AXIS = "operators, in the order in which they ran"
PHASES = {"forward": "forward", "backward": "backward", "update": "update"}

TRY_TITLE = "Set a limit of your own"
BUDGET = "Limit of the device, MiB"
BUDGET_INFO = "the demo model needs about 198 for weights, adapters and gradients, and 37 for pages"
START = "Start a run under this limit"
STOP = "Stop it"
TRY_LEAD = (
    "A real run of the demo model on this machine, {steps} steps: where there is no GPU, on an emulated device. It is "
    "shown here as it happens, and in Finetune with its loss."
)
NO_LIMIT_GIVEN = "The limit must be a number of MiB: move the slider."
STARTED = "The run has begun and is shown above."
STATES = {
    "starting": "Starting: loading the model and storing it in 4 bits.",
    "running": "Going on.",
    "finished": "Finished.",
    "stopped": "Stopped.",
    "failed": "The run failed: {message}",
    "lost": "The run was lost: {message}",
    "stopping": "Stopping after the step at hand.",
}

COST_TITLE = "When does paging cost?"
COST_CONCLUSION = (
    "{model}, {batch} × {sequence:,} tokens: moving {moved} out and back takes {gen4} over {bus4}, beside {compute} of "
    "computing: {share4} more time ({share5} over {bus5}). {judgement}"
)
COST_JUDGEMENTS = (
    (1, "Too little to notice."),
    (5, "Hardly to be noticed."),
    (25, "That can be noticed: larger batches would hide it."),
    (float("inf"), "That is slow: so few tokens leave nothing to hide the moving behind."),
)
COST_NOTE = (
    "Computing: 6 · parameters · tokens / speed (forward, forward again for checkpointing, gradients of the inputs; "
    "frozen weights need no gradient). Moving: what leaves, out and in, over the bus at its best. Computing "
    "grows with the tokens and moving does not, so the share falls as batches grow. At most all {state} leave, once a "
    "step, and only in steps whose activations need the room."
)
COST_PAPER = (
    "The paper (section 4, page 6) gives no measurements of paging, because it only happens with long sequences, which "
    "are rare. It reports that 65B models on 48 GB cards train as fast with paged optimizers as with regular ones at a "
    "batch of 16, and leaves open when they become slower."
)
COST_PAPER_COMPUTED = (
    "For that case the formula says {share} more time over {bus}, with all state moving, {speed} TFLOP/s and "
    "{sequence} tokens a sequence (the paper gives no length; Table 9 has 384 for the source and 128 for the target)."
)
COST_RECORDED = (
    "In the recorded run ({device}) {moved} moved in {moves:,} copies, which took {ms}: {share} of the time of the "
    "{steps} steps in which pages moved, {all_share} of the whole run{waited}."
)
COST_WAITED = "; the update waited for them {ms} in all"
COST_EMULATED = " (an emulated device: main memory to main memory, not a bus)"
COST_MODEL = "Model"
COST_BATCH = "Sequences in a step (batch)"
COST_SEQUENCE = "Tokens in a sequence"
COST_EVICTED = "Optimizer state that must leave, %"
COST_HIDDEN = "Moving hidden behind computing (prefetch), %"
COST_SPEED = "What the GPU reaches, TFLOP/s"
COST_SPEED_INFO = "an assumption; this project’s own 7B step reached {reached:,.0f} on an {device} (recorded)"
COST_SPEED_INFO_PLAIN = "an assumption; data sheets say what it could reach at best"
COST_AXIS = "time for moving pages, per cent of computing"
TOKENS_AXIS = "tokens in a step (batch × sequence)"
COST_PAPER_MARK = "paper: batch 16"
COST_CHART_TITLE = "What moving pages adds to a step"
COST_DESCRIPTION = (
    "Moving time in per cent of computing time over the tokens of a step, for {model}. {lines}. It falls tenfold when "
    "tokens grow tenfold."
)
COST_DESCRIPTION_LINE = "{bus}: {share} at {tokens:,} tokens"
COST_TABLE = ("tokens in a step", "computing, s")
COST_TABLE_BUS = ("{bus}: moving, s", "{bus}: more time, %")
COST_TABLE_CAPTION = "Computed by formula for {model}: {moved} out and back in each step."
