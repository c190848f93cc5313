"""The panel of what paging costs, as it opens: the formula written out, the paper's case, and the recorded run."""

from app.tabs import paging_cost_view
from app.text import paging as text
from qlora import events
from qlora.memory.estimate import EstimateOptions, estimate
from qlora.memory.shapes import LLAMA
from tests.app.numbers import panels_runs as runs
from tests.app.numbers.panels_memory import in_units
from tests.app.numbers.rendered import Panel
from tests.app.numbers.sources import cell, fact

TERAFLOPS = 60
BUSES = {"PCIe 4.0 x16": 16 * 16e9 * 128 / 130 / 8, "PCIe 5.0 x16": 16 * 32e9 * 128 / 130 / 8}
_TABLE_9 = "table_09_training_hyperparameters.csv"


def batch() -> int:
    """Of the paper's statement."""
    return int(fact(6, "16").value())


def sequence() -> int:
    """The longest source and target of the paper's 65B runs together."""
    lengths = (cell(_TABLE_9, f"{end}_length_tokens", model="65B", dataset="All") for end in ("source", "target"))
    return int(sum(length.value() for length in lengths))


def state_bytes() -> int:
    return estimate(LLAMA["65B"], EstimateOptions(r=64)).components["optimizer_states"]


def computing(tokens: int) -> float:
    """Seconds."""
    return 6 * LLAMA["65B"].parameters * tokens / (TERAFLOPS * 1e12)


def moving() -> list[float]:
    """Seconds over each bus."""
    return [2 * state_bytes() / speed for speed in BUSES.values()]


def shares(tokens: int) -> list[float]:
    return [100 * seconds / computing(tokens) for seconds in moving()]


def in_seconds(value: float) -> float:
    """As a time is written: seconds, or milliseconds under a tenth."""
    return value if value >= 0.1 else 1e3 * value


def cost() -> Panel:
    tokens = batch() * sequence()
    four, five = BUSES
    table = [
        [each, computing(each), *(number for pair in zip(moving(), shares(each), strict=True) for number in pair)]
        for each in sorted({*(64 * 2**power for power in range(12)), tokens})
    ]
    return Panel(
        "When does paging cost?",
        lambda: paging_cost_view.cost_html("65B", 16, 512, 100, 0, TERAFLOPS, False),
        {
            "paging.COST_CONCLUSION": {
                "model": "65B", "batch": batch(), "sequence": sequence(), "moved": [in_units(state_bytes())],
                "gen4": [in_seconds(moving()[0])], "bus4": four, "bus5": five, "compute": [computing(tokens)],
                "share4": [shares(tokens)[0]], "share5": [shares(tokens)[1]],
                "judgement": next(words for most, words in text.COST_JUDGEMENTS if shares(tokens)[0] <= most),
            },
            "paging.COST_NOTE": {"state": [in_units(state_bytes())]},
            "paging.COST_DESCRIPTION": {
                "model": "65B", "lines": [number for share in shares(tokens) for number in (share, tokens)],
            },
            "paging.COST_TABLE_CAPTION": {"model": "65B", "moved": [in_units(state_bytes())]},
        },
        {"Computed by formula for 65B": table},
    )  # fmt: skip


def evidence() -> Panel:
    copying = sum(move.milliseconds for move in runs.moves()) / 1e3
    reached = [event.milliseconds for event in runs.recording().log if isinstance(event, events.PageReached)]
    return Panel(
        "What the paper says of it, and the recorded run",
        paging_cost_view.evidence_html,
        {
            "paging.COST_PAPER_COMPUTED": {
                "share": [shares(batch() * sequence())[0]], "bus": next(iter(BUSES)), "speed": TERAFLOPS,
                "sequence": sequence(),
            },
            "paging.COST_RECORDED": {
                "device": runs.recording().header.device,
                "moved": [in_units(sum(move.bytes for move in runs.moves()))],
                "moves": len(runs.moves()),
                "ms": [in_seconds(copying)],
                "share": [runs.share_of_copying()],
                "steps": len(runs.moved()),
                "all_share": [100 * copying / sum(step.step_seconds for step in runs.steps())],
                "waited": text.COST_EMULATED if runs.started().emulated_device else [in_seconds(sum(reached) / 1e3)],
            },
        },
    )  # fmt: skip


PANELS = (cost, evidence)
