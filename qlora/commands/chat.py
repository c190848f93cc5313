"""`qlora chat`: a conversation with the model of a run, or with any model."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from qlora.data.chat import dialogue_ids
from qlora.data.samples import Message
from qlora.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_RESET, _END = "/new", "/end"


def add_parser(commands: Any) -> None:
    """Add the command to those of the command line."""
    parser = commands.add_parser("chat", help="talk with the model of a run, or with any model")
    parser.add_argument("source", metavar="RUN_FOLDER_OR_MODEL")
    parser.add_argument("--adapter", metavar="ADAPTER", help="a folder or a hub name, in place of the run's own")
    parser.add_argument("--system", metavar="TEXT", help="system message; without it that of the run or of the model")
    parser.add_argument("--max-new-tokens", type=int, default=256, metavar="N")
    parser.add_argument("--json", action="store_true", help="print each answer as one JSON object")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Answer what comes in line after line; each answer knows what was said before.

    "/new" forgets the conversation; "/end", the end of the input (Ctrl-D) or Ctrl-C ends it.

    Returns:
        The exit status, 0.

    Raises:
        InputError: nothing usable at the source, a number out of range, or, unless a person is typing, a line that
            cannot be answered.
    """
    if not 1 <= options.max_new_tokens <= 4096:
        raise InputError(f"The number of new tokens must be from 1 to 4096, got {options.max_new_tokens}.")
    from qlora.evaluation import sources

    config, of_run = sources.described(options.source)
    model, tokenizer = sources.load(config, of_run if options.adapter is None else options.adapter)
    system_prompt = config.data.system_prompt if options.system is None else options.system
    talking = sys.stdin.isatty() and not options.json
    if talking:
        print(f"{_RESET} begins a new conversation, {_END} ends.")
    talk = _Talk(model, tokenizer, system_prompt, options.max_new_tokens)
    try:
        for line in _typed(sys.stdin, talking):
            if line == _END:
                break
            if line == _RESET:
                talk.said = []
            elif line:
                _print(line, talk.answer(line), options.json, talking)
    except KeyboardInterrupt:
        pass  # the usual way out of a conversation
    if talking:
        print()
    return 0


class _Talk:
    """A conversation; `said` are its messages so far."""

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        system_prompt: str | None,
        max_new_tokens: int,
    ):
        self._model, self._tokenizer = model, tokenizer
        self._system_prompt, self._max_new_tokens = system_prompt, max_new_tokens
        self.said: list[Message] = []

    def answer(self, line: str) -> Iterator[str]:
        """Answer in pieces; when the last one is out, question and answer belong to what was said.

        Raises:
            InputError: as `dialogue_ids` and `continuation`; the conversation is then as before.
        """
        from qlora.evaluation.generation import continuation

        asked = [*self.said, Message("user", line)]
        ids = dialogue_ids(self._tokenizer, asked, self._system_prompt)
        answer = ""
        for piece in continuation(self._model, self._tokenizer, ids, self._max_new_tokens):
            answer += piece
            yield piece
        self.said = [*asked, Message("assistant", answer)]


def _print(line: str, pieces: Iterator[str], as_json: bool, talking: bool) -> None:
    if as_json:
        print(json.dumps({"prompt": line, "answer": "".join(pieces)}, ensure_ascii=False), flush=True)
        return
    try:
        for piece in pieces:
            print(piece, end="", flush=True)
    except InputError as error:
        if not talking:
            raise
        print(f"qlora: {error} {_RESET} begins a new conversation.", end="", file=sys.stderr)
    print(flush=True)


def _typed(lines: Iterable[str], talking: bool) -> Iterator[str]:
    """The lines without white space around them, each asked for where a person types."""
    lines = iter(lines)
    while True:
        if talking:
            print("> ", end="", flush=True)
        try:
            line = next(lines, None)
        except UnicodeDecodeError:
            raise InputError("What was typed or piped in is not UTF-8 text: give it in that encoding.") from None
        if line is None:
            return
        yield line.strip()
