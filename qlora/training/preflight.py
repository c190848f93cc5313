"""Checks that cost seconds and save hours: what would go wrong is said before training starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from qlora.adapters.attach import adapter_parameters
from qlora.config import RunConfig
from qlora.data.chat import prompt_ids
from qlora.data.encoding import EncodedSamples, encode_all
from qlora.data.formats import read_samples
from qlora.data.packing import check_packing
from qlora.data.samples import Sample
from qlora.data.tasks import LabelledText, encode_labelled, encode_pairs, read_labelled
from qlora.errors import InputError
from qlora.events import ADAPTER_FOLDER, CHECKPOINTS_FOLDER, CONFIG_NAME, LOG_NAME
from qlora.memory.budget import MARGIN, Fit, run_options
from qlora.memory.model_config import shape_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def check_output(folder: Path) -> None:
    """The output folder must not hold another run, nor files that a run would write over.

    Raises:
        InputError: it does, or it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"The output {folder} is a file: name a folder.")
    if (folder / LOG_NAME).exists():
        raise InputError(f"The folder {folder} holds another run: choose another output folder or remove that one.")
    for name in (CONFIG_NAME, ADAPTER_FOLDER, CHECKPOINTS_FOLDER):
        if (folder / name).exists():
            raise InputError(
                f"The output {folder} holds {name} already, which the run would write over: choose another folder."
            )


def check_left(config: RunConfig, step: int, steps: int) -> None:
    """A run that is resumed must have steps left.

    Raises:
        InputError: it has none.
    """
    if step >= steps:
        raise InputError(
            f"The run in {config.output} has done its {step} steps: give it more with --set training.steps={2 * step}."
        )


def check_split(config: RunConfig, samples: EncodedSamples, held_out: EncodedSamples) -> None:
    """There must be samples on both sides of what is trained on and what is evaluated on.

    Raises:
        InputError: there are not.
    """
    if not len(samples):
        raise InputError(f"No sample of {config.data.path} is left to train on: lower data.evaluation_share.")
    if config.training.evaluation_steps and not len(held_out):
        raise InputError(
            f"data.evaluation_share {config.data.evaluation_share} of {len(samples)} samples is none: raise it, or "
            "name a file in data.evaluation_path."
        )


def choose_device(config: RunConfig) -> torch.device:
    """The device to train on.

    Raises:
        InputError: a GPU was asked for and there is none.
    """
    wanted = config.training.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("training.device is cuda, but torch finds no CUDA device: use auto or cpu.")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def choose_dtype(config: RunConfig, device: torch.device) -> torch.dtype:
    """The dtype to compute in: bfloat16 on a GPU (section 3 of the paper), float32 on a CPU, unless one is named."""
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    return named.get(config.training.compute_dtype, torch.float32 if device.type == "cpu" else torch.bfloat16)


def choose_adapter_dtype(config: RunConfig, dtype: torch.dtype) -> torch.dtype:
    """The dtype of the adapter: the one that is named, or else that of the computation."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(config.adapter.dtype, dtype)


def read(config: RunConfig) -> list[Sample] | list[LabelledText]:
    """The samples of the run's task.

    Raises:
        InputError: as `read_samples` and `read_labelled`.
    """
    if config.model.task == "classification":
        return read_labelled(config.data.path, config.model.labels)
    return read_samples(config.data.path, config.data.format)


def check_model(config: RunConfig, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
    """The model must take samples and sample prompts as long as they are, and keep packed ones apart; its tokenizer
    must be as `check_tokenizer` has it.

    Raises:
        InputError: otherwise.
    """
    longest = _longest(model)
    if longest is not None and config.data.max_length > longest:
        raise InputError(
            f"data.max_length is {config.data.max_length}, but the model takes at most {longest} tokens: lower it."
        )
    check_tokenizer(config, tokenizer)
    for prompt in config.training.sample_prompts:
        tokens = len(prompt_ids(tokenizer, prompt, config.data.system_prompt))
        if longest is not None and tokens >= longest:
            raise InputError(
                f"training.sample_prompts: {prompt[:40]!r} has {tokens} tokens, but the model takes at most {longest} "
                "with its answer: shorten it."
            )
    if config.data.packing:
        check_packing(model)


def check_tokenizer(config: RunConfig, tokenizer: "PreTrainedTokenizerBase") -> None:
    """The tokenizer must know an end-of-text token, unless texts are classified.

    Raises:
        InputError: it does not.
    """
    if tokenizer.eos_token_id is None and config.model.task != "classification":
        raise InputError("The tokenizer has no end-of-text token, so the model could not learn to stop: set one.")


def _longest(model: "PreTrainedModel") -> int | None:
    """Tokens that the model has positions for; None where there is no end."""
    longest = getattr(model.config, "max_position_embeddings", None)
    for name, module in model.named_modules():
        # RoBERTa counts positions from the one after that of the padding.
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return module.num_embeddings - module.padding_idx - 1
    return longest


def check_adapter(model: "PreTrainedModel") -> list[str]:
    """What trains must be what is saved: nothing less, nothing more.

    Args:
        model: with its adapter attached.

    Returns:
        A sentence that names what is neither quantized nor expected to be left, if there is such.

    Raises:
        InputError: nothing is trainable, the adapter would be saved empty, a part of it is frozen, or something else
            would train and not be saved.
    """
    from qlora.models.coverage import coverage

    trainable = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise InputError(
            "No parameter of the model is trainable, so the run would learn nothing: attach an adapter, or switch to "
            "the one to train."
        )
    saved = {id(p) for p in adapter_parameters(model)}
    if not saved:
        raise InputError(
            "The adapter would be saved empty, because none is active: attach one, or switch to the one to train."
        )
    if outside := [name for key, name in trainable.items() if key not in saved]:
        raise InputError(
            f"{outside[0]} would be trained and not saved, because it is no part of the active adapter: freeze it "
            "(requires_grad_(False)), or give its module to attach() in train_whole."
        )
    if frozen := [name for name, p in model.named_parameters() if id(p) in saved and not p.requires_grad]:
        raise InputError(
            f"{frozen[0]} is a part of the adapter and frozen, so it would stay as it is: switch to the adapter again."
        )
    warning = coverage(model).warning()
    return [warning] if warning else []


def check_budget(
    config: RunConfig,
    device: torch.device,
    dtype: torch.dtype,
    *,
    longest: int | None = None,
    checkpointed_layers: int | None = None,
    offloaded: bool = False,
) -> list[str]:
    """The largest batch must fit into optimizer.device_budget_mib, or else into the GPU, with all optimizer pages out.

    It is estimated from the model's configuration, before anything is loaded. What the estimate may be off by
    (`budget.MARGIN`) counts for the run: it is refused beyond that only. On a CPU without a budget nothing is checked.

    Args:
        config: of the run.
        device: to train on.
        dtype: of the computation.
        longest: tokens of the longest row that comes; what the settings allow if not given.
        checkpointed_layers, offloaded: how activations are kept, as in `EstimateOptions`; with "auto" the smallest way.

    Returns:
        A sentence when it is too close to say, or when memory could not be estimated.

    Raises:
        InputError: it does not fit. What takes most is named, and what helps.
    """
    budget = config.optimizer.device_budget_mib
    if budget is None and device.type != "cuda":
        return []
    try:
        shape = shape_of(config.model.name, len(config.model.labels) or None)
    except InputError as error:  # of a model that is not there loading says more
        return [f"Whether memory suffices was not estimated: {error}"]
    rows, tokens = config.training.batch_size, longest or config.data.packed_length or config.data.max_length
    if config.model.task == "seq2seq":  # a row is a source and its target, which are limited each
        tokens = min(tokens, config.data.max_length)
    fit = Fit(
        config,
        shape,
        run_options(
            config,
            rows=rows,
            tokens=tokens,
            compute_dtype=str(dtype).removeprefix("torch."),
            adapter_dtype=str(choose_adapter_dtype(config, dtype)).removeprefix("torch."),
            checkpointed_layers=checkpointed_layers,
            offloaded=offloaded,
        ),
        torch.cuda.get_device_properties(device).total_memory if budget is None else max(1, int(budget * 2**20)),
        can_offload=device.type == "cuda",
    )
    if fit.share <= 1 - MARGIN:
        return []
    needed = f"A batch of {rows} x {tokens} tokens needs about {_mib(fit.result.peak_bytes_paged_out)}"
    has = f"the GPU has {_mib(fit.budget_bytes)}"
    if budget is not None:
        has = f"optimizer.device_budget_mib allows {_mib(fit.budget_bytes)}"
    largest = ", ".join(f"{name.replace('_', ' ')} {_mib(size)}" for name, size in fit.largest_components())
    remedies = "; ".join(fit.remedies())
    if fit.weight_bytes > fit.budget_bytes:
        remedies = "take a smaller model or a larger device, because the weights alone are more than that"
    said = f"{needed} on the device with all optimizer pages out ({largest}), and {has}"
    if fit.share <= 1 + MARGIN:
        return [f"{said}: too close to say whether it fits. Should it not, in this order: {remedies}."]
    raise InputError(f"{said}. What helps, in this order: {remedies}.")


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB" if size >= 10 * 2**20 else f"{size / 2**20:.2f} MiB"


def encode_samples(
    config: RunConfig, samples: Sequence[Sample] | Sequence[LabelledText], tokenizer: "PreTrainedTokenizerBase"
) -> tuple[EncodedSamples, list[str]]:
    """Encode all samples.

    Returns:
        The encoded samples, and a sentence for each thing a person should know (samples cut or dropped).

    Raises:
        InputError: no sample leaves anything to learn at this length, or the chat template cannot be used.
    """
    data = config.data
    if config.model.task == "causal":
        encoded = encode_all(tokenizer, samples, data.max_length, data.system_prompt, data.loss_on)
    else:
        encode = encode_pairs if config.model.task == "seq2seq" else encode_labelled
        encoded = encode(tokenizer, samples, data.max_length)
    return encoded, encoded.notices(data.max_length)
