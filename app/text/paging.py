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
