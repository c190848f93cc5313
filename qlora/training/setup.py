"""Everything a run needs before its first step: data, model, adapter, optimizer."""

import math
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

import qlora
from qlora import config as configuration
from qlora import events
from qlora.adapters.attach import adapter_parameters, attach
from qlora.config import RunConfig
from qlora.data.batches import Batches, batches_of
from qlora.data.encoding import EncodedSamples
from qlora.models.load import load_quantized
from qlora.models.tasks import classifier_head
from qlora.models.tokenizer import load_tokenizer
from qlora.optimizer.paged_adamw import PagedAdamW
from qlora.paging.page import Arrival, Move
from qlora.training import activations, held_out, preflight
from qlora.training.activation_plan import activation_plan
from qlora.training.chunked_loss import why_not_chunked
from qlora.training.pressure import DevicePressure, parameter_count
from qlora.training.schedule import total_steps

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Setup:
    """What the loop works with.

    Attributes:
        model: 4-bit, with its adapter, in training mode.
        samples: to train on; `held_out`: to evaluate on, perhaps none.
        parameters: of the base model.
        steps: that the run takes in all.
        notices: sentences that a person should read.
    """

    config: RunConfig
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    optimizer: PagedAdamW
    pressure: DevicePressure
    batches: Batches
    samples: EncodedSamples
    held_out: EncodedSamples
    device: torch.device
    parameters: int
    steps: int
    notices: list[str]


def prepare(config: RunConfig, on_paging: Callable[[Move | Arrival], None]) -> Setup:
    """Read, check and load everything. Nothing is written.

    Args:
        config: of the run.
        on_paging: told of each optimizer page that moves or is reached.

    Raises:
        InputError: something in the configuration, the data or the model cannot be used.
    """
    rows = preflight.read(config)
    evaluation = replace(config, data=replace(config.data, path=config.data.evaluation_path or config.data.path))
    evaluation_rows = preflight.read(evaluation) if config.data.evaluation_path else None
    device = preflight.choose_device(config)
    dtype = preflight.choose_dtype(config, device)
    torch.manual_seed(config.training.seed)
    tokenizer = load_tokenizer(config.model)
    encoded, notices = preflight.encode_samples(config, rows, tokenizer)
    samples, held = held_out.split(config, encoded)
    if evaluation_rows is not None:
        held, more = preflight.encode_samples(evaluation, evaluation_rows, tokenizer)
        notices += [f"Evaluation: {notice}" for notice in more]
    preflight.check_split(config, samples, held)
    batches = batches_of(config, samples, tokenizer.pad_token_id)
    # Of tokens that are not trained on no logits are made.
    trained = math.ceil(batches.trained_share * batches.batch_size * batches.longest_row)
    chunk = min(config.training.loss_chunk_tokens, trained)
    notices += preflight.check_budget(
        replace(config, training=replace(config.training, loss_chunk_tokens=chunk)),
        device,
        dtype,
        longest=batches.longest_row,
        checkpointed_layers=0 if config.training.activations == "keep" else None,
        offloaded=device.type == "cuda" and config.training.activations in ("auto", "offload"),
    )
    model, _ = load_quantized(config.model, config.quantization, device=device, dtype=dtype)
    preflight.check_model(config, model, tokenizer)
    parameters = parameter_count(model)
    attach(
        model,
        config.adapter,
        dtype=preflight.choose_adapter_dtype(config, dtype),
        seed=config.training.seed,
        train_whole=[head] if (head := classifier_head(model)) else (),
    )
    notices += preflight.check_adapter(model)
    if config.model.task == "causal" and (obstacle := why_not_chunked(model)):
        notices.append(f"The loss holds the logits of a whole batch, because {obstacle}.")
    plan, more = activation_plan(config, model, batches)
    notices += [*more, *([plan.sentence()] if plan.checkpointed else [])]
    if config.training.compile:
        activations.compile_layers(model)
    activations.apply(model, plan)
    model.train()
    optimizer = _optimizer(config, model, on_paging)
    return Setup(
        config=config,
        model=model,
        tokenizer=tokenizer,
        optimizer=optimizer,
        pressure=DevicePressure(model, optimizer),
        batches=batches,
        samples=samples,
        held_out=held,
        device=device,
        parameters=parameters,
        steps=total_steps(config, batches.per_epoch),
        notices=notices,
    )


def run_started(setup: Setup) -> events.RunStarted:
    """The first event of a run."""
    import transformers

    optimizer, device = setup.optimizer, setup.device
    state_bytes = sum(page.bytes for page in optimizer.pager.pages)
    return events.RunStarted(
        config=configuration.to_mapping(setup.config),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({platform.machine()})",
        emulated_device=device.type == "cpu",
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "qlora": qlora.__version__,
        },
        steps=setup.steps,
        samples=len(setup.samples),
        parameters=setup.parameters,
        trainable_parameters=optimizer.parameter_count,
        memory_bytes={**setup.pressure.fixed_bytes, "optimizer": state_bytes},
        pages=len(optimizer.pager.pages),
        page_bytes=optimizer.pager.pages[0].bytes,
        device_budget_bytes=optimizer.pager.budget_bytes,
    )


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
