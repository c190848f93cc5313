"""Known questions: what they point at, what they tell, and that they are not those that the bars are measured on."""

import json

import numpy as np
import pytest

from app.assistant import library
from app.assistant.assistant import Assistant
from app.assistant.evaluation import GOLD_QUESTIONS
from app.assistant.index_folders import index_folder
from app.assistant.known_questions import FILE_NAME, KnownQuestions, holds_answer, open_known, read_questions
from app.assistant.question import parse
from qlora.errors import InputError
from tests.app.assistant.conftest import EXAMS, HELD_OUT

KNOWN = library.papers()[0].notes / FILE_NAME
RISING = {"question": "What makes dough grow?", "pdf_page": 1, "keywords": ["yeast turns sugar"]}
NOT_SAID = {"question": "How much salt goes into the dough?", "answerable": False}


@pytest.fixture
def bread_known(bread):
    """Writes known questions beside the notes about bread, and opens the assistant on them."""

    def write(*records: dict | str) -> Assistant:
        lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
        (bread / "bread" / FILE_NAME).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return Assistant(library.papers(bread)[0], bread)

    return write


@pytest.mark.parametrize(
    "file",
    [GOLD_QUESTIONS, HELD_OUT, *EXAMS],
    ids=lambda path: path.stem,
)
def test_what_is_measured_is_not_known(file):
    known = {" ".join(record["question"].lower().split()) for record in read_questions(KNOWN)}
    asked = {" ".join(gold["question"].lower().split()) for gold in read_questions(file)}
    assert len(known) >= 1500 and len(asked) >= 80, "too few questions prove nothing"
    assert not known & asked


def test_every_known_question_points_at_a_passage(paper_assistant):
    known = paper_assistant.open().known
    lost = [
        record["question"]
        for record, places in zip(known.records, known._places, strict=True)
        if record["answerable"] != bool(places)
    ]
    assert known.answered.sum() >= 1000 and (~known.answered).sum() >= 400 and not lost


def test_another_wording_is_recognized(paper_assistant):
    grounding = paper_assistant.open()

    def told(asked: str) -> dict[str, float]:
        return grounding.recall(grounding.search.read(asked)).features

    said = told("How much smaller do the weights get when the constants are compressed again?")
    unsaid = told("Which licence do the LLaMA weights have, and who sells them?")
    assert said["known_alike"] > said["unknown_alike"] and said["known_share"] > 0.5 > unsaid["known_share"]
    assert all(0.0 <= value <= 1.0 for value in (*said.values(), *unsaid.values()))


def test_a_number_that_differs_makes_another_question(bread_known):
    baked = {"question": "Is the loaf baked at 240 degrees?", "pdf_page": 1, "keywords": ["240 degrees"]}
    grounding = bread_known(baked).open()

    def alike(asked: str) -> float:
        return grounding.recall(grounding.search.read(asked)).features["known_alike"]

    assert alike("Is a loaf baked at 240 degrees?") > 0.9
    assert alike("Is a loaf baked at 180 degrees?") < alike("Is a loaf baked at 240 degrees?") - 0.05


def test_a_passage_is_found_by_the_question_that_it_is_known_to_answer(bread_known):
    asked = "What makes dough grow?"
    grounding = bread_known(NOT_SAID).open()
    assert not grounding.recall(grounding.search.read(asked)).alike
    found = bread_known(RISING, NOT_SAID).open().rank(parse(asked))
    assert holds_answer(found[0].hit.chunk, RISING) and found[0].features["known"] == pytest.approx(1.0, abs=0.02)
    assert found[0].familiar["known_alike"] > found[0].familiar["unknown_alike"]


def test_what_is_left_out_is_forgotten(bread_known):
    grounding = bread_known(RISING, NOT_SAID).open()
    reading = grounding.search.read(RISING["question"])
    grounding.known = grounding.known.without([True, False])
    assert len(grounding.known.records) == len(grounding.known.pieces.ends) == 1
    recalled = grounding.recall(reading)
    assert recalled.features["known_alike"] == 0.0 < recalled.features["unknown_alike"] and not recalled.alike


def test_the_vectors_are_computed_once(bread_known, embedder, monkeypatch):
    assistant = bread_known(RISING, NOT_SAID)
    grounding = assistant.open()
    kept = list(index_folder().glob("bread.questions.*"))
    assert len(kept) == 1

    def again() -> KnownQuestions:
        return open_known(assistant.paper, embedder, grounding.search.index)

    with monkeypatch.context() as patch:
        patch.setattr(type(embedder), "encode_pieces", lambda *_: pytest.fail("computed again"))
        assert np.array_equal(again().vectors, grounding.known.vectors)
        assert np.array_equal(again().pieces.codes, grounding.known.pieces.codes)
    for name in ("vectors.npy", "pieces.npy", "pieces.npz"):
        for damage in (b"", b"not an array"):
            (kept[0] / name).write_bytes(damage)
            assert np.allclose(again().vectors, grounding.known.vectors, atol=1e-5)
    np.save(kept[0] / "vectors.npy", np.zeros((7, 384), np.float32))
    assert again().vectors.shape == (2, 384)
    assert not list(index_folder().glob(".building-*")) and not list(index_folder().glob(".bread.questions.*"))


def test_a_paper_without_known_questions_has_none(bread):
    assistant = Assistant(library.papers(bread)[0], bread)
    grounding = assistant.open()
    assert grounding.known is None
    ranked = grounding.rank(parse("How long is the bread baked?"))
    assert ranked[0].merit == ranked[0].comparable and not ranked[0].familiar
    assert not assistant.ask("How long is the bread baked?").declined


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{", "line 1: not JSON"),
        ({"question": "Why?", "pdf_page": 1}, '"pdf_page" and "keywords"'),
        ({"text": "Why?"}, 'the text field "question"'),
    ],
)
def test_a_defect_in_the_file_is_named(bread_known, record, message):
    with pytest.raises(InputError, match=message):
        bread_known(record).open()
