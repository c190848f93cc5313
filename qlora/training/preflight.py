"""Checks that cost seconds and save hours: what would go wrong is said before training starts."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from qlora.config import RunConfig
from qlora.data.encoding import EncodedSamples, encode_all
from qlora.data.packing import check_packing
from qlora.data.samples import Sample
from qlora.errors import InputError
from qlora.events import LOG_NAME

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def check_output(folder: Path) -> None:
    """The output folder must not hold another run.

    Raises:
        InputError: it does, or it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"The output {folder} is a file: name a folder.")
    if (folder / LOG_NAME).exists():
        raise InputError(f"The folder {folder} holds another run: choose another output folder or remove that one.")


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


def check_model(config: RunConfig, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
    """The model must take samples as long as asked for, keep packed ones apart, and its tokenizer must know an
    end-of-text token.

    Raises:
        InputError: otherwise.
    """
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and config.data.max_length > longest:
        raise InputError(
            f"data.max_length is {config.data.max_length}, but the model takes at most {longest} tokens: lower it."
        )
    if tokenizer.eos_token_id is None:
        raise InputError("The tokenizer has no end-of-text token, so the model could not learn to stop: set one.")
    if config.data.packing:
        check_packing(model)


def encode_samples(
    config: RunConfig, samples: list[Sample], tokenizer: "PreTrainedTokenizerBase"
) -> tuple[EncodedSamples, list[str]]:
    """Encode all samples.

    Returns:
        The encoded samples, and a sentence for each thing a person should know (samples cut or dropped).

    Raises:
        InputError: no sample leaves anything to learn at this length, or the chat template cannot be used.
    """
    data = config.data
    encoded = encode_all(tokenizer, samples, data.max_length, data.system_prompt, data.loss_on)
    return encoded, encoded.notices(data.max_length)
