"""Loading the tokenizer of a model alone, which takes a second where the model takes minutes."""

from typing import TYPE_CHECKING

from qlora.config import ModelConfig
from qlora.errors import InputError
from qlora.models.source import Source, locate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(model: ModelConfig) -> "PreTrainedTokenizerBase":
    """The tokenizer that `load.load_quantized` loads with the model.

    Raises:
        InputError: no such model, or no network for a hub name.
    """
    return tokenizer_of(locate(model.name))


def tokenizer_of(source: Source) -> "PreTrainedTokenizerBase":
    """As `load_tokenizer`, of a model that has been located."""
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.place, **source.options)
    except (OSError, ValueError) as error:
        raise InputError(source.explain(error)) from error
    tokenizer.init_kwargs.pop("local_files_only", None)  # else it would be saved as a property of the tokenizer
    return tokenizer
