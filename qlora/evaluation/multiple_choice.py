"""Multiple choice: which of the choices a model finds likeliest, without and with worked examples."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qlora.errors import InputError
from qlora.evaluation.choice_files import Question
from qlora.evaluation.likelihood import Pair, encode_pair, max_length, score

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_ASKED_AT_A_TIME = 64


@dataclass(frozen=True)
class Accuracy:
    """What `accuracy` measures.

    Attributes:
        accuracy: share of questions whose right choice has the highest log-likelihood.
        accuracy_normalised: the same by log-likelihood a character of the choice, which does not favour short ones
            (lm-eval's ``acc_norm``). Equal to `accuracy` where choices are letters.
        questions: how many.
        by_subject: subject -> (accuracy, questions), of files that name subjects.
        mean_of_subjects: mean of these accuracies, each subject counting alike; None without subjects.
        shots: worked examples before each question.
        shortened: questions that had fewer, because all did not fit.
        chosen: index of the likeliest choice for each question.
    """

    accuracy: float
    accuracy_normalised: float
    questions: int
    by_subject: dict[str, tuple[float, int]]
    mean_of_subjects: float | None
    shots: int
    shortened: int
    chosen: tuple[int, ...]


def accuracy(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    questions: Sequence[Question],
    *,
    examples: Sequence[Question] = (),
    shots: int = 0,
    seed: int = 0,
    batch_size: int = 8,
) -> Accuracy:
    """Answer questions by the log-likelihood of each choice. MMLU with 5 shots is Table 4 of the paper.

    Args:
        model: causal, in evaluation mode.
        tokenizer: of the model. The chat template is not used, as is the custom with these benchmarks.
        questions: from `choice_files.read_questions`.
        examples: to draw worked examples from, of the question's own subject where it has one. All questions of a
            subject get the same; where there are just as many as asked for, they keep the file's order.
        shots: worked examples before each question; where the prompt is longer than the model, as many as fit.
        seed: of the draw.
        batch_size: sequences read together.

    Raises:
        InputError: no questions, fewer examples than shots, an example that is also a question, or a question that the
            model is too short for.
    """
    if not questions:
        raise InputError("There is no question to answer.")
    asked = {question.options for question in questions}
    for example in examples if shots else ():
        if example.options in asked:
            raise InputError(f"{example.where} is an example and also a question, which would give its answer away.")
    drawn = {subject: _draw(examples, subject, shots, seed) for subject in {q.subject for q in questions}}
    chosen, right, right_normalised, shortened = [], [], [], 0
    for first in range(0, len(questions), _ASKED_AT_A_TIME):
        part = questions[first : first + _ASKED_AT_A_TIME]
        pairs: list[Pair] = []
        for question in part:
            encoded, fewer = _encoded(model, tokenizer, question, drawn[question.subject])
            pairs += encoded
            shortened += fewer
        scores = iter(score(model, pairs, batch_size))
        for question in part:
            likelihoods = [next(scores).log_likelihood for _ in question.options]
            lengths = [len(continuation.strip()) for _, continuation in question.options]
            normalised = [value / length for value, length in zip(likelihoods, lengths, strict=True)]
            chosen.append(likelihoods.index(max(likelihoods)))
            right.append(chosen[-1] == question.answer)
            right_normalised.append(normalised.index(max(normalised)) == question.answer)
    counts = Counter(question.subject for question in questions if question.subject)
    hits = Counter(question.subject for question, hit in zip(questions, right, strict=True) if hit)
    by_subject = {subject: (hits[subject] / count, count) for subject, count in sorted(counts.items())}
    return Accuracy(
        accuracy=sum(right) / len(questions),
        accuracy_normalised=sum(right_normalised) / len(questions),
        questions=len(questions),
        by_subject=by_subject,
        mean_of_subjects=sum(a for a, _ in by_subject.values()) / len(by_subject) if by_subject else None,
        shots=shots,
        shortened=shortened,
        chosen=tuple(chosen),
    )


def _draw(examples: Sequence[Question], subject: str, shots: int, seed: int) -> list[Question]:
    if not shots:
        return []
    fitting = [example for example in examples if not subject or example.subject == subject]
    if len(fitting) < shots:
        of = f" of the subject {subject!r}" if subject else ""
        raise InputError(
            f"There are {len(fitting)} examples{of} for {shots} shots: give a file with more, or ask less."
        )
    # A seed of each subject's own: leaving a subject out changes nothing in the others.
    kept = random.Random(f"{seed} {subject}").sample(range(len(fitting)), shots)
    return [fitting[index] for index in sorted(kept)]


def _encoded(model, tokenizer, question: Question, examples: Sequence[Question]) -> tuple[list[Pair], bool]:
    """The pairs to score, and whether there are fewer examples in them than asked for."""
    longest = max_length(model)
    heading = ""
    if question.subject:
        heading = f"The following are multiple choice questions (with answers) about {_spoken(question.subject)}.\n\n"
    for count in range(len(examples), -1, -1):
        before = heading + "".join(f"{example.worked}\n\n" for example in examples[:count])
        pairs = [encode_pair(tokenizer, before + context, after) for context, after in question.options]
        if longest is None or all(len(context) + len(after) - 1 <= longest for context, after in pairs):
            return pairs, count < len(examples)
    raise InputError(f"{question.where} is longer than the {longest} tokens that the model takes: leave it out.")


def _spoken(subject: str) -> str:
    return subject.replace("_", " ")
