"""Whether one place says of the thing that is named what is asked about it, or whether each stands somewhere else.

A paper that tells the learning rates of some models and the scores of others matches every word of a question about the
learning rate of a model that it only scores. What gives it away is that no single sentence or row matches both as well
as the paper as a whole does.
"""

import math
from collections.abc import Sequence

import numpy as np

from app.assistant.evidence import LOOSE_FACTS, Evidence
from app.assistant.question import Question
from app.assistant.statements import unstated

_USUAL = {"aligned": 0.72, "aligned_passage": 0.75, "least": 0.5, "weak": 0.2, "similar": 0.6, "most_similar": 0.6}
_USUAL_LENGTH = 1.6
"""About the mean of these features and of the length (the logarithm of one more than the words that tell) over the
questions that the weights are fitted on: products of differences from it stand beside the features themselves."""


def together(question: Question, ranked: Sequence[Evidence], weights: np.ndarray) -> dict[str, float]:
    """How well a single window matches both the names and the rest (0 to 1), and how much better the two are matched
    apart; once for the words right after what or which, once for all words that are no names.

    ``weights`` (words,) is how much each word of the question tells.
    """
    windows = np.concatenate([item.meant for item in ranked], axis=1)  # (words, windows)
    names = np.array([term.entity for term in question.words], bool)
    rest = ~names & np.array([not term.asking for term in question.words], bool)
    stems = {term.stem for term in question.asked}
    asked = np.array([term.stem in stems for term in question.words], bool)
    found = {"asked_together": 0.65, "asked_apart": 0.05, "rest_together": 0.6, "rest_apart": 0.05}
    if names.any() and asked.any():
        found |= _both("asked", windows[asked].mean(axis=0), windows[names].min(axis=0))
    if names.any() and rest.any():
        shares = weights[rest] / weights[rest].sum()
        found |= _both("rest", shares @ windows[rest], windows[names].min(axis=0))
    return found


def _both(what: str, one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    best = float(np.minimum(one, other).max())
    return {f"{what}_together": best, f"{what}_apart": float(min(one.max(), other.max())) - best}


def kinds_missing(question: Question, best: Evidence) -> dict[str, float]:
    """Which kinds of things that are asked for the place and its neighbours lack."""
    missing = unstated(question.text, around(best))
    has_fact = best.features["fact"] > 0
    strict = bool(question.fact) and question.fact not in LOOSE_FACTS
    return {
        "no_reason": float("why" in missing),
        "no_person": float("who" in missing),
        "no_value": float((strict and not has_fact) or bool(set(missing) - {"why", "who"})),
        "no_number": float(question.fact in LOOSE_FACTS and not has_fact),
    }


def by_length(question: Question, features: dict[str, float]) -> dict[str, float]:
    """The question's length, and what the features are worth more or less with it: in a long question, told in
    other words than the paper's, each word matches less, and that says less."""
    length = math.log(1 + len(question.terms))
    longer = {f"{name}_long": (features[name] - usual) * (length - _USUAL_LENGTH) for name, usual in _USUAL.items()}
    return {"length": length, **longer}


def around(item: Evidence) -> str:
    """The place with the sentence before and after it; a row with its table's title."""
    sentences = item.hit.chunk.sentences
    core = sentences[item.order]
    if core.row:
        return " ".join([*(s.text for s in sentences if not s.row), core.text])
    near = sentences[max(0, item.order - 1) : item.order + 2]
    return " ".join(sentence.text for sentence in near if not sentence.row)
