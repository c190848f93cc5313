"""Reading samples: conversations and plain texts from files of the usual forms."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qlora.data import hub, message_trees
from qlora.data.files import Row, read_rows
from qlora.data.samples import Conversation, Message, PlainText, Sample
from qlora.errors import InputError

#: The packaged file: questions and answers about QLoRA, in this project's own words.
PACKAGED_QUESTIONS = "qlora-questions"
_PACKAGED_FILES = {PACKAGED_QUESTIONS: Path(__file__).parents[1] / "recipes" / "qlora_questions.jsonl"}

#: Who speaks, by the names that datasets use (ShareGPT: human, gpt; OASST: prompter).
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}


@dataclass(frozen=True)
class Format:
    """A form that a row may have.

    Attributes:
        needed: fields that every row has.
        shown: how an error message describes it.
        parse: makes a sample of a row that has the needed fields.
    """

    needed: tuple[str, ...]
    shown: str
    parse: Callable[[Row], Sample]


def read_samples(path: str | Path, format: str = "auto") -> list[Sample]:
    """Read all samples of a file or of a dataset on the hub.

    The first row decides the form of a file, and every further row must have it: a row of another form would be
    trained on in another way without anybody noticing.

    Args:
        path: a JSONL, JSON, CSV or Parquet file, the name of a packaged one ("qlora-questions"), or a hub dataset
            (``owner/dataset`` or ``owner/dataset:file``).
        format: a key of `FORMATS`, or "auto": the first of them whose fields the first row of a file has.

    Raises:
        InputError: no such file, no sample in it, or a row that is not one; the file, line and field are named.
    """
    files = _locate(str(path))
    samples = [sample for file in files for sample in _read_file(file, format)]
    if not samples:
        raise InputError(f"The instruction file {files[0]} is empty: expected samples of the form {_shown(format)}.")
    return samples


def _locate(path: str) -> list[Path]:
    if path in _PACKAGED_FILES:
        return [_PACKAGED_FILES[path]]
    file = Path(path).expanduser()
    return hub.download(path) if not file.exists() and hub.is_hub_name(path) else [file]


def _read_file(file: Path, format: str) -> list[Sample]:
    if file.is_dir():
        raise InputError(f"The instruction file {file} cannot be read: it is a folder.")
    rows = read_rows(file)
    first = next(rows, None)
    if first is None:
        return []
    form = FORMATS[_detect(first) if format == "auto" else format]

    def checked(row: Row) -> Row:
        for name in form.needed:
            if name not in row.fields:
                got = ", ".join(map(str, row.fields)) or "nothing"
                same = "" if row is first else f", as in {first.where.rpartition(', ')[2]}"
                raise InputError(f"{row.where} has no field {name!r}, but {got}: expected {form.shown}{same}.")
        return row

    everything = (checked(row) for row in (first, *rows))
    return message_trees.threads(everything) if form is FORMATS["oasst"] else [form.parse(row) for row in everything]


def _detect(row: Row) -> str:
    for name, form in FORMATS.items():
        if all(field in row.fields for field in form.needed):
            return name
    got = ", ".join(map(str, row.fields)) or "nothing"
    raise InputError(f"{row.where} has the keys {got}: expected {_shown('auto')}.")


def _shown(format: str) -> str:
    return " or ".join(form.shown for name, form in FORMATS.items() if format in ("auto", name))


def _text(row: Row, name: str, value: Any, needed: bool = True) -> str:
    if not isinstance(value, str):
        raise InputError(f"{row.where}, field {name!r}: expected a text, got {str(value)[:60]!r}.")
    if needed and not value.strip():
        raise InputError(f"{row.where}, field {name!r} is empty: expected a text.")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise InputError(f"{row.where}, field {name!r} holds half of a character (a lone surrogate): write it whole.")
    return value


def _alpaca(row: Row) -> Conversation:
    prompt = _text(row, "instruction", row.fields["instruction"])
    extra = _text(row, "input", row.fields.get("input", ""), needed=False)
    answer = _text(row, "output", row.fields["output"])
    return Conversation.of(f"{prompt}\n\n{extra}" if extra.strip() else prompt, answer, row.where)


def _completion(row: Row) -> Conversation:
    texts = (_text(row, name, row.fields[name]) for name in ("prompt", "completion"))
    return Conversation.of(*texts, row.where)


def _plain_text(row: Row) -> PlainText:
    return PlainText(_text(row, "text", row.fields["text"]), row.where)


def _turns(field: str) -> Callable[[Row], Conversation]:
    def parse(row: Row) -> Conversation:
        turns = row.fields[field]
        if isinstance(turns, str):  # a cell of a CSV file
            try:
                turns = json.loads(turns)
            except ValueError as error:
                raise InputError(f"{row.where}, field {field!r} is a text that is not JSON ({error}).") from None
        if not isinstance(turns, list) or not turns:
            raise InputError(f"{row.where}, field {field!r}: expected a list of messages, got {str(turns)[:60]!r}.")
        messages = tuple(_message(row, f"{field}[{i}]", turn) for i, turn in enumerate(turns))
        for i, message in enumerate(messages):
            if message.role == "system" and i:
                raise InputError(f"{row.where}, field '{field}[{i}]': a system message stands first or not at all.")
            if message.role != "system" and i and message.role == messages[i - 1].role:
                raise InputError(f"{row.where}, field '{field}[{i}]': two messages in a row are the {message.role}'s.")
        if not any(message.role == "assistant" for message in messages):
            raise InputError(f"{row.where}, field {field!r} has no message of the assistant, so nothing to learn.")
        return Conversation(messages, row.where)

    return parse


def _message(row: Row, name: str, turn: Any) -> Message:
    if not isinstance(turn, dict):
        raise InputError(f"{row.where}, field {name!r}: expected an object, got {str(turn)[:60]!r}.")
    role, content = ("from", "value") if "from" in turn else ("role", "content")
    for field in (role, content):
        if field not in turn:
            raise InputError(f"{row.where}, field {name!r} has no {field!r}, but {', '.join(map(str, turn))}.")
    if turn[role] not in tuple(ROLES):
        raise InputError(
            f"{row.where}, field '{name}.{role}': expected one of {', '.join(ROLES)}, got {str(turn[role])[:60]!r}."
        )
    spoken_by = ROLES[turn[role]]
    text = _text(row, f"{name}.{content}", turn[content], needed=spoken_by != "system")
    return Message(spoken_by, text.strip())


# Detection takes the first whose fields are there, so those that could be mistaken for another come before it: the
# Alpaca file has a `text` of everything beside its parts, UltraChat a `prompt` beside its messages, OASST a `text`.
FORMATS = {
    "messages": Format(("messages",), '{"messages": [{"role": …, "content": …}, …]}', _turns("messages")),
    "sharegpt": Format(("conversations",), '{"conversations": [{"from": …, "value": …}, …]}', _turns("conversations")),
    "alpaca": Format(("instruction", "output"), '{"instruction": …, "output": …} (with or without "input")', _alpaca),
    "completion": Format(("prompt", "completion"), '{"prompt": …, "completion": …}', _completion),
    "oasst": Format(message_trees.FIELDS, "one message of a tree a row, as OASST has it", _plain_text),
    "text": Format(("text",), '{"text": …}', _plain_text),
}
