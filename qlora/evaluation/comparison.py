"""The same prompt, answered by the base model and by the finetuned one."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from qlora.errors import InputError
from qlora.evaluation import sources


def answers(
    source: str | Path, prompt: str, max_new_tokens: int, sides: Sequence[str], adapter: str | None = None
) -> Iterator[dict]:
    """Answer `prompt` with the model of a run, or with any model and an adapter.

    Args:
        source, adapter: as in `sources.adapted`.
        prompt: the question.
        max_new_tokens: longest answer.
        sides: "base" and "finetuned", in the order to answer in.

    Yields:
        ``{"side", "text"}`` for each piece of text, then ``{"side", "done": True, "new_tokens", "seconds"}``.

    Raises:
        InputError: empty prompt, no adapter, or a model or adapter that cannot be loaded.
    """
    if not prompt.strip():
        raise InputError("The prompt is empty: write a question.")
    if not 1 <= max_new_tokens <= 4096:
        raise InputError(f"The number of new tokens must be from 1 to 4096, got {max_new_tokens}.")
    from contextlib import nullcontext

    from qlora.adapters.attach import adapters_disabled
    from qlora.evaluation.generation import stream

    config, chosen = sources.adapted(source, adapter)
    model, tokenizer = sources.load(config, chosen)
    for side in sides:
        began, count = time.perf_counter(), 0
        with adapters_disabled(model) if side == "base" else nullcontext():
            for piece in stream(model, tokenizer, prompt, max_new_tokens, config.data.system_prompt):
                count += 1
                yield {"side": side, "text": piece}
        yield {"side": side, "done": True, "new_tokens": count, "seconds": time.perf_counter() - began}
