"""Generated text held against the passages: labelled statements of our own, the older assistant's transcript, and every
kind of fault by itself."""

import ast
import json
import re
import time
from pathlib import Path

import pytest

from app.assistant.checking import SUPPORTED, UNSUPPORTED, WEAK, Checker
from app.assistant.checking.claims import names_in, pieces, words_of
from app.assistant.checking.values import contradiction
from app.assistant.evaluation import GOLD_QUESTIONS
from app.assistant.known_questions import read_questions
from tests.app.assistant.conftest import seeds

HERE = Path(__file__).parent
STATEMENTS = [json.loads(line) for line in (HERE / "labelled_statements.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def checker(paper_assistant) -> Checker:
    return Checker(paper_assistant.open().search)


@pytest.fixture(scope="module")
def notes_checker(notes_assistant) -> Checker:
    return Checker(notes_assistant.open().search)


def flags(checker: Checker, part: str) -> tuple[float, float]:
    """Precision and recall of "not supported" on the invented statements."""
    flagged = {True: 0, False: 0}
    records = [record for record in STATEMENTS if record["part"] == part]
    for record in records:
        (sentence,) = checker.check(record["text"]).sentences
        flagged[record["supported"]] += sentence.verdict != SUPPORTED
    invented = sum(not record["supported"] for record in records)
    return flagged[False] / (flagged[False] + flagged[True]), flagged[False] / invented


def test_the_labelled_statements_are_enough_to_measure_on():
    for part in ("development", "held-out"):
        labels = [record["supported"] for record in STATEMENTS if record["part"] == part]
        assert labels.count(True) >= 30 and labels.count(False) >= 30, part
    assert {"number", "name", "object", "causal", "direction", "negation", "invention"} <= {
        record["fault"] for record in STATEMENTS
    }


def test_inventions_are_flagged_and_paraphrases_are_not(checker):
    """The held-out statements were written after the last change of the rules and scored once: precision 0.85, recall
    0.91. (Two earlier held-out sets, which then joined the development part, had 0.75 and 0.84, 0.78 and 0.74.)"""
    precision, recall = flags(checker, "held-out")
    assert precision >= 0.80 and recall >= 0.85, (precision, recall)
    precision, recall = flags(checker, "development")
    assert precision >= 0.80 and recall >= 0.88, (precision, recall)


def test_with_the_notes_alone_inventions_are_flagged_too(notes_checker):
    """Paraphrases of the paper are paraphrases of paraphrases then, and more of them are called weak."""
    precision, recall = flags(notes_checker, "held-out")
    assert precision >= 0.6 and recall >= 0.9, (precision, recall)


def test_sentences_of_extractive_answers_are_supported(checker, paper_assistant):
    questions = [q["question"] for q in read_questions(GOLD_QUESTIONS) if q["answerable"]][::4]
    answers = [paper_assistant.ask(question) for question in questions]
    told = [statement for answer in answers for statement in answer.statements if not statement.rows]
    assert len(told) > 20, "too few sentences for this to prove anything"
    sentences = [s for statement in told for s in checker.check(statement.text).sentences if s.verdict]
    wrong = [sentence.text for sentence in sentences if sentence.verdict != SUPPORTED]
    assert len(wrong) <= 0.02 * len(sentences), wrong


def transcript() -> str:
    """The older assistant's answer, which is not part of the repository."""
    found = seeds("003_*")
    if not found:
        pytest.skip("needs the older assistant's transcript, beside the folder in QLORA_PAPERS")
    contents = re.findall(r"""^content=('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", found[0].read_text("utf-8"), re.M)
    return ast.literal_eval(contents[-1])


@pytest.mark.parametrize("fixture", ["checker", "notes_checker"])
def test_the_older_assistants_inventions_are_flagged(fixture, request):
    report = request.getfixturevalue(fixture).check(transcript())
    verdicts = {sentence.text.lower(): sentence.verdict for sentence in report.sentences if sentence.verdict}

    def verdict(*parts: str) -> str:
        (found,) = [verdict for text, verdict in verdicts.items() if all(part in text for part in parts)]
        return found

    invented = [
        ("intermediate", "saves"), ("backpropagation", "helps"), ("dynamically",), ("chunks",), ("as needed",),
        ("across", "system"),
    ]  # fmt: skip
    for parts in invented:
        assert verdict(*parts) in (WEAK, UNSUPPORTED), parts
    if fixture == "checker":
        for parts in [("is a technique used",), ("massive", "sequence"), ("out-of-memory",), ("by doing so",)]:
            assert verdict(*parts) == SUPPORTED, parts
    assert 0.4 < report.unsupported_share <= 1.0


def test_a_text_is_taken_apart_into_sentences_that_know_where_they_stand():
    text = (
        "## Memory\n\nIt takes **48 GB**, e.g. on one card. [1] Why is that?\n"
        "1. **Paging**: States move to the CPU [2, 3].\nHere is how it works:\n"
        "```\nnot a sentence\n```\nSee the range [0, 255] in Fig. 2."
    )
    found = pieces(text)
    assert [(piece.text, piece.claims, piece.citations) for piece in found] == [
        ("Memory", False, ()),
        ("It takes 48 GB, e.g. on one card.", True, (1,)),
        ("Why is that?", False, ()),
        ("States move to the CPU.", True, (2, 3)),
        ("Here is how it works:", False, ()),
        ("See the range [0, 255] in Fig. 2.", True, ()),
    ]
    assert all(text[piece.start : piece.end].replace("*", "").startswith(piece.text[:8]) for piece in found)


@pytest.mark.parametrize("text", ["", "   ", "?!", "```\ncode\n```", "# Title", "[1] [2]", "\x00", "a" * 50_000])
def test_texts_without_a_claim_have_no_verdict_to_share(notes_checker, text):
    report = notes_checker.check(text)
    assert report.unsupported_share == 0.0
    assert not any(sentence.verdict for sentence in report.sentences)


def test_a_sentence_without_end_does_not_take_minutes(notes_checker):
    start = time.monotonic()
    report = notes_checker.check("paged optimizers of the model and its weights " * 1500)
    assert report.sentences[0].verdict != SUPPORTED and time.monotonic() - start < 20


PASSAGE = "The loaf needs 35 minutes at 240 degrees while the roll needs 12 minutes, and rye is not better than wheat."


@pytest.mark.parametrize(
    ("claim", "passage"),
    [
        ("The loaf needs 12 minutes while the roll needs 35 minutes.", PASSAGE),
        ("The crumb is not sour.", "A cold rest makes the crumb sour."),
        ("A cold rest improves the crust.", "A cold rest does not improve the crust."),
        ("Wheat is better than rye.", "Rye is better than wheat in cold ovens."),
        ("Wheat outperforms rye.", "We see that rye outperforms wheat in cold ovens."),
        ("The dough goes from the oven to the fridge shelf.", "The dough goes from the fridge shelf to the oven."),
        ("Long kneading is rare.", "Long kneading is common in small ovens."),
        ("The loaf rests for 12 hours.", "The loaf rests for 12 minutes in the oven."),
    ],
)
def test_the_same_words_in_another_relation_are_noticed(claim, passage):
    names = frozenset(names_in(claim, frozenset()))
    assert contradiction(words_of(claim), [words_of(passage)], names)
    assert not contradiction(words_of(passage), [words_of(passage)], names), "a sentence contradicts itself"


def test_the_wrong_citation_is_named_with_the_right_page(checker):
    about_guanaco = checker.search.search("How long does Guanaco 65B train?", 1)
    text = "The second quantization uses 8-bit floats with a blocksize of 256. [1]"
    (sentence,) = checker.check(text, about_guanaco).sentences
    assert sentence.verdict == WEAK and "page 5" in sentence.reasons[0]


def test_a_citation_of_a_passage_that_was_not_given_is_noticed(checker):
    hits = checker.search.search("double quantization blocksize", 3)
    text = "The second quantization uses 8-bit floats with a blocksize of 256. [9]"
    (sentence,) = checker.check(text, hits).sentences
    assert sentence.verdict == WEAK and "[9]" in sentence.reasons[0]


def test_the_cited_passage_is_enough(checker):
    hits = checker.search.search("second quantization 8-bit floats blocksize 256", 3)
    text = "The second quantization uses 8-bit floats with a blocksize of 256. [1]"
    (sentence,) = checker.check(text, hits).sentences
    assert sentence.verdict == SUPPORTED and sentence.pdf_page == 5 and "256" in sentence.quote


def test_a_report_is_json(notes_checker):
    text = "Paged optimizers compress the gradients to a tenth of their bytes. They use unified memory."
    report = notes_checker.check(text)
    record = json.loads(json.dumps(report.record()))
    assert record["unsupported_share"] > 0
    assert record["sentences"][0]["verdict"] in (WEAK, UNSUPPORTED) and record["sentences"][0]["reasons"]
