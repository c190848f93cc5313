"""What the 4-bit search part of the Ask tab says."""

from app.text.quantize import DATA_TYPES

TITLE = "4-bit search"
HEADING = "Search with the embedding model itself in 4 bits"
LEAD = (
    "A small embedding model turns every passage and every question into a vector; search looks for vectors that are "
    "near. Here its linear layers are stored as QLoRA stores a language model's, the paper is embedded again, and our "
    "test questions are searched among the new vectors."
)
WAITING = "Looking for the recording…"

NAMES = {"fp32": "fp32", **DATA_TYPES}
GROUPS = {"dense": "By vectors alone", "whole": "Vectors and words, as used here"}
METRICS = {
    "recall_at_1": "Right passage first",
    "recall_at_5": "Among the first five",
    "mean_reciprocal_rank": "Mean reciprocal rank",
}
FIRST_FIVE = "recall_at_5"
AXIS = "share of the questions; mean of 1 / place"
AXIS_NARROW = "share; mean of 1 / place"

CHART_TITLE = "Retrieval quality by the embedding model's data type"
CONCLUSION = (
    "With its linear layers in 4 bits ({share:.0f} % of their bytes), the embedding model loses {dense} from the first "
    "five by vectors alone, and {whole} in the whole ranking."
)
LOST = "at most {lost} of {count} questions"
LOST_NONE = "none of {count} questions"
NOTE = (
    "One question is {points:.1f} hundredths, so a data type that gains or loses one or two has not been shown to be "
    "better or worse. Word table, norms and biases stay in fp32, so the whole model shrinks from {full:.0f} to "
    "{small:.0f} MiB. Blocks of {block_size}{double}."
)
WITH_DOUBLE = ", with double quantization"
DESCRIPTION = "Dots on one scale from {low:.1f} to 1 for each data type. {groups}"
DESCRIPTION_GROUP = "{group}: {metrics}."
DESCRIPTION_METRIC = "{metric} {values}"
PART = "{name}, {group}, {metric}: {value:.3f}"

COLUMNS = (
    "Weights",
    "Model (MiB)",
    "Linear layers (MiB)",
    "Mean cosine with fp32",
    "Least cosine",
    "Vectors: first",
    "Vectors: first five",
    "Vectors: mean 1/place",
    "Whole: first",
    "Whole: first five",
    "Whole: mean 1/place",
)
FORMATS = ("{}", "{:.1f}", "{:.1f}", "{:.4f}", "{:.3f}", *("{:.3f}",) * 6)
CAPTION = "{questions} answerable questions over {passages} passages and {sentences} sentences; {origin}."

RECORDED_ON = "Recorded {date} on {device}, {threads}, torch {torch}: {command}"
MEASURED_ON = "Measured now on {device}, {threads}, torch {torch}."
THREADS = ("{count} threads", "1 thread")
NOTES_ONLY = "Without the PDF: passages of our notes, where a note on the right page counts as right."

RUN = "Run it here"
RUN_AGAIN = "Run it again"
RUN_NOTE = (
    "Embeds the whole paper once for each data type, which takes some minutes; you can stop it. The index that answers "
    "your questions stays as it is."
)
STOP = "Stop"
STOPPING = "Stopping…"
STOPPED = "Stopped. Nothing was changed."
PREPARING = "Opening the paper"
EMBEDDING = "{name}: embedding the paper"
SEARCHING = "{name}: searching for {count} questions"
MEASURED_TITLE = "Your run"
RECORDED_TITLE = "As recorded"
