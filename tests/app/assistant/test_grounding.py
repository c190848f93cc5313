"""Refusal: names and what is asked of them in one place, and the kinds of statement that questions ask for."""

import numpy as np
import pytest

from app.assistant.question import parse
from app.assistant.statements import STATEMENTS, unstated
from app.assistant.together import by_length


@pytest.mark.parametrize(
    ("question", "says", "says_not"),
    [
        ("Why is the dough rested?", "It rests overnight so that it rises.", "The dough weighs 500 g."),
        ("Who kneaded it?", "The bakers were thanked by Ada Example.", "Kneading takes ten minutes."),
        ("Where was it baked?", "It was baked in Ghent.", "Baking ends when the crust is brown."),
        ("What is the latency of the oven?", "A loaf takes 30 ms.", "A loaf weighs 1 kg."),
        ("How much energy does it need?", "The oven takes 3 kWh.", "The oven takes three loaves."),
        ("What is the licence of the recipe?", "It is under the MIT licence.", "It is on page 3."),
        ("Which version of the oven?", "An oven of version 2.", "An oven of steel."),
    ],
)
def test_kinds_of_statement(question, says, says_not):
    assert unstated(question, says) == []
    (missing,) = unstated(question, says_not)
    assert missing in STATEMENTS


def test_other_questions_ask_for_no_kind_of_statement():
    assert unstated("How much water does the dough take?", "") == []


def test_what_is_asked_and_whom_it_is_asked_of_stand_apart(notes_assistant):
    """The paper tells learning rates, and it tells of Vicuna, but not Vicuna's learning rate."""
    grounding = notes_assistant.open()

    def features(text: str) -> dict[str, float]:
        question = parse(text)
        return grounding.features(question, grounding.rank(question))

    told = features("Which learning rate was used to train Guanaco 33B?")
    untold = features("Which learning rate was used to train Vicuna?")
    assert told["asked_together"] > untold["asked_together"]
    assert untold["asked_apart"] > 0.1 > told["asked_apart"]


def test_a_window_is_matched_in_meaning_no_better_than_by_its_words(notes_assistant):
    grounding = notes_assistant.open()
    ranked = grounding.rank(parse("How many checkpoints were saved for Guanaco 65B?"))
    for item in ranked:
        assert item.meant.shape[0] == len(item.matched) and item.meant.shape[1] >= 1
        assert np.all(item.meant.max(axis=1) <= item.reached + 1e-6)
        assert item.meant.min() >= -1.0 and item.meant.max() <= 1.0 + 1e-6


def test_long_questions_are_forgiven_words_that_nothing_matches():
    matched = {"aligned": 0.5, "aligned_passage": 0.5, "least": 0.3, "weak": 0.4, "similar": 0.5, "most_similar": 0.5}
    short, long = parse("What is kneading?"), parse("How long should wheat dough rest overnight before baking loaves?")
    assert by_length(long, matched)["length"] > by_length(short, matched)["length"]
    assert np.sign(by_length(long, matched)["weak_long"]) == -np.sign(by_length(short, matched)["weak_long"])
