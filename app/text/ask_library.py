"""What the Papers part of the Ask tab says."""

TITLE = "Papers"
LEAD = (
    "The papers that questions can be put to. Add your own: it stays on this machine, and its passages can be asked "
    "about like the first paper's."
)
LOADING = "Looking at the shelf…"

CHOICE = "Questions are put to the papers that are ticked."
CHOICE_INFO = "A paper that you add is ticked at once."
ASKED_ONE = "Questions go to “{title}”."
ASKED_SEVERAL = "Questions go to {count} papers. Each source says which paper it is from."
ONE_STAYS = "One paper stays ticked. Tick another one first."

ADD_TITLE = "Add a paper"
UPLOAD = "Choose a file"
LIMITS = (
    "A PDF with text (up to {pdf_mib} MiB and {pages} pages), or OCR pages as JSONL, Markdown or plain text (up to "
    "{text_mib} MiB). Several pages of OCR or Markdown may be chosen at once and make one paper."
)
ARXIV = "arXiv number or address"
ARXIV_PLACEHOLDER = "2305.14314"
ARXIV_GET = "Get from arXiv"
ARXIV_NOTE = "arXiv is asked only when you press the button."

CHECKING = "Reading {name}…"
GETTING = "Getting {name} from arXiv"
INDEXING = "Indexing “{title}”"
PERCENT = "{percent} %"
ADDED = "“{title}” is added and ready to be asked about."
KNOWN = "“{title}” was here already; nothing was added twice."
REMOVED = "“{title}” is removed, with its file and index."
INDEXED_ANEW = "“{title}” has a new index."

MADE_FROM = {
    "pdf": "PDF",
    "ocr": "OCR pages",
    "markdown": "Markdown or text",
    "notes": "our notes, without the PDF",
}
PAGES_ONE = "1 page"
PAGES = "{count:,} pages"
SIZE_KIB = "{size:,.0f} KiB"
SIZE_MIB = "{size:,.1f} MiB"
COMES_WITH = "comes with this project"
ADDED_ON = "added {date}"
INDEXED = "indexed"
NOT_INDEXED = "not indexed yet: done with the first question"
ARXIV_NUMBER = "arXiv {number}"

REINDEX = "Index anew"
REMOVE = "Remove"
REMOVE_QUESTION = "Remove “{title}” with its file, index and page pictures? Votes and answers are kept."
REMOVE_YES = "Yes, remove it"
REMOVE_NO = "Keep it"
ACTION_LABEL = "{action}: {title}"

SIMILAR_TITLE = "What is alike"
SIMILAR_LEAD = (
    "How near papers are to each other by the meaning of their passages, and the same for the sections of one paper."
)
SIMILAR_OF = "Paper"
COMPARE = "Compare"
COMPARING = "Comparing “{title}” with the others"
SIMILAR_LIST = "Most like “{title}”"
SIMILAR_COLUMNS = ("Paper", "Likeness")
SIMILAR_CAPTION = "Cosine between the papers' vectors: 1 for the same text, about 0 for nothing in common."
SIMILAR_ALONE = "There is no other paper here to compare with. Add one above; the sections are compared below."
SIMILAR_CONCLUSION = "Of {count} other papers, “{title}” is nearest, at {score:.2f}."
SIMILAR_CONCLUSION_ONE = "The only other paper, “{title}”, is at {score:.2f}."
SECTIONS_TITLE = "Sections of “{title}” by likeness"
NO_SECTIONS = "“{title}” has no sections that could be compared."
NOT_COMPARED = "“{title}” is left out: {problem}"
