"""Panels that show a recorded run, in Start and Paging: their numbers from the events of its log."""

from functools import cache

from app import recordings
from app.tabs import (
    paging_sources,
    paging_view,
    start,
)
from app.text import paging as text
from app.text import start as start_text
from qlora import events
from tests.app.numbers.rendered import Fields, Panel, Value

MIB = 2**20
#: What the tabs open with: a run of a GPU where there is such a recording.
NAME, STEP = (
    min((name for name in recordings.names() if name.endswith(end)), key=lambda name: "cuda" not in name)
    for end in ("-budget", "-step")
)
PARTS = ("base_model", "adapters", "gradients", "optimizer", "activations")


@cache
def recording() -> recordings.Recording:
    return recordings.read(NAME)


def started() -> events.RunStarted:
    return recording().log[0]


def steps_of(found: recordings.Recording) -> list[events.StepFinished]:
    return [event for event in found.log if isinstance(event, events.StepFinished)]


@cache
def steps() -> list[events.StepFinished]:
    return steps_of(recording())


@cache
def moves() -> list[events.PageMoved]:
    return [event for event in recording().log if isinstance(event, events.PageMoved)]


def moved() -> list[events.StepFinished]:
    """Steps in which pages moved."""
    return [step for step in steps() if step.pages_in or step.pages_out]


def copying_ms(number: int) -> float:
    """Of a step's pages."""
    return sum(move.milliseconds for move in moves() if move.step == number)


def share_of_copying() -> float:
    """In % of the time of the steps in which pages moved."""
    return 100 * sum(move.milliseconds for move in moves()) / 1e3 / sum(step.step_seconds for step in moved())


def fullest() -> tuple[events.StepFinished, int]:
    """The step in which most pages were away at once, the first of those, and how many they were."""
    away: set[int] = set()
    most, at = 0, 0
    for move in moves():
        away = away | {move.page} if move.direction == "out" else away - {move.page}
        if len(away) > most:
            most, at = len(away), move.step
    return next(step for step in steps() if step.step == at), most


def constant() -> float:
    """MiB that never move."""
    return sum(started().memory_bytes[name] for name in PARTS[:3]) / MIB


def limit() -> list[float]:
    return [started().device_budget_bytes / MIB]


def mib(step: events.StepFinished, *names: str) -> float:
    return sum(step.memory_bytes.get(name, 0) for name in names) / MIB


def origin() -> dict[str, Fields]:
    """Where it was recorded; of a GPU nothing is said of threads."""
    header = recording().header
    told = {"device": header.device, "date": header.date}
    if header.emulated_device:
        return {"paging.ORIGIN_RECORDED": told | {"threads": header.threads}}
    return {"paging.ORIGIN_RECORDED_GPU": told}


def picture() -> Panel:
    """Start: at the first step, and the captions and words of all others, which its slider shows."""
    fullest_mib = max(mib(step, *PARTS) for step in steps())
    places = {name: detail for name, (_, detail, *_) in start_text.BOXES.items()}
    words = _words(steps()[0])
    filled: dict[str, Fields] = {
        "start.CONCLUSION": {
            "share": 100 * started().trainable_parameters / started().parameters,
            "trainable": started().trainable_parameters,
            "parameters": started().parameters,
            "base": started().memory_bytes["base_model"] / MIB,
            "half": started().parameters * 16 / 8 / MIB,
            "total": fullest_mib,
        },
        "start.CAPTION_RUN": {
            "model": start_text.RANDOM_MODEL if "cuda" in NAME else started().config["model"]["name"],
            "device": started().device, "date": recording().header.date,
        },
    }  # fmt: skip
    for name, detail in places.items():
        if fields := {field: value for field, value in words.items() if f"{{{field}}}" in detail}:
            filled[f"start.BOXES.{name}.1"] = fields
    return Panel("One QLoRA layer", start.panel, filled)


def _words(step: events.StepFinished) -> Fields:
    return {
        "tokens": step.tokens, "loss": step.loss, "compute": "fp32" if started().emulated_device else "bf16",
        "r": started().config["adapter"]["r"],
        "pages": started().pages, "pages_on_device": step.pages_on_device,
        **{name: mib(step, name) for name in PARTS[:3]},
    }  # fmt: skip


def every_page() -> Panel:
    step, most = fullest()
    header = recording().header
    over = max(mib(step, *PARTS) for step in steps()) - limit()[0]
    passed: dict[str, Fields] = {"paging.OVER_LIMIT": {"over": over}} if over > 0 and not header.emulated_device else {}
    return Panel(
        "Every page, at every moment",
        lambda: paging_view.heading_html(paging_sources.load(f"recording:{NAME}")),
        {
            "paging.CONCLUSION_MOVED": {
                "quiet": [len(steps()) - len(moved()), len(steps())],
                "tokens": step.tokens,
                "step": step.step,
                "away": most,
                "pages": started().pages,
                "back": text.BACK_IN_STEP if step.pages_in == step.pages_out else "",
                "share": [share_of_copying()],
                "moving": [len(moved())],
            },
            **origin(),
            **passed,
            "paging.MADE_WITH_WORDS": {
                "reason": text.RECORDINGS[NAME].reason,
                "command": header.command,
                "versions": ", ".join(f"{name} {version}" for name, version in header.versions.items()),
            },
        },
    )


def where_each_page_was() -> Panel:
    table: list[list[Value]] = [
        [
            step.step, step.tokens, step.step_seconds, step.pages_out, step.pages_in, copying_ms(step.step),
            mib(step, "optimizer"), mib(step, "activations"), constant() + mib(step, "optimizer", "activations"),
        ]
        for step in steps()
    ]  # fmt: skip
    return Panel(
        "Where each page was",
        lambda: paging_view.run_chart_html(paging_sources.load(f"recording:{NAME}"), False),
        {
            "paging.RUN_CHART_DESCRIPTION": {
                "pages": started().pages,
                "steps": len(steps()),
                "absences": sum(move.direction == "out" for move in moves()),
                "limit": limit(),
            },
            "paging.RUN_CHART_NOTE": {"constant": constant()},
        },
        {"Recorded: each step's moves": table},
    )


def one_step() -> Panel:
    found = recordings.read(STEP)
    kept = found.log[0].memory_bytes
    rest = sum(kept[name] for name in PARTS[:3]) / MIB
    pages = [held / MIB for _, _, held in found.step.samples]
    activations = [size / MIB for _, size, _ in found.step.samples]
    begin = list(found.step.phases.items())
    phases = [next(name for name, first in reversed(begin) if number >= first) for number, *_ in found.step.samples]
    return Panel(
        "One step from inside",
        lambda: paging_view.step_panel(recordings.read(STEP), False),
        {
            "paging.STEP_CONCLUSION": {
                "tokens": found.step.tokens, "left": pages[0] - min(pages), "pages": kept["optimizer"] / MIB,
            },
            "paging.STEP_DESCRIPTION": {
                "operators": found.step.operators, "first": pages[0], "least": min(pages), "last": pages[-1],
                "most": max(activations), "limit": [found.log[0].device_budget_bytes / MIB],
            },
            "paging.STEP_TABLE_CAPTION": {"origin": "Recorded", "constant": rest},
            **origin(),
        },
        {
            "Recorded: memory on top of": [
                [number, phase, size, held]
                for (number, *_), phase, size, held in zip(found.step.samples, phases, activations, pages, strict=True)
            ]
        },
    )  # fmt: skip


PANELS = (picture, every_page, where_each_page_was, one_step)
