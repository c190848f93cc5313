"""Greedy generation, a piece of text at a time."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from qlora.data.chat import prompt_ids, stop_ids
from qlora.errors import InputError
from qlora.evaluation.likelihood import max_length

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def stream(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompt: str,
    max_new_tokens: int,
    system_prompt: str | None = None,
) -> Iterator[str]:
    """Answer `prompt` by the most likely token at each step, until a token that ends an answer or `max_new_tokens`.

    Args:
        model: in evaluation mode.
        tokenizer: of the model; its chat template wraps the prompt.
        prompt: the question alone.
        max_new_tokens: at most.
        system_prompt: as in `data.chat.prompt_ids`.

    Yields:
        A piece of text for each generated token. It may be empty while a character is not complete yet.
    """
    yield from continuation(model, tokenizer, prompt_ids(tokenizer, prompt, system_prompt), max_new_tokens)


@torch.inference_mode()
def continuation(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int], max_new_tokens: int
) -> Iterator[str]:
    """As `stream`, after any tokens.

    Raises:
        InputError: the model has no positions left for an answer to so many tokens.
    """
    longest = max_length(model)
    if longest is not None and len(ids) >= longest:
        raise InputError(
            f"The model takes {longest} tokens with its answer, and the prompt has {len(ids)}: shorten it."
        )
    if longest is not None:
        max_new_tokens = min(max_new_tokens, longest - len(ids))
    ids = torch.tensor([list(ids)], device=model.device)  # (1, seq)
    cache, generated, shown, stops = None, [], "", stop_ids(tokenizer)
    for _ in range(max_new_tokens):
        output = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache = output.past_key_values
        token = int(output.logits[0, -1].argmax())
        if token in stops:
            return
        generated.append(token)
        text = tokenizer.decode(generated, skip_special_tokens=True)
        complete = text[:-1] if text.endswith("\N{REPLACEMENT CHARACTER}") else text
        yield complete[len(shown) :]
        shown = complete
        ids = torch.tensor([[token]], device=model.device)
