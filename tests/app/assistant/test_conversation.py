"""Follow-up questions: what they stand for, and that they are answered."""

import pytest

from app.assistant.conversation import subject, understood

MEMORY = "How much memory does Guanaco 65B need?"
PAGED = "What are paged optimizers in qlora?"
DOUBLE = "What is double quantization?"


@pytest.mark.parametrize(
    ("before", "follow_up", "means"),
    [
        (MEMORY, "and for 33B?", "How much memory does Guanaco 33B need?"),
        (MEMORY, "What about Guanaco 7B?", "How much memory does Guanaco 7B need?"),
        (MEMORY, "And Vicuna 13B?", "How much memory does Vicuna 13B need?"),
        (MEMORY, "Why is that?", "Why does Guanaco 65B need memory?"),
        ("How well does Guanaco do on MMLU?", "what about it on Vicuna?", "How well does Guanaco do on Vicuna?"),
        ("How well does Guanaco do on MMLU?", "and on the OA benchmark?",
         "How well does Guanaco do on the OA benchmark?"),
        (DOUBLE, "How much memory does it save?", "How much memory does double quantization save?"),
        (DOUBLE, "What is its blocksize?", "What is double quantization's blocksize?"),
        (PAGED, "When are they needed?", "When are paged optimizers needed?"),
        (PAGED, "Do they slow down training?", "Do paged optimizers slow down training?"),
        ("Does a larger dataset make a better chatbot?", "why?", "Why does a larger dataset make a better chatbot?"),
        ("What Elo rating does Guanaco 65B have?", "And Bard?", "What Elo rating does Bard have?"),
        ("What does Table 5 show?", "And Table 8?", "What does Table 8 show?"),
        ("Which learning rate is used for 7B?", "and for 65B?", "Which learning rate is used for 65B?"),
        ("What is the perplexity of NF4?", "how about FP4?", "What is the perplexity of FP4?"),
        ("Which LoRA rank was used?", "and the alpha?", "Which alpha was used?"),
        ("What is NF4?", "Why is it better than FP4?", "Why is NF4 better than FP4?"),
        ("How many languages does OASST1 cover?", "And how many messages does it contain?",
         "How many messages does OASST1 contain?"),
        ("How was Guanaco trained?", "on which dataset?", "On which dataset was Guanaco trained?"),
        ("How much memory do the input gradients take?", "and with gradient checkpointing?",
         "How much memory do the input gradients take with gradient checkpointing?"),
        ("What batch size was used for OASST1?", "And for HH-RLHF?", "What batch size was used for HH-RLHF?"),
        ("How do human raters judge Guanaco 7B?", "And GPT-4?", "How do human raters judge GPT-4?"),
        ("What is gradient checkpointing used for?", "How much does that save?",
         "How much does gradient checkpointing save?"),
        ("Is Guanaco biased?", "Compared to which models?", "Compared to which models is Guanaco biased?"),
        ("Who wrote the paper?", "Where do they work?", "Where do the people who wrote the paper work?"),
        ("What is Guanaco?", "Tell me more about its weaknesses", "Tell me more about Guanaco's weaknesses"),
    ],
)  # fmt: skip
def test_a_follow_up_is_understood(before, follow_up, means):
    assert understood(follow_up, [(before, "An answer.")]) == means


@pytest.mark.parametrize(
    "question",
    [
        PAGED,
        "Does QLoRA slow training when it uses paged optimizers?",
        "Which data types does this paper compare?",
        "What does Guanaco do with its prompts?",
    ],
)
def test_a_question_with_a_subject_of_its_own_is_left_alone(question):
    assert understood(question, [("What is NF4?", "A data type.")]) == question
    assert understood(question) == question


def test_a_follow_up_of_a_follow_up_is_understood():
    history = [(MEMORY, "41 GB."), ("and for 33B?", "21 GB.")]
    assert understood("and for 7B?", history) == "How much memory does Guanaco 7B need?"
    assert understood("Why?", history) == "Why does Guanaco 33B need memory?"


@pytest.mark.parametrize("question", ["", "?", "and", "why", "it", "...", "and?", "🙂", "x" * 3000, "what about   ?"])
@pytest.mark.parametrize("before", ["", "?", "it", MEMORY, "(((", "x" * 3000])
def test_nothing_that_is_typed_breaks_it(question, before):
    assert isinstance(understood(question, [(before, "")]), str)


def test_the_subject_of_a_question():
    assert subject(MEMORY) == "Guanaco 65B"
    assert subject(PAGED) == "paged optimizers"


@pytest.mark.parametrize(
    ("before", "follow_up", "holds"),
    [
        ("How much memory does Guanaco 65B take in Table 6?", "and for 33B?", "21 GB"),
        (DOUBLE, "How many bits per parameter does it save?", "0.37"),
        ("How many languages does OASST1 cover?", "And how many messages does it contain?", "161"),
        ("What Elo rating does Guanaco 65B have in Table 1?", "And Bard?", "902"),
    ],
)
def test_a_follow_up_is_answered_and_shows_what_was_understood(notes_assistant, before, follow_up, holds):
    first = notes_assistant.ask(before)
    answer = notes_assistant.ask(follow_up, [(before, first.text)])
    assert not answer.declined and holds in answer.text.replace(",", "")
    assert answer.question == follow_up and answer.understood == understood(follow_up, [(before, "")])
    assert first.understood == ""
