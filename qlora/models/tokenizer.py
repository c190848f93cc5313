"""Loading the tokenizer of a model alone, which takes a second where the model takes minutes."""

from typing import TYPE_CHECKING

from qlora.config import ModelConfig
from qlora.errors import InputError
from qlora.models.load import _explain, _source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(model: ModelConfig) -> "PreTrainedTokenizerBase":
    """The tokenizer that `load.load_quantized` loads with the model.

    Raises:
        InputError: no such model, or no network for a hub name.
    """
    import transformers

    source = _source(model.name)
    try:
        return transformers.AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise InputError(_explain(model.name, source, error)) from error
