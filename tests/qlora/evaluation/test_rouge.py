import sys

import pytest

from qlora.data.samples import Conversation, PlainText
from qlora.errors import InputError
from qlora.evaluation.generation import stream
from qlora.evaluation.rouge import generated_rouge_l, rouge_l


def longest_common(a, b):
    """Length of the longest common subsequence, by its textbook recurrence."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_equals_the_definition():
    answers = ["the page left the gpu now", "one two three", "never"]
    references = ["the page has left the gpu", "three two one", "a word"]
    scores = []
    for answer, reference in zip(answers, references, strict=True):
        common = longest_common(answer.split(), reference.split())
        p, r = common / len(answer.split()), common / len(reference.split())
        scores.append((p, r, 2 * p * r / (p + r) if common else 0.0))
    measured = rouge_l(answers, references)
    expected = [sum(values) / 3 for values in zip(*scores, strict=True)]
    assert 0.2 < expected[2] < 0.8
    assert (measured.precision, measured.recall, measured.f1) == pytest.approx(expected)
    assert measured.answers == 3


def test_words_are_stemmed():
    assert rouge_l(["evicting pages"], ["evicted page"]).f1 == 1


def test_scores_what_the_model_generates(guesser):
    model, tokenizer = guesser
    answer = "".join(stream(model, tokenizer, "What is a page?", 8, ""))
    assert len(answer.split()) > 1
    samples = [Conversation.of("What is a page?", answer), Conversation.of("What is a page?", "entirely unlike")]
    measured = generated_rouge_l(model, tokenizer, samples, max_new_tokens=8, system_prompt="")
    assert (measured.f1, measured.answers) == (0.5, 2)


def test_other_samples_are_refused(guesser):
    with pytest.raises(InputError, match=r"line 7: .*one answer to one question"):
        generated_rouge_l(*guesser, [PlainText("a text", "line 7")])


def test_without_the_package_its_name_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(InputError, match=r"pip install 'qlora\[rouge\]'"):
        rouge_l(["a"], ["b"])
    with pytest.raises(InputError, match="no answer"):
        rouge_l([], [])
    with pytest.raises(ValueError, match="expected 1"):
        rouge_l(["a"], [])
