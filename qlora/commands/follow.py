"""Showing a run while it goes: progress for a person, or its events as JSON."""

import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from qlora import events
from qlora.training.run import request_stop


def follow(folder: Path, stream: Iterator, as_json: bool) -> int:
    """Show a run until it ends; Ctrl-C ends it after the step at hand, and when pressed again at once."""

    def stop(signal_number, frame):
        if not folder.is_dir() or (signal_number == signal.SIGINT and (folder / events.STOP_NAME).exists()):
            raise KeyboardInterrupt  # nothing to save yet, or asked for the second time
        print("qlora: stopping after this step; press Ctrl-C again to stop at once.", file=sys.stderr)
        request_stop(folder)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    outcome = "failed"
    try:
        with closing(stream):
            for event in _printed(stream) if as_json else _with_progress(stream):
                if isinstance(event, events.RunEnded):
                    outcome = event.outcome
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 1 if outcome == "failed" else 0


def _printed(stream: Iterator) -> Iterator:
    for event in stream:
        print(events.to_json(event), flush=True)
        yield event


def _with_progress(stream: Iterator) -> Iterator:
    """Pass the events on, showing progress with loss, tokens/s and time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console()
    columns = (
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("train", total=None, state="loading")
        for event in stream:
            if isinstance(event, events.RunStarted):
                progress.update(task, total=event.steps, state="first step")
                console.print(
                    f"{event.parameters:,} parameters are frozen, {event.trainable_parameters:,} of the "
                    f"adapters train: on {event.samples} samples, on {event.device}."
                )
            elif isinstance(event, events.RunResumed):
                progress.update(task, total=event.steps, completed=event.step, state="first step")
                console.print(f"Going on after step {event.step} of {event.steps}.")
            elif isinstance(event, events.Evaluated):
                console.print(
                    f"step {event.step}  held-out loss {event.loss:.3f}, perplexity {event.perplexity:.2f} "
                    f"on {event.samples} samples"
                )
            elif isinstance(event, events.StepFinished):
                state = f"loss {event.loss:.3f}  {event.tokens_per_second:,.0f} tokens/s"
                progress.update(task, completed=event.step, state=state)
                if not console.is_terminal:
                    console.print(f"step {event.step}  {state}  {event.seconds_left:,.0f} s left")
            elif isinstance(event, events.SampleGenerated):
                who = "finetuned" if event.step else "base model"
                console.print(f"{event.prompt}\n  {who}: {event.text}", markup=False)
            elif isinstance(event, (events.Notice, events.RunEnded)):
                console.print(event.message, markup=False)
            elif isinstance(event, events.StepSkipped):
                console.print(f"step {event.step} skipped: {event.reason}", markup=False)
            elif isinstance(event, events.CheckpointSaved):
                what = "Checkpoint" if event.resumable else "Adapter"
                console.print(f"{what} saved in {event.path}", markup=False)
            yield event
