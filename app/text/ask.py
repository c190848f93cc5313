"""What the Ask tab says."""

TITLE = "Ask"
QUESTIONS = "Questions"
HEADING = "Ask the paper"
LEAD = (
    "Put a question about QLoRA. The answer is made of the paper's own sentences, each with its page, where you can "
    "see it marked. If the paper does not say, neither will this page."
)

QUESTION = "Your question"
PLACEHOLDER = "What are paged optimizers?"
ASK = "Ask"
EXAMPLES = "Or try one of these"
EXAMPLE_QUESTIONS = (
    "What are paged optimizers?",
    "How many bits per parameter does double quantization save?",
    "Which layers need LoRA adapters to match full finetuning?",
    "What Elo rating does Guanaco 65B reach?",
    "How much memory does the optimizer take for 7B in Figure 6?",
    "How does QLoRA perform on HumanEval?",
)

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
FROM_PAPER = "from the paper, p. {pages}"
FROM_NOTES = "from our notes on p. {pages}"
SOURCES = "Quoted from"
ALSO = "More on this"
SHOW_SOURCE = "Show source {number}: {origin}"
DECLINED = "The paper does not say."
NEAREST = "The nearest passages, which may not be what you asked for:"
SECONDS = "{seconds:.2f} s, measured"

EMPTY_PAGE = "Choose a numbered source to see it on its page."
NOTE_PASSAGE = "Our note on this page, in our own words:"
PAGE_PICTURE = "Page {page} of the paper with the quoted passage marked"
OPEN_ARXIV = "Open the paper on arXiv"
CREDIT = "{title}, {authors}. arXiv {arxiv}, {licence}."
