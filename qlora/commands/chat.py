"""`qlora chat`: a conversation with the model of a run, or with any model."""

import json
import sys
from collections.abc import Iterable

from qlora.errors import InputError
from qlora.evaluation import sources

_RESET, _END = "/new", "/end"


def run(source: str, system_prompt: str | None, max_new_tokens: int, as_json: bool, lines: Iterable[str]) -> int:
    """Answer line after line; each answer knows what was said before.

    Args:
        source: as in `sources.described`.
        system_prompt: what the system message says; None leaves that of the run, or the template's own.
        max_new_tokens: longest answer.
        as_json: print one JSON object for each answer instead of the text as it comes.
        lines: what the user says. "/new" forgets the conversation, "/end" or the end of the lines ends it.

    Returns:
        The exit status, 0.

    Raises:
        InputError: nothing usable at `source`, or a number out of range.
    """
    if not 1 <= max_new_tokens <= 4096:
        raise InputError(f"The number of new tokens must be from 1 to 4096, got {max_new_tokens}.")
    from qlora.data.chat import dialogue_ids
    from qlora.data.samples import Message
    from qlora.evaluation.generation import continuation

    config, adapter = sources.described(source)
    model, tokenizer = sources.load(config, adapter)
    system_prompt = config.data.system_prompt if system_prompt is None else system_prompt
    talking = sys.stdin.isatty() and not as_json
    if talking:
        print(f"{_RESET} begins a new conversation, {_END} ends.")
    said: list[Message] = []
    for line in _prompted(lines, talking):
        if line == _END:
            break
        if line == _RESET:
            said.clear()
            continue
        if not line:
            continue
        said.append(Message("user", line))
        answer = ""
        for piece in continuation(model, tokenizer, dialogue_ids(tokenizer, said, system_prompt), max_new_tokens):
            answer += piece
            if not as_json:
                print(piece, end="", flush=True)
        print(json.dumps({"prompt": line, "answer": answer}, ensure_ascii=False) if as_json else "", flush=True)
        said.append(Message("assistant", answer))
    return 0


def _prompted(lines: Iterable[str], talking: bool) -> Iterable[str]:
    """The lines without white space around them, each asked for where a person types."""
    lines = iter(lines)
    while True:
        if talking:
            print("> ", end="", flush=True)
        line = next(lines, None)
        if line is None:
            return
        yield line.strip()
