"""Questions and answers: the bars on the gold questions, and that every quote is where it is said to be."""

import pytest

from app.assistant.assistant import Assistant
from app.assistant.evaluation import GOLD_QUESTIONS, evaluate
from app.assistant.grounding import quote_is_on_page
from app.assistant.known_questions import read_questions
from app.assistant.readers.pdf import raw_text, read_pdf
from qlora.errors import InputError
from tests.app.assistant.conftest import EXAMS


@pytest.fixture(scope="module")
def gold() -> list[dict]:
    questions = read_questions(GOLD_QUESTIONS)
    assert sum(question["answerable"] for question in questions) >= 30, "too few questions for these bars"
    assert sum(not question["answerable"] for question in questions) >= 20, "too few questions for these bars"
    return questions


@pytest.fixture(scope="module")
def paper_report(paper_assistant, gold):
    return evaluate(paper_assistant, gold)


@pytest.fixture(scope="module")
def notes_report(notes_assistant, gold):
    return evaluate(notes_assistant, gold)


def test_bars_with_the_paper(paper_report):
    assert paper_report.recall_at_5 >= 0.95, paper_report.readable()
    assert paper_report.mean_reciprocal_rank >= 0.90, paper_report.readable()
    assert paper_report.page_cited >= 0.95, paper_report.readable()
    assert paper_report.declined_unanswerable >= 0.90, paper_report.readable()
    assert paper_report.declined_answerable <= 0.05, paper_report.readable()


def test_bars_with_the_notes_alone(notes_report):
    assert notes_report.recall_at_5 >= 0.95, notes_report.readable()
    assert notes_report.page_cited >= 0.90, notes_report.readable()
    assert notes_report.declined_unanswerable >= 0.90, notes_report.readable()
    assert notes_report.declined_answerable <= 0.10, notes_report.readable()


def test_bars_on_questions_that_nothing_was_fitted_on(paper_assistant):
    """Written from the paper's text by others, who knew neither the gold questions nor the known ones."""
    asked = [gold for file in EXAMS for gold in read_questions(file)]
    report = evaluate(paper_assistant, asked)
    assert report.answerable >= 250 and report.unanswerable >= 120, "too few questions for these bars"
    assert report.recall_at_5 >= 0.95, report.readable()
    assert report.mean_reciprocal_rank >= 0.90, report.readable()
    assert report.declined_unanswerable >= 0.90, report.readable()
    assert report.declined_answerable <= 0.05, report.readable()


def test_every_quote_stands_on_the_page_that_is_cited(paper_report, notes_report):
    assert paper_report.citations > 300 and notes_report.citations > 300
    assert paper_report.valid_quotes == notes_report.valid_quotes == 1.0


def test_quotes_of_the_paper_are_in_the_text_that_pdfium_yields(paper_assistant, real_pdf):
    pages = read_pdf(real_pdf)
    answer = paper_assistant.ask("How many bits per parameter does double quantization save?")
    assert not answer.declined
    for citation in answer.citations:
        if citation.source == "paper":
            assert quote_is_on_page(citation.quote, pages[citation.pdf_page - 1])
            squeezed = "".join(raw_text(real_pdf, citation.pdf_page).split())
            assert "".join(citation.quote.split())[:12] in squeezed
            assert citation.boxes


def test_a_quote_that_is_not_there_is_noticed(real_pdf):
    page = read_pdf(real_pdf)[4]
    assert quote_is_on_page("32/64 = 0.5 bits", page)
    assert not quote_is_on_page("32/64 = 0.6 bits", page)
    assert not quote_is_on_page("", page)


def test_the_answer_holds_the_value(paper_assistant):
    answer = paper_assistant.ask(
        "What mean perplexity does NFloat4 with double quantization reach on Pile Common Crawl?"
    )
    assert "27.41" in answer.statements[0].text
    assert answer.citations[0].pdf_page == 7 and answer.citations[0].label == "Table 2"
    assert answer.statements[0].columns == ("Data type", "Mean PPL")


def test_the_older_assistants_question_is_answered_from_sections_3_and_4(paper_assistant):
    answer = paper_assistant.ask("what are paged optimizers in qlora?")
    spoken = [answer.citations[statement.citation - 1] for statement in answer.statements]
    assert {citation.section[0] for citation in spoken} >= {"3", "4"}
    assert answer.statements[0].text.startswith("Paged Optimizers use"), "what a thing is comes before how it does"


def test_no_sentence_is_told_twice(paper_assistant):
    answer = paper_assistant.ask("How much memory does the 4-bit 7B base model take?")
    assert answer.text.count("In comparison, the 4-bit base model consumes") == 1


def test_numbers_that_are_only_drawn_come_from_the_notes(paper_assistant):
    answer = paper_assistant.ask("How much memory does the optimizer take for the 7B model in Figure 6?")
    assert "1152" in answer.text
    source = answer.citations[answer.statements[0].citation - 1]
    assert (source.source, source.pdf_page) == ("notes", 26)


def test_without_the_pdf_answers_are_from_the_notes(notes_assistant):
    answer = notes_assistant.ask("What are paged optimizers?")
    assert not answer.declined
    assert {citation.source for citation in answer.citations} == {"notes"}
    assert answer.citations[0].pdf_page in (2, 5, 6)
    assert not answer.citations[0].boxes


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of France?",
        "What learning rate did they use for Mistral 7B?",
        "How does it score on HumanEval?",
        "What did the training cost in dollars?",
        "asdkjh qwe zxmnb?",
        "<script>alert(1)</script>",
        "'; DROP TABLE passages; --",
        "How was Guanaco 70B trained?",
    ],
)
def test_what_the_paper_does_not_say_is_declined(notes_assistant, question):
    answer = notes_assistant.ask(question)
    assert answer.declined and answer.reason
    assert not answer.statements


def test_a_refusal_offers_the_nearest_passages(notes_assistant):
    answer = notes_assistant.ask("How does QLoRA perform on HumanEval?")
    assert "HumanEval" in answer.reason
    assert 1 <= len(answer.citations) <= 3


@pytest.mark.parametrize("question", ["", "  ", "?" * 40, "why " * 25_000])
def test_questions_that_cannot_be_read_are_input_errors(question):
    with pytest.raises(InputError):
        Assistant().ask(question)


def test_abbreviations_and_long_forms_find_the_same(notes_assistant):
    short = notes_assistant.retrieve("What is DQ?", 5)
    long = notes_assistant.retrieve("What is double quantization?", 5)
    assert {hit.number for hit in short} & {hit.number for hit in long}


def test_the_retriever_speaks_langchain(notes_assistant):
    from langchain_core.retrievers import BaseRetriever

    retriever = notes_assistant.retriever(k=4)
    assert isinstance(retriever, BaseRetriever)
    documents = retriever.invoke("Which layers get adapters?")
    assert len(documents) == 4
    assert {"paper", "pdf_page", "section", "boxes", "score"} <= documents[0].metadata.keys()
    assert documents[0].page_content


def test_a_named_table_comes_first(notes_assistant):
    assert notes_assistant.retrieve("What does Table 8 show?", 1)[0].chunk.label == "Table 8"


def test_the_list_of_references_stays_out_unless_asked_for(notes_assistant):
    def sections(question):
        return {hit.chunk.section.split(":")[0] for hit in notes_assistant.retrieve(question, 5)}

    assert "References" not in sections("What is quantization?")
    assert "References" in sections("Which references are cited as number 28?")
