"""Reading instruction files."""

import json
from dataclasses import dataclass
from pathlib import Path

from qlora.errors import InputError

#: The packaged file: questions and answers about QLoRA, in this project's own words.
PACKAGED_QUESTIONS = "qlora-questions"
_PACKAGED_FILES = {PACKAGED_QUESTIONS: Path(__file__).parents[1] / "recipes" / "qlora_questions.jsonl"}
_FORMS = '{"instruction": …, "output": …} (with or without "input") or {"prompt": …, "completion": …}'


@dataclass(frozen=True)
class Sample:
    """One instruction and its answer; `line` is where in the file it stands, from 1."""

    prompt: str
    completion: str
    line: int


def read_samples(path: str | Path) -> list[Sample]:
    """Read a JSONL file, one sample a line; empty lines are passed over.

    Understood: the Alpaca form (``instruction``, optional ``input``, ``output``) and ``prompt``/``completion``.

    Args:
        path: a file, or the name of a packaged one ("qlora-questions").

    Raises:
        InputError: no such file, no sample in it, or a line that is not one; the line is named.
    """
    file = _PACKAGED_FILES.get(str(path), Path(path).expanduser())
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"There is no instruction file {file}.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"The instruction file {file} is not UTF-8 text (byte {error.start}).") from None
    except OSError as error:
        raise InputError(f"The instruction file {file} cannot be read: {error.strerror or error}.") from None
    samples = [_parse(line, number, file) for number, line in enumerate(lines, 1) if line.strip()]
    if not samples:
        raise InputError(f"The instruction file {file} is empty: expected one JSON object a line, {_FORMS}.")
    return samples


def _parse(line: str, number: int, file: Path) -> Sample:
    where = f"{file}, line {number}"
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not JSON ({error.msg} at column {error.colno}): expected {_FORMS}.") from None
    if not isinstance(fields, dict):
        raise InputError(f"{where} is not an object: expected {_FORMS}.")
    if {"instruction", "output"} <= fields.keys():
        prompt, extra, completion = fields["instruction"], fields.get("input", ""), fields["output"]
    elif {"prompt", "completion"} <= fields.keys():
        prompt, extra, completion = fields["prompt"], "", fields["completion"]
    else:
        got = ", ".join(map(str, fields)) or "nothing"
        raise InputError(f"{where} has the keys {got}: expected {_FORMS}.")
    for name, text, needed in (("question", prompt, True), ("input", extra, False), ("answer", completion, True)):
        if not isinstance(text, str) or (needed and not text.strip()):
            raise InputError(f"{where} has no {name} in words: expected a text, got {text!r}.")
    return Sample(f"{prompt}\n\n{extra}" if extra.strip() else prompt, completion.strip(), number)
