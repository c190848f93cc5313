"""What the Ask tab says."""

TITLE = "Ask"
QUESTIONS = "Questions"
HEADING = "Ask the paper"
LEAD = (
    "Put a question about QLoRA. Answers quote the paper and show the page where each sentence stands. What the paper "
    "does not say is not answered."
)

QUESTION = "Your question"
PLACEHOLDER = "What are paged optimizers?"
ASK = "Ask"
STOP = "Stop"
NEW = "New conversation"
BUSY = "An answer is being written. Stop it, or ask again when it is there."
EARLIER = "Your earlier questions"
EARLIER_NOTE = "Kept on this machine. Choose one to ask it again."
EXAMPLES = "Or try one of these"
EXAMPLE_QUESTIONS = (
    "What are paged optimizers?",
    "How many bits per parameter does double quantization save?",
    "Which layers need LoRA adapters to match full finetuning?",
    "What Elo rating does Guanaco 65B reach?",
    "How much memory does the optimizer take for 7B in Figure 6?",
    "How does QLoRA perform on HumanEval?",
)

WRITER = "Who answers"
WHO_ANSWERS = "Who answers: {writer}"
WRITER_WITH_MODEL = "{writer}, {model}"
WRITER_WITH_ADAPTER = "{writer}, finetuned on {run}"
WRITERS = {
    "extractive": "The paper's own sentences",
    "local": "A small model on this machine",
    "ollama": "Ollama",
    "openai": "OpenAI-compatible server",
}
ABOUT_WRITERS = {
    "extractive": "Quotes the sentences that answer, word for word. At once, and nothing is invented.",
    "local": (
        "A language model stored in 4 bits writes the answer here, from the best passages. It is small and often "
        "wrong, so every sentence is checked. The first answer waits for the model to load."
    ),
    "ollama": (
        "A model served by Ollama at {host} reads the best passages and may look for more. Every sentence is checked. "
        "OLLAMA_HOST sets the address."
    ),
    "openai": (
        "A model on {host} reads the best passages. Your question and those passages go there. Every sentence is "
        "checked. OPENAI_BASE_URL sets the address and OPENAI_API_KEY the key, where the app is started."
    ),
}
NO_HOST = {"ollama": "this machine", "openai": "a server that is not named yet"}
ADAPTER = "Finetuned in the Finetune tab"
NO_ADAPTER = "No, the model as it is"
ADAPTER_OF = "The run of {run}"
ADAPTER_GONE = "This run's adapter is no longer there. Choose another one."
MODEL_LABELS = {
    "local": "Folder of another model (empty: the demo model)",
    "ollama": "Model (empty: the usual one)",
    "openai": "Model",
}
MODEL_NAME_WRONG = "A model's name has up to {most} letters, digits and marks on one line."
NO_SUCH_FOLDER = (
    "There is no such folder on the machine that serves this page. Name a model's folder, or leave it empty."
)
FOLDER_OR_ADAPTER = "A finetuned run brings its own model. Leave the folder empty, or choose the model as it is."

STATUS_CHECKING = "Looking for the paper…"
STATUS_PDF = "The paper is here. Answers quote it and show the page."
STATUS_NOTES = (
    "The paper's PDF is not here, so answers come from our own notes on it. They name the page; to see it marked, get "
    "the PDF ({licence}) or add your copy."
)
STATUS_READING = "Reading it for the first time: {percent} %"
STATUS_PREPARING = "Getting ready…"
STATUS_READY = "{count} passages are ready."
STATUS_DOWNLOADING = "Getting the PDF from arXiv: {percent} %"
DOWNLOAD = "Get it from arXiv"
UPLOAD = "Add your copy (PDF)"

LOOKING = "Looking through the paper…"
LOOKING_NOTES = "Looking through our notes…"
LOOKING_SEVERAL = "Looking through {count} papers…"
WAITING_FOR_MODEL = "Reading the best passages…"
WAITING_FOR_LOCAL = "Reading the best passages… A model that was not used yet is loaded first."
WRITING = "Writing. Every sentence is checked when the answer is done."
STOPPING = "Stopping…"
STEP_RUNNING = "Looking for “{query}”…"
STEP_DONE = "Looked for “{query}”: {count} passages"
STEP_ONE = "Looked for “{query}”: 1 passage"
UNDERSTOOD = "Understood as: {question}"

VERDICTS = {"supported": "In the passages", "weak": "Partly in the passages", "unsupported": "Not in the passages"}
VERDICT_MARKS = {"supported": "✓", "weak": "?", "unsupported": "×"}
LEGEND = "What the marks behind sentences mean"
REASON_HINT = "Point at a mark, or tap it, to read why."
STANDS = "Page {page} says: “{quote}”"
STANDS_IN = "“{name}”, page {page}, says: “{quote}”"
NEAREST_SENTENCE = "The nearest is on page {page}: “{quote}”"
NEAREST_IN = "The nearest is on page {page} of “{name}”: “{quote}”"
SUMMARY_ALL = "All {count} sentences are in the passages."
SUMMARY_ONE = "The one sentence is in the passages."
SUMMARY_NONE = "None of it is in the passages: do not rely on it."
SUMMARY = (
    "{unsupported} of {count} sentences is not in the passages: do not rely on it.",
    "{unsupported} of {count} sentences are not in the passages: do not rely on them.",
)
SUMMARY_WEAK = (
    "{weak} of {count} sentences is only partly in the passages.",
    "{weak} of {count} sentences are only partly in the passages.",
)
QUOTED = "Quoted word for word."
WRITTEN_BY = "Written by {model}."
DISAGREES = "The paper disagrees with itself about {about}"
DISAGREES_NAMED = "“{name}” disagrees with itself about {about}"
DISAGREEMENT_COLUMNS = ("What it says", "Where", "Source")
PLACE_ON_PAGE = "{place}, p. {page}"

VOTES = "Is this answer helpful?"
HELPFUL = "Helpful"
NOT_HELPFUL = "Not helpful"
ANSWER_GONE = "This answer belongs to an earlier visit. Ask the question again."
COPY_TEXT = "Copy citation"
COPY_BIBTEX = "Copy BibTeX"
COPIED = "Copied"
COPY_FAILED = "Not copied: select the text and copy it"
SOURCE_GONE = "This source belongs to an earlier visit. Ask the question again."
NO_SUCH_SOURCE = "There is no such source. Ask the question again."
PDF_GONE = "The paper's PDF is no longer there. Get it again to see the page."
FROM_PAPER = "from the paper, p. {pages}"
FROM_NOTES = "from our notes on p. {pages}"
FROM_NAMED_PAPER = "“{name}”, p. {pages}"
FROM_NOTES_ON_NAMED = "our notes on “{name}”, p. {pages}"
SOURCES = "Quoted from"
CHECKED_AGAINST = "Its sentences were held against"
ALSO = "More on this"
SHOW_SOURCE = "Show source {number}: {origin}"
DECLINED = "The paper does not say."
DECLINED_SEVERAL = "These papers do not say."
HAS_NOTHING = "“{name}” has nothing on this. {reason}"
DOES_NOT_SAY = "“{name}” does not say. {reason} The nearest passage:"
NEAREST = "The nearest passages, which may not be what you asked for:"
SECONDS = "{seconds:.2f} s, measured"

EMPTY_PAGE = "Choose a numbered source to see it on its page."
NOTE_PASSAGE = "Our note on this page, in our own words:"
PAPER_PASSAGE = "The passage; there is no picture of this page:"
PAGE_PICTURE = "Page {page} of the paper with the quoted passage marked"
OPEN_ARXIV = "Open the paper on arXiv"

ASKED_OF = "Asked of:"
CHOOSE_PAPERS = "Tick others under Papers."
COMPARE = "Compare: hear each paper"
