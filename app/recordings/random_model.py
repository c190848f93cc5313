"""A checkpoint of LLaMA's shape with random weights and a tokenizer of bytes: time and memory do not depend on values,
and a machine without network can make it."""

from pathlib import Path

import torch

from qlora.bench.random_llama import random_llama, unquantized_layer
from qlora.memory.shapes import LlamaShape

_SPECIAL = ("<s>", "</s>", "<pad>")


def write_random_llama(folder: Path, shape: LlamaShape, device: torch.device) -> None:
    """Write the checkpoint in bfloat16, as the trainer loads any other.

    Args:
        folder: that it goes to.
        shape: of the model.
        device: on which the values are drawn; the whole model is there once, 2 bytes a weight.
    """
    from transformers import GenerationConfig

    model = random_llama(shape, device, torch.bfloat16, unquantized_layer)
    ids = dict(zip(("bos_token_id", "eos_token_id", "pad_token_id"), range(3), strict=True))
    model.config.update(ids)
    model.generation_config = GenerationConfig(**ids)
    model.save_pretrained(folder)
    _byte_tokenizer().save_pretrained(folder)


def _byte_tokenizer():
    """One token a byte, so that a text of n letters has n tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [*_SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    bos, eos, pad = _SPECIAL
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, pad_token=pad)
