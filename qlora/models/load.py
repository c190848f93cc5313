"""Loading a model straight to 4-bit, with its tokenizer."""

import logging
import os
from typing import TYPE_CHECKING

import torch

from qlora.config import ModelConfig, QuantizationSettings
from qlora.errors import InputError
from qlora.models.source import locate
from qlora.models.tasks import AUTO_CLASSES, CLASSIFIER_HEADS
from qlora.models.tokenizer import tokenizer_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_log = logging.getLogger(__name__)


def load_quantized(
    model: ModelConfig, quantization: QuantizationSettings, *, device: torch.device, dtype: torch.dtype
) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """Load a model with its linear layers quantized (the output head stays as it is), and its tokenizer.

    For classification the head has one output for each of `model.labels`, and starts at random unless the checkpoint
    has one of that size.

    A checkpoint that bitsandbytes has quantized to 4 bits, or that was saved from here, is taken as it is. What is
    quantized is logged, and what is left beyond embeddings, norms and head is a warning that names it.

    Args:
        model: which one: the demo model, a folder, or a hub name.
        quantization: how to store the linear layers, unless the checkpoint has them quantized already.
        device: where to put it.
        dtype: of what is not quantized, and of the computation.

    Raises:
        InputError: no such model, an incomplete or damaged file, weights as pickle files alone, a model that needs code
            of its own, or no network for a hub name.
    """
    import transformers

    from qlora.models.coverage import coverage
    from qlora.models.huggingface import QuantizationConfig

    source = locate(model.name)
    config = QuantizationConfig(quantization.quant_type, quantization.block_size, quantization.double_quantization)
    options = {}
    if model.task == "classification":
        config.skip_modules = list(CLASSIFIER_HEADS)
        names = dict(enumerate(model.labels))
        options = {"id2label": names, "label2id": {label: index for index, label in names.items()}}
    transformers.utils.logging.disable_progress_bar()
    # Else transformers asks a service to convert a checkpoint of pickle files, and waits for it.
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"
    tokenizer = tokenizer_of(source)
    try:
        # Weights that are quantized arrive in the file's own 16 bits, not in a computation's 32; what is left of them
        # is small, and converted afterwards.
        loaded = getattr(transformers, AUTO_CLASSES[model.task]).from_pretrained(
            source.place,
            quantization_config=config,
            use_safetensors=True,
            dtype="auto" if dtype == torch.float32 else dtype,
            device_map={"": device},
            **options,
            **source.options,
        )
        if loaded.dtype != dtype:
            loaded = loaded.to(dtype)
            loaded.config.dtype = dtype
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(source.explain(error)) from error
    except Exception as error:
        # safetensors raises a type of its own for a truncated or foreign file.
        if type(error).__module__.partition(".")[0] not in ("safetensors", "safetensors_rust"):
            raise
        raise InputError(f"A weight file of {source.place} is damaged ({error}): fetch or convert it again.") from error
    stored = loaded.config.quantization_config
    if (stored.quant_type, stored.block_size, stored.double_quantization) != (
        quantization.quant_type,
        quantization.block_size,
        quantization.double_quantization,
    ):
        _log.warning(
            "%s is quantized already (%s, blocks of %d, %s double quantization), and is used as it is.",
            model.name,
            stored.quant_type,
            stored.block_size,
            "with" if stored.double_quantization else "without",
        )
    covered = coverage(loaded)
    _log.info(covered.summary())
    if covered.unexpected:
        _log.warning(covered.warning())
    if model.task == "classification" and loaded.config.pad_token_id is None:
        loaded.config.pad_token_id = tokenizer.pad_token_id  # where a text ends is what decoders classify it at
    return loaded.eval(), tokenizer
