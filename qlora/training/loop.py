"""The training loop: a generator of events."""

import functools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from qlora import events
from qlora.adapters.attach import adapters_disabled
from qlora.adapters.checkpoint import save_adapter
from qlora.config import RunConfig
from qlora.data.batches import Batch
from qlora.evaluation.generation import stream
from qlora.training import checkpoint, held_out, preflight
from qlora.training.loss import summed_loss
from qlora.training.pressure import as_event, evict_and_repeat
from qlora.training.schedule import learning_rate
from qlora.training.setup import Setup, prepare, run_started

_SKIPS_IN_A_ROW = 5


def train(
    config: RunConfig, stop_requested: Callable[[], bool] = lambda: False, resume: Path | None = None
) -> Iterator[events.Event]:
    """Finetune a 4-bit model with LoRA (the method of the paper, sections 2 and 3) and report each thing that happens.

    Args:
        config: what to do; `config.output` receives the adapter and the checkpoints.
        stop_requested: asked before each step; once true, the adapter is saved and the run ends as "stopped".
        resume: a checkpoint of the same run to go on from: on a CPU the losses are then, to the bit, those of a run
            that was not interrupted.

    Yields:
        `events.RunStarted` or `events.RunResumed` first, `events.RunEnded` last.

    Raises:
        InputError: something in the configuration, the data or the model cannot be used, or the device budget does
            not hold a batch. Before the first event nothing has been written.
    """
    output = Path(config.output).expanduser()
    if resume is None:
        preflight.check_output(output)
    happened: list[events.Event] = []  # in the step at hand, apart from the step itself
    step = 0
    setup = prepare(config, lambda happening: happened.append(as_event(step, happening)))
    optimizer, pressure, batches = setup.optimizer, setup.pressure, setup.batches
    skipped, lowest, without_gain = 0, math.inf, 0
    if resume is None:
        yield run_started(setup)
        yield from (events.Notice(message=message) for message in setup.notices)
    else:
        step, progress = checkpoint.restore(resume, optimizer=optimizer, batches=batches)
        skipped, without_gain = progress["skipped"], progress["without_gain"]
        lowest = math.inf if progress["lowest"] is None else progress["lowest"]
        preflight.check_left(config, step, setup.steps)
        happened.clear()  # pages that took their places
        yield events.RunResumed(step=step, steps=setup.steps, path=str(resume))

    def save_checkpoint() -> events.CheckpointSaved:
        progress = {
            "skipped": skipped,
            "without_gain": without_gain,
            "lowest": None if math.isinf(lowest) else lowest,
        }
        place = checkpoint.save(
            output,
            step=step,
            model=setup.model,
            model_config=config.model,
            optimizer=optimizer,
            batches=batches,
            progress=progress,
            keep=config.training.keep_checkpoints,
        )
        return events.CheckpointSaved(step=step, path=str(place), resumable=True)

    seconds: list[float] = []
    first, saved = step + 1, step
    outcome, message = "finished", f"All {setup.steps} steps are done."
    for step in range(first, setup.steps + 1):
        if stop_requested():
            step -= 1
            outcome, message = "stopped", f"Stopped on request after step {step}."
            break
        began = time.perf_counter()
        group = [next(batches) for _ in range(config.training.accumulation)]
        pressure.begin_step()
        loss = evict_and_repeat(
            functools.partial(_accumulate, setup, group),
            optimizer,
            notify=lambda message: happened.append(events.Notice(message=message)),
        )
        norm = optimizer.gradient_norm().item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            skipped += 1
            yield events.StepSkipped(step=step, reason=f"loss {loss}, gradient norm {norm}: not finite")
            if skipped == _SKIPS_IN_A_ROW:
                outcome, message = "failed", _not_finite(output, skipped)
                break
            continue
        skipped = 0
        optimizer.learning_rate = learning_rate(config, step, setup.steps)
        limit = config.training.max_gradient_norm
        if limit and norm > limit:
            optimizer.scale_gradient(limit / norm)
        optimizer.step()
        pressure.after_update()
        seconds.append(time.perf_counter() - began)
        yield from happened
        yield _finished(setup, step, group, loss, norm, seconds, happened)
        happened.clear()
        evaluate_every = config.training.evaluation_steps
        if evaluate_every and (step % evaluate_every == 0 or step == setup.steps):
            evaluated = held_out.evaluate(setup.model, setup.held_out, batches, step)
            yield evaluated
            without_gain = 0 if evaluated.loss < lowest else without_gain + 1
            lowest = min(lowest, evaluated.loss)
            if step < setup.steps:
                yield from _samples(setup, step)
        checkpoint_every = config.training.checkpoint_steps
        if checkpoint_every and step % checkpoint_every == 0:
            yield save_checkpoint()
            saved = step
        if config.training.patience and without_gain == config.training.patience:
            message = f"Ended after step {step}: {without_gain} evaluations in a row brought no lower loss."
            break

    if outcome == "finished" and not seconds:  # a run shorter than the steps in a row that end one
        outcome, message = "failed", _not_finite(output, skipped)
    if outcome != "failed":
        if config.training.checkpoint_steps and saved != step:
            yield save_checkpoint()
        folder = output / events.ADAPTER_FOLDER
        save_adapter(setup.model, folder, base_model=config.model.name, task=config.model.task)
        yield events.CheckpointSaved(step=step, path=str(folder))
    optimizer.close()
    if outcome == "finished":
        yield from _samples(setup, step, base_too=True)
    yield events.RunEnded(outcome=outcome, step=step, message=message)


def _not_finite(output: Path, skipped: int) -> str:
    good = checkpoint.latest(output)
    resume = f"the last good checkpoint is {good}" if good else "there is no checkpoint (training.checkpoint_steps)"
    return f"{skipped} steps in a row were not finite: lower the learning rate; {resume}."


def _finished(
    setup: Setup,
    step: int,
    group: list[Batch],
    loss: float,
    norm: float,
    seconds: list[float],
    happened: list[events.Event],
) -> events.StepFinished:
    tokens = sum(batch.tokens for batch in group)
    directions = [event.direction for event in happened if isinstance(event, events.PageMoved)]
    return events.StepFinished(
        step=step,
        epoch=setup.batches.epoch,
        loss=loss,
        learning_rate=setup.optimizer.learning_rate,
        gradient_norm=norm,
        tokens=tokens,
        trained_tokens=sum(batch.trained_tokens for batch in group),
        step_seconds=seconds[-1],
        tokens_per_second=tokens / seconds[-1],
        seconds_left=statistics.median(seconds[-10:]) * (setup.steps - step),
        memory_bytes=setup.pressure.peak,
        pages_on_device=setup.pressure.pages_at_peak,
        pages_in=directions.count("in"),
        pages_out=directions.count("out"),
    )


def _accumulate(setup: Setup, group: list[Batch]) -> float:
    """Gradients of the mean loss over all trained tokens of the group; returns that loss."""
    setup.optimizer.zero_grad()
    trained, total = sum(batch.trained_tokens for batch in group), 0.0
    for batch in group:
        batch = batch.to(setup.device)
        with setup.pressure.passes():
            loss = summed_loss(setup.model, batch, setup.config.training.loss_chunk_tokens) / trained
            loss.backward()
            total += loss.item()
            del loss
    return total


def _samples(setup: Setup, step: int, base_too: bool = False) -> Iterator[events.SampleGenerated]:
    """The configured prompts, answered by the finetuned model, and before it by the base model (step 0)."""
    setup.model.eval()
    for prompt in setup.config.training.sample_prompts:
        if base_too:
            with adapters_disabled(setup.model):
                yield _answer(setup, prompt, 0)
        yield _answer(setup, prompt, step)
    setup.model.train()


def _answer(setup: Setup, prompt: str, step: int) -> events.SampleGenerated:
    began = time.perf_counter()
    config = setup.config
    pieces = list(
        stream(setup.model, setup.tokenizer, prompt, config.training.sample_tokens, config.data.system_prompt)
    )
    return events.SampleGenerated(
        step=step,
        prompt=prompt,
        text="".join(pieces),
        new_tokens=len(pieces),
        seconds=time.perf_counter() - began,
    )
