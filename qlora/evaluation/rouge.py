"""ROUGE-L of generated answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qlora.data.samples import Conversation, Sample
from qlora.errors import InputError
from qlora.evaluation.generation import stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class RougeL:
    """Means over the answers, from 0 to 1.

    Attributes:
        precision: longest common subsequence of words by words generated.
        recall: the same by words of the reference.
        f1: their harmonic mean, what Table 3 of the paper calls RougeL (times 100).
        answers: how many.
    """

    precision: float
    recall: float
    f1: float
    answers: int


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> RougeL:
    """ROUGE-L (Lin 2004) by the rouge-score package, with stemming, as Super-Natural Instructions is scored.

    Args:
        answers: generated.
        references: one for each.

    Raises:
        InputError: nothing to score, or rouge-score is not installed.
        ValueError: not as many references as answers.
    """
    if len(answers) != len(references):
        raise ValueError(f"references: expected {len(answers)}, one for each answer, got {len(references)}")
    if not answers:
        raise InputError("There is no answer to score.")
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ModuleNotFoundError:
        raise InputError("ROUGE-L needs the package rouge-score: run `pip install 'qlora[rouge]'`.") from None
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    scores = [scorer.score(reference, answer)["rougeL"] for answer, reference in zip(answers, references, strict=True)]
    precision, recall, f1 = (sum(values) / len(scores) for values in zip(*scores, strict=True))
    return RougeL(precision, recall, f1, len(scores))


def generated_rouge_l(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    samples: Sequence[Sample],
    *,
    max_new_tokens: int = 128,
    system_prompt: str | None = None,
) -> RougeL:
    """Let the model answer each question greedily and compare with the answer of the file.

    Args:
        model: causal, in evaluation mode.
        tokenizer: of the model.
        samples: of one question and one answer each (Alpaca, prompt and completion, or messages).
        max_new_tokens: longest answer.
        system_prompt: as in `data.chat.prompt_ids`.

    Raises:
        InputError: a sample of another form, or as `rouge_l`.
    """
    answers, references = [], []
    for sample in samples:
        turns = sample.messages if isinstance(sample, Conversation) else ()
        if [turn.role for turn in turns] != ["user", "assistant"]:
            raise InputError(f"{sample.where}: ROUGE-L compares one answer to one question, expected just these two.")
        references.append(turns[1].content)
    for sample in samples:
        question = sample.messages[0].content
        answers.append("".join(stream(model, tokenizer, question, max_new_tokens, system_prompt)))
    return rouge_l(answers, references)
