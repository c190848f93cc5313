"""The training loop: a generator of events."""

import functools
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import qlora
from qlora import config as configuration
from qlora import events
from qlora.adapters.attach import adapter_parameters, adapters_disabled, attach
from qlora.adapters.checkpoint import save_adapter
from qlora.config import RunConfig
from qlora.data.batches import Batch, batches_of
from qlora.evaluation.generation import stream
from qlora.models.load import load_quantized
from qlora.models.tasks import classifier_head
from qlora.optimizer.paged_adamw import PagedAdamW
from qlora.paging.page import Arrival, Move
from qlora.training import preflight
from qlora.training.activations import enable_checkpointing
from qlora.training.losses import summed_loss
from qlora.training.pressure import DevicePressure, as_event, evict_and_repeat, parameter_count

_SKIPS_IN_A_ROW = 5


def train(config: RunConfig, stop_requested: Callable[[], bool] = lambda: False) -> Iterator[events.Event]:
    """Finetune a 4-bit model with LoRA (the method of the paper, sections 2 and 3) and report each thing that happens.

    Args:
        config: what to do; `config.output` receives the adapter.
        stop_requested: asked before each step; once true, the adapter is saved and the run ends as "stopped".

    Yields:
        `events.RunStarted` first, `events.RunEnded` last.

    Raises:
        InputError: something in the configuration, the data or the model cannot be used, or the device budget does
            not hold a batch. Before the first event nothing has been written.
    """
    output = Path(config.output).expanduser()
    preflight.check_output(output)
    samples = preflight.read(config)
    device = preflight.choose_device(config)
    dtype = preflight.choose_dtype(config, device)
    torch.manual_seed(config.training.seed)
    model, tokenizer = load_quantized(config.model, config.quantization, device=device, dtype=dtype)
    preflight.check_model(config, model, tokenizer)
    encoded, notices = preflight.encode_samples(config, samples, tokenizer)
    parameters = parameter_count(model)
    attach(
        model,
        config.adapter,
        dtype=preflight.choose_adapter_dtype(config, dtype),
        seed=config.training.seed,
        train_whole=[head] if (head := classifier_head(model)) else (),
    )
    notices += preflight.check_adapter(model)
    if config.training.activation_checkpointing:
        enable_checkpointing(model)
    model.train()

    happened: list[events.Event] = []  # in the step at hand, apart from the step itself
    step = 0
    optimizer = _optimizer(config, model, lambda happening: happened.append(as_event(step, happening)))
    pressure = DevicePressure(model, optimizer)
    yield _run_started(config, device, optimizer, pressure.fixed_bytes, parameters, len(encoded))
    yield from (events.Notice(message=message) for message in notices)

    batches = batches_of(config, encoded, tokenizer.pad_token_id)
    seconds: list[float] = []
    skipped = 0
    outcome, message = "finished", f"All {config.training.steps} steps are done."
    for step in range(1, config.training.steps + 1):
        if stop_requested():
            outcome, message = "stopped", f"Stopped on request after step {step - 1}."
            step -= 1
            break
        began = time.perf_counter()
        group = [next(batches) for _ in range(config.training.accumulation)]
        pressure.begin_step()
        loss = evict_and_repeat(
            functools.partial(_accumulate, model, optimizer, pressure, group, device),
            optimizer,
            notify=lambda message: happened.append(events.Notice(message=message)),
        )
        norm = optimizer.gradient_norm().item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            skipped += 1
            yield events.StepSkipped(step=step, reason=f"loss {loss}, gradient norm {norm}: not finite")
            if skipped == _SKIPS_IN_A_ROW:
                outcome, message = "failed", f"{skipped} steps in a row were not finite: lower the learning rate."
                break
            continue
        skipped = 0
        optimizer.learning_rate = learning_rate(config, step)
        limit = config.training.max_gradient_norm
        if limit and norm > limit:
            optimizer.scale_gradient(limit / norm)
        optimizer.step()
        pressure.after_update()
        seconds.append(time.perf_counter() - began)
        tokens = sum(batch.tokens for batch in group)
        directions = [event.direction for event in happened if isinstance(event, events.PageMoved)]
        yield from happened
        yield events.StepFinished(
            step=step,
            epoch=batches.epoch,
            loss=loss,
            learning_rate=optimizer.learning_rate,
            gradient_norm=norm,
            tokens=tokens,
            trained_tokens=sum(batch.trained_tokens for batch in group),
            step_seconds=seconds[-1],
            tokens_per_second=tokens / seconds[-1],
            seconds_left=statistics.median(seconds[-10:]) * (config.training.steps - step),
            memory_bytes=pressure.peak,
            pages_on_device=pressure.pages_at_peak,
            pages_in=directions.count("in"),
            pages_out=directions.count("out"),
        )
        happened.clear()

    optimizer.close()
    if outcome != "failed":
        folder = output / events.ADAPTER_FOLDER
        save_adapter(model, folder, base_model=config.model.name, task=config.model.task)
        yield events.CheckpointSaved(step=step, path=str(folder))
    if outcome == "finished":
        yield from _samples(config, model, tokenizer, step)
    yield events.RunEnded(outcome=outcome, step=step, message=message)


def learning_rate(config: RunConfig, step: int) -> float:
    """The learning rate of `step` (from 1): a linear rise over the warm-up, then the schedule, which ends at 0 one
    step after the last unless it is constant."""
    training, highest = config.training, config.optimizer.learning_rate
    if step <= training.warmup_steps:
        return highest * step / training.warmup_steps
    progress = (step - 1 - training.warmup_steps) / max(1, training.steps - training.warmup_steps)
    factor = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    return highest * factor[training.schedule]


def _optimizer(config: RunConfig, model: torch.nn.Module, on_paging: Callable[[Move | Arrival], None]) -> PagedAdamW:
    settings = config.optimizer
    budget = settings.device_budget_mib
    return PagedAdamW(
        adapter_parameters(model),
        settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        state_bits=settings.state_bits,
        page_bytes=settings.page_kib * 1024,
        budget_bytes=None if budget is None else int(budget * 2**20),
        on_paging=on_paging,
    )


def _run_started(
    config: RunConfig,
    device: torch.device,
    optimizer: PagedAdamW,
    fixed_bytes: dict[str, int],
    parameters: int,
    samples: int,
) -> events.RunStarted:
    import transformers

    state_bytes = sum(page.bytes for page in optimizer.pager.pages)
    return events.RunStarted(
        config=configuration.to_mapping(config),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({platform.machine()})",
        emulated_device=device.type == "cpu",
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "qlora": qlora.__version__,
        },
        steps=config.training.steps,
        samples=samples,
        parameters=parameters,
        trainable_parameters=optimizer.parameter_count,
        memory_bytes={**fixed_bytes, "optimizer": state_bytes},
        pages=len(optimizer.pager.pages),
        page_bytes=optimizer.pager.pages[0].bytes,
        device_budget_bytes=optimizer.pager.budget_bytes,
    )


def _accumulate(
    model: torch.nn.Module,
    optimizer: PagedAdamW,
    pressure: DevicePressure,
    group: list[Batch],
    device: torch.device,
) -> float:
    """Gradients of the mean loss over all trained tokens of the group; returns that loss."""
    optimizer.zero_grad()
    trained, total = sum(batch.trained_tokens for batch in group), 0.0
    for batch in group:
        batch = batch.to(device)
        with pressure.passes():
            loss = summed_loss(model, batch) / trained
            loss.backward()
            total += loss.item()
            del loss
    return total


def _samples(config: RunConfig, model, tokenizer, step: int) -> Iterator[events.SampleGenerated]:
    """The configured prompts, answered by the base model (step 0) and by the finetuned one."""
    model.eval()
    for prompt in config.training.sample_prompts:
        with adapters_disabled(model):
            yield _answer(config, model, tokenizer, prompt, 0)
        yield _answer(config, model, tokenizer, prompt, step)


def _answer(config: RunConfig, model, tokenizer, prompt: str, step: int) -> events.SampleGenerated:
    began = time.perf_counter()
    settings = config.training
    pieces = list(stream(model, tokenizer, prompt, settings.sample_tokens, config.data.system_prompt))
    return events.SampleGenerated(
        step=step,
        prompt=prompt,
        text="".join(pieces),
        new_tokens=len(pieces),
        seconds=time.perf_counter() - began,
    )
