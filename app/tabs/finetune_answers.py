"""Answers of the base model and of a run's finetuned model to one prompt, streamed from a process of their own.

The process belongs to the visitor who asked: it ends with the generator, and when the app itself is gone it ends at
its next word, because nobody reads it any more.
"""

import dataclasses
import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import IO

from app import runs
from app.text import finetune as text
from app.trainer_process import last_sentence
from qlora.errors import InputError

GENERATE_COMMAND = (sys.executable, "-m", "qlora", "generate")
SIDES = ("base", "finetuned")
LONGEST_PROMPT = 8000
_LOOK_EVERY_SECONDS = 0.5


@dataclasses.dataclass
class Answer:
    """What one side has said so far; `new_tokens` and `seconds` are None until it is done."""

    text: str = ""
    new_tokens: int | None = None
    seconds: float | None = None

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        return self.new_tokens is not None


def ask_both(
    run: runs.Run, prompt: str, *, max_new_tokens: int, command: Sequence[str] = GENERATE_COMMAND
) -> Iterator[dict[str, Answer]]:
    """Ask the base model and the finetuned one; yields both answers as they grow.

    At least every half second something is yielded, new or not, so that a caller who has gone is noticed. Closing the
    generator ends the process.

    Args:
        run: an ended run that saved an adapter.
        prompt: the question.
        max_new_tokens: longest answer.
        command: program and arguments that go before the run's folder.

    Raises:
        InputError: an empty or too long prompt, no adapter, or what the process says.
    """
    if not prompt.strip():
        raise InputError(text.ASK_EMPTY_PROMPT)
    if len(prompt) > LONGEST_PROMPT:
        raise InputError(text.ASK_LONG_PROMPT.format(count=len(prompt), most=LONGEST_PROMPT))
    if not runs.has_adapter(run):
        raise InputError(text.ASK_NO_ADAPTER)
    options = [f"--prompt={prompt.replace(chr(0), '')}", f"--max-new-tokens={max_new_tokens}", "--compare", "--json"]
    answers = {side: Answer() for side in SIDES}
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            [*command, str(run.folder), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            encoding="utf-8",
        )
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        reader = threading.Thread(target=_pass_on, args=(process.stdout, lines), daemon=True)
        reader.start()
        try:
            yield answers
            while (line := _next(lines)) is not None:
                if line:
                    _take(json.loads(line), answers)
                yield answers
            exit_status = process.wait()
        finally:
            process.kill()
            process.wait()
            reader.join()
            process.stdout.close()
        if exit_status or not all(answer.done for answer in answers.values()):
            stderr.seek(0)
            words = last_sentence(stderr.read().decode("utf-8", errors="replace"))
            raise InputError(words or text.ASK_ENDED.format(reason=f" (exit status {exit_status})"))


def _pass_on(stdout: IO[str], lines: "queue.SimpleQueue[str | None]") -> None:
    for line in stdout:
        lines.put(line)
    lines.put(None)


def _next(lines: "queue.SimpleQueue[str | None]") -> str | None:
    """The next line, "" when none came in time, None at the end."""
    try:
        return lines.get(timeout=_LOOK_EVERY_SECONDS)
    except queue.Empty:
        return ""


def _take(fields: dict, answers: dict[str, Answer]) -> None:
    answer = answers[fields["side"]]
    if fields.get("done"):
        answer.new_tokens, answer.seconds = fields["new_tokens"], fields["seconds"]
    else:
        answer.text += fields["text"]
