"""Multiple-choice questions from files in the forms of MMLU, ARC, HellaSwag, PiQA and WinoGrande."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qlora.data.files import Row, read_rows
from qlora.errors import InputError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Question:
    """A question with its choices.

    Attributes:
        options: for each choice what is given and what is scored after it: (context, continuation). Contexts differ
            where the choice fills a gap inside a sentence (WinoGrande).
        answer: index of the right one.
        subject: of the question; "" where the file names none.
        where: the file and line it came from.
    """

    options: tuple[tuple[str, str], ...]
    answer: int
    subject: str
    where: str

    @property
    def worked(self) -> str:
        """The question with its answer, as an example to learn from."""
        return "".join(self.options[self.answer])


def read_questions(path: Path | str, style: str = "auto") -> list[Question]:
    """Read questions from a JSONL, JSON, CSV or Parquet file.

    The fields of the first row tell the form: ``question, choices, answer`` (MMLU; ``choices`` a list, ``answer`` an
    index or a letter; ``subject`` may stand beside), ``question, choices, answerKey`` (ARC: ``choices`` is an object of
    ``text`` and ``label``), ``ctx, endings, label`` (HellaSwag), ``goal, sol1, sol2, label`` (PiQA), ``sentence,
    option1, option2, answer`` (WinoGrande, the gap is "_", the answer 1 or 2).

    Args:
        path: of the file.
        style: for MMLU's and ARC's forms: "letters" lists the choices in the prompt and scores their letters
            (Hendrycks et al. 2021, what Table 4 of the paper reports), "texts" scores the choices' texts after the
            question. "auto" is letters for MMLU's form and texts for ARC's.

    Raises:
        InputError: no such file, no row in it, or a row that is not a question; the line and the field are named.
    """
    if style not in ("auto", "letters", "texts"):
        raise InputError(f"The style must be auto, letters or texts, got {style!r}.")
    file = Path(path).expanduser()
    rows = list(read_rows(file))
    if not rows:
        raise InputError(f"The file {file} is empty: expected rows with {_FORMS[0].shown}.")
    for form in _FORMS:
        if all(name in rows[0].fields for name in form.needed):
            break
    else:
        got = ", ".join(map(str, rows[0].fields)) or "nothing"
        shown = " or ".join(form.shown for form in _FORMS)
        raise InputError(f"{rows[0].where} has the keys {got}: expected {shown}.")
    for row in rows:
        for name in form.needed:
            if name not in row.fields:
                raise InputError(f"{row.where} has no field {name!r}: expected {form.shown}, as in the first row.")
    return [form.parse(row, style) for row in rows]


def _mmlu(row: Row, style: str) -> Question:
    choices = _texts(row, "choices", row.fields["choices"])
    answer = row.fields["answer"]
    if isinstance(answer, str) and len(answer.strip()) == 1 and answer.strip() in LETTERS:
        answer = LETTERS.index(answer.strip())
    return _asked(row, choices, _index(row, "answer", answer, len(choices)), style != "texts")


def _arc(row: Row, style: str) -> Question:
    listed = row.fields["choices"]
    if not isinstance(listed, dict) or not {"text", "label"} <= set(listed):
        raise InputError(f"{row.where}, field 'choices': expected an object with text and label, got {listed!r:.60}.")
    choices = _texts(row, "choices.text", listed["text"])
    if row.fields["answerKey"] not in listed["label"]:
        raise InputError(f"{row.where}, field 'answerKey': {row.fields['answerKey']!r} is none of {listed['label']}.")
    answer = _index(row, "answerKey", list(listed["label"]).index(row.fields["answerKey"]), len(choices))
    return _asked(row, choices, answer, style == "letters")


def _asked(row: Row, choices: list[str], answer: int, letters: bool) -> Question:
    question = _text(row, "question")
    subject = row.fields.get("subject") or ""
    if not isinstance(subject, str):
        raise InputError(f"{row.where}, field 'subject': expected a text, got {subject!r:.60}.")
    if letters:
        if len(choices) > len(LETTERS):
            raise InputError(f"{row.where} has {len(choices)} choices: there are letters for {len(LETTERS)}.")
        listed = "".join(f"\n{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
        options = tuple((f"{question}{listed}\nAnswer:", f" {letter}") for letter in LETTERS[: len(choices)])
    else:
        options = tuple((f"Question: {question}\nAnswer:", f" {choice}") for choice in choices)
    return Question(options, answer, subject, row.where)


def _hellaswag(row: Row, style: str) -> Question:
    endings = _texts(row, "endings", row.fields["endings"])
    context = _text(row, "ctx")
    return _ending(row, [(context, f" {ending}") for ending in endings], "label")


def _piqa(row: Row, style: str) -> Question:
    context = f"Question: {_text(row, 'goal')}\nAnswer:"
    return _ending(row, [(context, f" {_text(row, name)}") for name in ("sol1", "sol2")], "label")


def _winogrande(row: Row, style: str) -> Question:
    before, gap, after = _text(row, "sentence").partition("_")
    if not gap or not after.strip():
        raise InputError(f"{row.where}, field 'sentence': expected a gap, _, with text after it.")
    pairs = [(before + _text(row, name), f" {after.strip()}") for name in ("option1", "option2")]
    return _ending(row, pairs, "answer", first=1)


def _ending(row: Row, options: list[tuple[str, str]], field: str, first: int = 0) -> Question:
    answer = row.fields[field]
    if isinstance(answer, str) and answer.strip().isdecimal():
        answer = int(answer)
    number = answer - first if isinstance(answer, int) and not isinstance(answer, bool) else answer
    return Question(tuple(options), _index(row, field, number, len(options), first), "", row.where)


def _index(row: Row, field: str, value: object, choices: int, first: int = 0) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < choices:
        got = repr(row.fields[field])
        raise InputError(f"{row.where}, field {field!r}: expected a choice from {first} to {choices - 1 + first}, "
                         f"or its letter, got {got:.60}.")  # fmt: skip
    return value


def _text(row: Row, field: str) -> str:
    value = row.fields[field]
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{row.where}, field {field!r}: expected a text, got {value!r:.60}.")
    return value.strip()


def _texts(row: Row, field: str, value: object) -> list[str]:
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(v, str) and v.strip() for v in value):
        raise InputError(f"{row.where}, field {field!r}: expected a list of two or more texts, got {value!r:.60}.")
    return [choice.strip() for choice in value]


@dataclass(frozen=True)
class _Form:
    needed: tuple[str, ...]
    parse: Callable[[Row, str], Question]

    @property
    def shown(self) -> str:
        return "{" + ", ".join(self.needed) + "}"


_FORMS = (
    _Form(("question", "choices", "answer"), _mmlu),
    _Form(("question", "choices", "answerKey"), _arc),
    _Form(("ctx", "endings", "label"), _hellaswag),
    _Form(("goal", "sol1", "sol2", "label"), _piqa),
    _Form(("sentence", "option1", "option2", "answer"), _winogrande),
)
