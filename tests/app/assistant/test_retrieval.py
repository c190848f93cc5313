"""Search: slips of the hand, words matched by meaning, abbreviations, LangChain's interfaces, and several papers."""

from collections import Counter

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from app.assistant.alignment import Pieces, Reading
from app.assistant.assistant import Assistant
from app.assistant.question import parse
from app.assistant.retrieval import PaperRetriever
from app.assistant.several import SeveralPapers
from app.assistant.spelling import Spelling, distance
from app.assistant.terms import stem, tokens
from tests.app.conftest import awaited


@pytest.mark.parametrize(
    ("one", "other", "slips"),
    [("memroy", "memory", 1), ("optimzer", "optimizer", 1), ("kitten", "sitting", 3), ("a", "abcd", 3), ("", "ab", 2)],
)
def test_slips_are_counted(one, other, slips):
    assert distance(one, other, 3) == distance(other, one, 3) == slips
    assert distance(one, other, 0) == 1


@pytest.fixture(scope="module")
def spelling() -> Spelling:
    known = Counter({"memory": 9, "optimizer": 4, "paged": 3, "alpaca": 3, "annotators": 2, "carries": 1, "through": 2})
    return Spelling(known, {"calorie", "put", "weak", "dora", "rent"})


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("how much memroy", "how much memory"),
        ("the pagd optimzer", "the paged optimizer"),
        ("anotatorrs", "annotators"),
        ("Memroy?", "memory?"),
    ],
)
def test_slips_are_put_right(spelling, typed, read):
    assert spelling.correct(typed) == read


@pytest.mark.parametrize("text", ["calories", "throughput", "weakest", "renting", "dora", "MemRoy", "AlpacaX"])
def test_other_words_are_left_alone(spelling, text):
    assert spelling.correct(text) == text


def test_packed_vectors_keep_their_cosines():
    rng = np.random.default_rng(0)
    vectors = [rng.standard_normal((count, 384)).astype(np.float32) for count in (3, 1, 7)]
    vectors = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in vectors]
    query = vectors[2][:2]
    nearest = Pieces.pack(vectors).nearest(query, [2, 0, 1])
    expected = np.stack([(query @ vectors[n].T).max(axis=1) for n in (2, 0, 1)], axis=1)
    np.testing.assert_allclose(nearest, expected, atol=0.004)


def test_packed_vectors_survive_the_disk(tmp_path):
    pieces = Pieces.pack([np.eye(384, dtype=np.float32)[:2], np.eye(384, dtype=np.float32)[2:5]])
    pieces.save(tmp_path)
    loaded = Pieces.load(tmp_path)
    assert np.array_equal(loaded.codes, pieces.codes) and np.array_equal(loaded.ends, [2, 5])


def test_a_word_is_matched_by_its_meaning(embedder):
    texts = ["The reviewers noticed several flaws.", "It rained in Paris all day."]
    vectors, pieces = embedder.encode_pieces(texts)
    asked = "Which weaknesses were found?"
    (vector,), (question,) = embedder.encode_pieces([asked])
    reading = Reading(asked, asked, asked, vector, question, embedder.spans(asked))
    matched = reading.matches([stem("weaknesses"), "absent"], Pieces.pack(pieces), [0, 1])
    assert matched.shape == (2, 2)
    assert matched[0, 0] > 0.5 > matched[0, 1]
    assert not matched[1].any()
    np.testing.assert_allclose(vectors, embedder.encode(texts), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "token"),
    [("GPT-4", "gpt4"), ("48 GB", "48gb"), ("4-bit", "4bit"), ("Int8", "8bit"), ("GPT-3.5-turbo", "gpt3.5")],
)
def test_a_name_and_its_number_are_one_thing(text, token):
    assert token in tokens(text)
    assert "gpt3" not in tokens("GPT-3.5-turbo")


def test_names_with_sizes_are_read_from_the_question():
    sized = parse("Are Guanaco 33B and 65B better than the 13B Alpaca or T5-3B?").sized
    assert {("Guanaco", "33b"), ("Guanaco", "65b"), ("Alpaca", "13b"), ("T5", "3b")} <= set(sized)
    assert parse("How do 65 billion LLaMA parameters fit?").sized == (("LLaMA", "65b"),)


@pytest.mark.parametrize("question", ["What is the Elo rating of Guanaco 3B?", "How good is OPT-66B?"])
def test_a_size_that_a_name_never_has_is_declined(notes_assistant, question):
    answer = notes_assistant.ask(question)
    assert answer.declined and "never mentions" in answer.reason


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("What is DQ?", "What is Double Quantization?"),
        ("What does NF4 assume?", "What does 4-bit NormalFloat assume?"),
        ("Which PEFT methods are there?", "Which parameter efficient finetuning methods are there?"),
        ("What did AMT workers do?", "What did Amazon Mechanical Turk workers do?"),
    ],
)
def test_short_and_long_forms_are_expanded_both_ways(paper_assistant, short, long):
    search = paper_assistant.open().search
    assert search.expand(short) != short and search.expand(long) != long
    both = [{hit.number for hit in paper_assistant.retrieve(question, 5)} for question in (short, long)]
    assert len(both[0] & both[1]) >= 3


def test_misspelt_questions_find_the_same(notes_assistant):
    right = notes_assistant.retrieve("How does the paged optimizer use unified memory?", 3)
    slips = notes_assistant.retrieve("how does teh pagd optimzer use unifed memroy?", 3)
    assert {hit.number for hit in right} == {hit.number for hit in slips}


def test_retriever_in_langchain_chains(notes_assistant):
    from langchain_core.runnables import RunnableLambda

    retriever = notes_assistant.retriever(k=3)
    assert isinstance(retriever, BaseRetriever)
    alone = retriever.invoke("What is double quantization?")
    assert awaited(retriever.ainvoke("What is double quantization?")) == alone
    batch = retriever.batch(["What is double quantization?", "What are paged optimizers?"])
    assert batch[0] == alone and len(batch[1]) == 3
    chain = retriever | RunnableLambda(lambda documents: [document.metadata["pdf_page"] for document in documents])
    assert chain.invoke("What is double quantization?") == [document.metadata["pdf_page"] for document in alone]
    assert all(isinstance(document, Document) and document.metadata["paper"] == "qlora" for document in alone)


@pytest.fixture
def two_papers(bread, embedder, notes_assistant) -> SeveralPapers:
    baker = Assistant(folder=bread, embedder=embedder)
    return SeveralPapers([notes_assistant.open(), baker.open()])


def papers_of(hits) -> list[str]:
    return [hit.chunk.paper for hit in hits]


def test_the_paper_that_knows_comes_first(two_papers):
    assert papers_of(two_papers.find("How long is the dough kneaded?", 3))[0] == "bread"
    assert papers_of(two_papers.find("What are paged optimizers?", 3)) == ["qlora"] * 3


@pytest.mark.parametrize(
    "question",
    [
        "Compare the memory of QLoRA with the water of Bread for Small Ovens.",
        "What is the difference between the two approaches to resting overnight?",
        "How do Dettmers and Example measure success?",
    ],
)
def test_a_comparison_hears_every_paper(two_papers, question):
    assert set(two_papers.compared(parse(question))) == {"qlora", "bread"}
    assert set(papers_of(two_papers.find(question, 5))) == {"qlora", "bread"}


def test_a_selection_of_papers_is_searched(two_papers):
    assert set(papers_of(two_papers.only({"bread"}).find("Compare memory and water.", 5))) == {"bread"}
    retriever = PaperRetriever(find=two_papers.only({"qlora"}).find, k=4)
    documents = retriever.invoke("How long is the dough kneaded?")
    assert {document.metadata["paper"] for document in documents} == {"qlora"} and len(documents) == 4
    assert two_papers.only(set()).find("What is water?", 5) == []


def test_a_name_that_one_paper_knows_is_not_held_against_the_other(two_papers):
    for question, declined in [
        ("How much water does Spelt 630 take?", False),
        ("What is the Elo rating of Guanaco 65B?", False),
        ("How does Guanaco compare on HumanEval?", True),
    ]:
        parsed = parse(question)
        verdict, places = two_papers.judge(parsed, two_papers.rank(parsed))
        assert verdict.answers is not declined, question
        assert bool(places) is verdict.answers
