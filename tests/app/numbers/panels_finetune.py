"""Panels of the Finetune tab: what the demo will do, and, of the recorded run, what a visitor's own run shows."""

import datetime
import itertools
import statistics
from pathlib import Path

import torch

from app import runs
from app.tabs import finetune_charts, finetune_runs, finetune_settings, finetune_view
from app.text import finetune as text
from qlora.memory.budget import run_options
from qlora.memory.estimate import estimate
from qlora.memory.shapes import SMOLLM2_135M
from tests.app.numbers.panels_runs import MIB, PARTS, mib, moves, recording, started, steps
from tests.app.numbers.rendered import Panel


def charts_of_a_run() -> Panel:
    """Finetune's charts, of the recorded run instead of one that a visitor has started."""
    count, last = len(steps()), steps()[-1]
    averages, average = [], 0.0
    for number, step in enumerate(steps(), start=1):
        average = 0.8 * average + 0.2 * step.loss
        averages.append(average / (1 - 0.8**number))
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
            "finetune.LOSS_DESCRIPTION": {"steps": count, "first": steps()[0].loss, "last": averages[-1]},
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
    taken = recording().log[-1].time - started().time
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
            last.pages_on_device, [round(taken) // 60, round(taken) % 60],
        ],
    )  # fmt: skip


PANELS = (plan_of_the_demo, cards_of_a_run, charts_of_a_run, table_of_a_run)
