"""Panels of the Finetune tab: what the demo will do, and, of the recorded run, what a visitor's own run shows."""

import datetime
import itertools
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from app import recordings, runs
from app.tabs import finetune_charts, finetune_runs, finetune_settings, finetune_view
from app.text import finetune as text
from qlora import config as configuration
from qlora import events
from qlora.memory.budget import run_options
from qlora.memory.estimate import estimate
from qlora.memory.shapes import SMOLLM2_135M
from tests.app.numbers.panels_runs import MIB, NAME, PARTS, mib, moves, recording, started, steps, steps_of
from tests.app.numbers.rendered import Panel

WITHOUT_BUDGET = NAME.replace("-budget", "-free")


def averaged(losses: list[float]) -> list[float]:
    """Exponential mean with a factor of 0.8, unbiased."""
    found, mean = [], 0.0
    for number, loss in enumerate(losses, start=1):
        mean = 0.8 * mean + 0.2 * loss
        found.append(mean / (1 - 0.8**number))
    return found


def charts_of_a_run() -> Panel:
    """Finetune's charts, of the recorded run instead of one that a visitor has started."""
    count, last, losses = len(steps()), steps()[-1], [step.loss for step in steps()]
    out = sum(move.direction == "out" for move in moves())
    runs_of_moves = itertools.groupby(moves(), lambda move: (move.step, move.direction, move.reason))
    latest = [
        {
            "when": f"Step {step}",
            "pages": f"pages {pages[0]} to {pages[-1]}",
            "what": text.PAGE_REASONS[direction, reason],
        }
        for (step, direction, reason), group in runs_of_moves
        if (pages := [move.page for move in group])
    ]
    return Panel(
        "The charts of a run",
        lambda: finetune_charts.charts_html(finetune_view.story(recording().log), live=False),
        {
            "finetune.LOSS_DESCRIPTION": {"steps": count, "first": steps()[0].loss, "last": averaged(losses)[-1]},
            "finetune.MEMORY_DESCRIPTION": {"components": [mib(last, name) for name in PARTS]},
            "finetune.PAGE_MOVES_DESCRIPTION": {"arrived": len(moves()) - out, "left": out, "steps": count},
            "finetune.THROUGHPUT_DESCRIPTION": {
                "steps": count,
                "median": statistics.median(step.tokens / step.step_seconds for step in steps()),
            },
            "finetune.GRADIENT_DESCRIPTION": {
                "steps": count,
                "median": statistics.median(step.gradient_norm for step in steps()),
            },
            "finetune.LEARNING_RATE_DESCRIPTION": {
                "steps": count, "first": [steps()[0].learning_rate], "last": [last.learning_rate],
            },
            "finetune.PAGES_SUMMARY": {
                "left": out, "arrived": len(moves()) - out, "page": started().page_bytes / MIB,
                "ms": statistics.median(move.milliseconds for move in moves()),
            },
            "finetune.PAGE_MOVE": latest,
        },
    )  # fmt: skip


def table_of_a_run() -> Panel:
    every = -(-len(steps()) // 40)
    return Panel(
        "The table of a run",
        lambda: finetune_view.table_html(finetune_view.story(recording().log)),
        {"finetune.TABLE_CAPTION_THINNED": {"every": every}},
        {
            "Measured, from this run's log": [
                [
                    step.step, step.loss, step.learning_rate, step.tokens / step.step_seconds,
                    *(mib(step, name) for name in PARTS), step.pages_in, step.pages_out,
                ]
                for step in (*steps()[:-1:every], steps()[-1])
            ]
        },
    )  # fmt: skip


def plan_of_the_demo() -> Panel:
    config = finetune_settings.demo()
    dtype = "bfloat16" if torch.cuda.is_available() else "float32"
    size = {"rows": config.training.batch_size, "tokens": config.data.max_length, "checkpointed_layers": 0}
    made = estimate(SMOLLM2_135M, run_options(config, **size, compute_dtype=dtype, adapter_dtype=dtype))
    return Panel(
        "What the demo will do",
        lambda: f"<p>{finetune_settings.plan(config, None)}</p><p>{finetune_runs.expected(config)}</p>",
        {
            "finetune.PLAN": {
                "steps": 40, "batch": [2], "max_length": 64, "data": text.PLAN_PACKAGED_DATA,
                "model": text.DEMO_MODEL, "data_type": "NF4",
                "double_quantization": text.PLAN_DOUBLE_QUANTIZATION, "r": 16, "budget": "",
            },
            "finetune.EXPECTED_KEPT": {"mib": made.peak_bytes / MIB, "out": made.peak_bytes_paged_out / MIB},
        },
    )  # fmt: skip


def cards_of_a_run() -> Panel:
    begun = datetime.datetime.fromtimestamp(started().time, datetime.UTC)
    taken = round(recording().log[-1].time - started().time)
    losses, last = [step.loss for step in steps()], steps()[-1]
    first, now = statistics.fmean(losses[:5]), statistics.fmean(losses[-5:])
    seconds = statistics.median(step.step_seconds for step in steps())
    run = runs.Run(Path(begun.strftime(runs.ID_FORMAT)))
    return Panel(
        "The cards of a run",
        lambda: finetune_view.cards_html(run, runs.Status("finished"), finetune_view.story(recording().log)),
        {
            "finetune.CARD_STEP_OF": {"steps": started().steps, "epoch": last.epoch, "samples": started().samples},
            "finetune.CARD_LOSS_FROM": {"count": 5, "change": [100 * (now / first - 1)], "first": first},
            "finetune.CARD_SPEED_NOTE": {"seconds": seconds, "count": len(losses)},
            "finetune.CARD_TIME_STEPS": {"steps": len(losses)},
            "finetune.CARD_MEMORY_BUDGET": {"budget": started().device_budget_bytes / MIB},
            "finetune.CARD_PAGES_NOTE": {"pages": started().pages, "page": started().page_bytes / MIB},
        },
        alone=[
            last.step, now, statistics.median(step.tokens / step.step_seconds for step in steps()), mib(last, *PARTS),
            last.pages_on_device, [taken // 60, taken % 60] if taken >= 60 else taken,
        ],
    )  # fmt: skip


def two_runs() -> Panel:
    """The run under a budget, and the same without one, as two runs of this machine."""
    pair = {"20261122-100000-000000": recording(), "20261122-110000-000000": recordings.read(WITHOUT_BUDGET)}
    names = [text.STARTED_AT.format(id=run_id) for run_id in pair]
    losses = [[step.loss for step in steps_of(found)] for found in pair.values()]
    count = min(map(len, losses))
    last = [statistics.fmean(values[count - 5 : count]) for values in losses]
    budgets = [found.log[0].config["optimizer"]["device_budget_mib"] for found in pair.values()]
    return Panel(
        "Two runs",
        lambda: _drawn(pair),
        {
            "finetune.COMPARE_CONCLUSION": {
                "step": count, "better": names[last.index(min(last))], "lower": min(last), "higher": max(last),
                "count": 5,
            },
            "finetune.COMPARE_DESCRIPTION": [
                {"name": name, "steps": len(values), "last": averaged(values)[-1]}
                for name, values in zip(names, losses, strict=True)
            ],
        },
        {
            text.COMPARE_CAPTION: [[i + 1, *both] for i, both in enumerate(zip(*losses, strict=True))],
            text.COMPARE_SETTINGS: [["optimizer.device_budget_mib", *map(str, budgets)]],
        },
    )  # fmt: skip


def _drawn(pair: Mapping[str, recordings.Recording]) -> str:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("QLORA_RUNS", folder)
        for run_id, found in pair.items():
            place = Path(folder) / run_id
            place.mkdir()
            config = configuration.from_mapping(found.log[0].config)
            (place / runs._LOCK_NAME).touch()
            (place / runs.REQUESTED_NAME).write_text(configuration.to_yaml(config), encoding="utf-8")
            lines = "".join(events.to_json(event) + "\n" for event in found.log)
            (place / events.LOG_NAME).write_text(lines, encoding="utf-8")
        return finetune_runs.comparison(*pair, False)


PANELS = (two_runs, plan_of_the_demo, cards_of_a_run, charts_of_a_run, table_of_a_run)
