"""Where the paper disagrees with itself, both statements are shown."""

import json
import re

import pytest

from app.assistant.answering import with_disagreements
from app.assistant.disagreements import about, disagreements
from app.assistant.evaluation import GOLD_QUESTIONS
from app.assistant.library import papers
from app.assistant.readers.page import bare
from app.assistant.readers.pdf import read_pdf
from qlora.errors import InputError

NOTES = papers()[0].notes
QUESTIONS = [
    ("Do input gradients need more memory than the LoRA weights?", 0),
    ("With gradient checkpointing, are the input gradients larger than the adapters?", 0),
    ("How much memory does the 4-bit 7B base model take?", 1),
    ("How large is the quantized 7B model in Figure 6?", 1),
    ("How much memory does Guanaco 7B need?", 2),
    ("How many GB does the smallest Guanaco model require?", 2),
    ("What is the Elo rating of Guanaco 13B?", 3),
    ("Which Elo does Guanaco-13B have on the Vicuna benchmark?", 3),
    ("What batch size was used for the 65B models?", 4),
    ("How do learning rate and batch size change for 33B and 65B?", 4),
    ("How well does Open Assistant 33B score on the Vicuna benchmark?", 5),
    ("What is the mean score of Vicuna 13B in Table 6?", 5),
    ("How many bits per parameter does NF4 with double quantization use?", 6),
    ("At how many bits per parameter do the points of Figure 3 lie?", 6),
    ("What is the total memory footprint of the 65B model in Figure 6?", 7),
    ("How much memory does QLoRA training of 65B take in total?", 7),
    ("Which model sizes were used in the data type study with OPT, BLOOM and Pythia?", 8),
    ("Up to which size were models evaluated in the comparison of 4-bit data types?", 8),
    ("What LoRA dropout was used?", 9),
    ("Which dropout for 65B models?", 9),
    ("Up to which size was T5 fully finetuned?", 10),
    ("Was the 11B T5 model fully finetuned in 16-bit?", 10),
    ("Does Guanaco outperform ChatGPT on the OA benchmark?", 11),
    ("Is Guanaco 65B better than ChatGPT on the Open Assistant benchmark?", 11),
]


def test_every_section_of_the_notes_about_disagreements_is_there():
    headings = re.findall(r"(?m)^## (.+)$", (NOTES / "14_inconsistencies.md").read_text("utf-8"))
    assert [item.heading for item in disagreements(NOTES)] == headings
    assert {number for _, number in QUESTIONS} == set(range(len(headings)))


@pytest.mark.parametrize(("question", "number"), QUESTIONS)
def test_a_question_about_a_disagreement_finds_it_and_no_other(question, number):
    assert about(question, NOTES) == (disagreements(NOTES)[number],)


def test_other_questions_find_none():
    """Of the gold questions only those about such a place; which those are was looked at one by one."""
    lines = GOLD_QUESTIONS.read_text("utf-8").splitlines()
    questions = [json.loads(line)["question"] for line in lines]
    found = [question for question in questions if about(question, NOTES)]
    assert len(found) <= 0.12 * len(questions), found


def test_quotes_and_rows_stand_on_the_pages_named(real_pdf):
    pages = read_pdf(real_pdf)
    for statement in (s for item in disagreements(NOTES) for s in item.statements):
        words = statement.quote or statement.row
        assert not words or bare(words) in bare(pages[statement.page - 1].raw_text), statement


def test_the_answer_shows_every_statement_with_its_page_and_source(paper_assistant):
    for question, number in QUESTIONS[::2]:
        answer = paper_assistant.ask(question)
        item = disagreements(NOTES)[number]
        if answer.declined:
            chunks = paper_assistant.open().search.index.chunks
            answer = with_disagreements(answer, [item], chunks)
        (shown,) = answer.disagreements
        cited = {citation.number: citation for citation in answer.citations}
        for statement, mark in zip(item.statements, shown.citations, strict=True):
            assert f"p. {statement.page}" in shown.text and statement.says in shown.text
            assert mark in cited, (question, statement)
            if statement.quote or statement.row:
                citation = cited[mark]
                assert (citation.source, citation.pdf_page) == ("paper", statement.page), (question, statement)
                assert bare(statement.quote or statement.row) in bare(citation.quote)
                assert citation.boxes


def test_few_of_these_questions_are_declined(paper_assistant):
    declined = [question for question, _ in QUESTIONS if paper_assistant.ask(question).declined]
    assert len(declined) <= 3, declined


def test_without_the_pdf_the_notes_are_the_source(notes_assistant):
    answer = notes_assistant.ask("How much memory does Guanaco 7B need?")
    (shown,) = answer.disagreements
    assert "6 GB (Table 1, p. 2)" in answer.text and "5 GB (Table 6, p. 10)" in answer.text
    sources = {c.number: c for c in answer.citations}
    assert {sources[number].source for number in shown.citations} == {"notes"}


def test_a_paper_without_such_a_file_has_none(tmp_path):
    assert about("How much memory does Guanaco 7B need?", tmp_path) == ()
    assert about("How much memory does Guanaco 7B need?", None) == ()


@pytest.mark.parametrize("text", ["not toml [", "[[disagreement]]\nheading = 'x'", "other = 1"])
def test_a_file_that_cannot_be_used_says_so(tmp_path, text):
    (tmp_path / "disagreements.toml").write_text(text)
    with pytest.raises(InputError, match=r"disagreements\.toml"):
        about("anything", tmp_path)
