"""The experiment with the embedding model in 4 bits: what it stores, what it leaves alone, and the recorded run."""

import json
import math
import threading

import numpy as np
import pytest
from torch import nn

from app.assistant import embedding_experiment as experiment
from app.assistant.assistant import Assistant
from app.assistant.embedding import MiniLM
from app.assistant.embedding_experiment import DATA_TYPES, FULL, Experiment, Progress, run
from app.assistant.embedding_package import MODEL_SHA256
from app.assistant.evaluation import GOLD_QUESTIONS
from app.assistant.known_questions import read_questions
from app.assistant.retrieval import Search
from qlora import QuantizedLinear
from qlora.errors import InputError

GOLD = [
    {"question": "How long is the dough kneaded?", "pdf_page": 1, "keywords": ["12 minutes"]},
    {"question": "What makes the crumb sour?", "pdf_page": 1, "keywords": ["crumb sour"]},
    {"question": "Who won the World Cup?", "answerable": False},
]


def stored_bytes(shape: tuple[int, int]) -> int:
    """Codes of 4 bits; an absmax of one byte for 64 weights; for 256 of these one of fp32, and one mean of fp32."""
    count = math.prod(shape)
    blocks = math.ceil(count / 64)
    return math.ceil(count / 2) + blocks + 4 * math.ceil(blocks / 256) + 4


@pytest.fixture(scope="module")
def shapes(embedder) -> list[tuple[int, int]]:
    """Of the embedding model's linear layers."""
    found = [tuple(m.weight.shape) for m in embedder.model.modules() if isinstance(m, nn.Linear)]
    assert len(found) == 36, "six of each of six layers, else this is another model"
    return found


@pytest.fixture(scope="module")
def small_model() -> MiniLM:
    return experiment.quantized("nf4", MODEL_SHA256)


def test_every_linear_layer_is_stored_in_4_bits_and_nothing_else(small_model, embedder, shapes):
    layers = [m for m in small_model.model.modules() if isinstance(m, QuantizedLinear)]
    assert len(layers) == len(shapes) and not any(isinstance(m, nn.Linear) for m in small_model.model.modules())
    linear, whole = experiment.bytes_of(small_model.model)
    full_linear, full_whole = experiment.bytes_of(embedder.model)
    assert linear == sum(map(stored_bytes, shapes)) and full_linear == sum(4 * math.prod(shape) for shape in shapes)
    assert whole - linear == full_whole - full_linear, "word table, norms and biases are the same"
    assert full_whole == sum(parameter.nbytes for parameter in embedder.model.parameters())
    assert not any(isinstance(m, QuantizedLinear) for m in embedder.model.modules()), "the assistant's own is untouched"


def test_its_vectors_are_near_the_fp32_ones(small_model, embedder):
    texts = ["We knead the dough for 12 minutes.", "Quantization to 4 bits."]
    cosines = (small_model.encode(texts) * embedder.encode(texts)).sum(1)
    assert (cosines > 0.9).all() and (cosines < 0.9999).all()


@pytest.fixture
def assistant(bread, embedder) -> Assistant:
    return Assistant(folder=bread, embedder=embedder)


def test_a_run_tells_how_far_it_is_and_touches_no_index(assistant, embedder):
    index = assistant.open().search.index
    before = {path: path.read_bytes() for path in index.folder.rglob("*") if path.is_file() and "lock" not in path.name}
    *told, found = run(assistant, GOLD, ("int4",), command="typed")
    assert isinstance(found, Experiment) and all(isinstance(event, Progress) for event in told)
    shares = [event.share for event in told]
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] <= 1
    assert {(event.data_type, event.searching) for event in told} == {
        (FULL, True), ("int4", False), ("int4", True),
    }  # fmt: skip
    assert before == {path: path.read_bytes() for path in before}
    assert index.vectors("passages") is not None and assistant.open().search.index is index
    full, small = found.rows
    assert (full.data_type, full.mean_cosine, small.data_type) == (FULL, 1.0, "int4")
    assert 0.9 < small.least_cosine <= small.mean_cosine < 1 and small.linear_bytes < full.linear_bytes / 7
    assert full.whole.recall_at_5 == 1.0 and full.dense.recall_at_5 == 1.0
    assert (found.questions, found.passages, found.sentences) == (2, len(index.chunks), len(index.sentence_of))
    assert (found.paper, found.command, found.block_size, found.double_quantization) == ("bread", "typed", 64, True)
    assert Experiment.from_record(json.loads(json.dumps(found.record()))) == found
    assert "int4" in found.readable() and "2 questions" in found.readable()


def test_search_by_vectors_alone_is_that_of_the_nearest_vector(assistant, embedder):
    index = assistant.open().search.index
    question = "What makes the crumb sour?"
    order = experiment.by_vectors(Search(index, embedder), question)
    assert "crumb sour" in index.chunks[order[0]].text and len(order) == len(set(order))
    vector = Search(index, embedder).read(question).vector
    cosines = {number: float(index.vectors("passages")[number] @ vector) for number in order}
    for place, number in enumerate(index.sentence_chunk):
        if number in cosines:
            cosines[number] = max(cosines[number], float(index.vectors("sentences")[place] @ vector))
    reworded = [note for notes in index.rewordings.values() for note in notes]
    assert not set(reworded) & set(order)
    values = [cosines[number] for number in order if number not in index.rewordings]
    assert values == sorted(values, reverse=True) and np.isfinite(values).all()


def test_a_run_that_is_stopped_gives_nothing(assistant):
    stop = threading.Event()
    events = []
    for event in run(assistant, GOLD, ("int4",), stop):
        events.append(event)
        stop.set()
    assert events and not any(isinstance(event, Experiment) for event in events)


def test_what_goes_wrong_on_the_way_is_said(assistant, monkeypatch):
    def fails(*_):
        raise InputError("no room")

    monkeypatch.setattr(experiment, "vectors_of", fails)
    with pytest.raises(InputError, match="no room"):
        list(run(assistant, GOLD, ("int4",)))


@pytest.mark.parametrize(
    ("questions", "data_types", "says"),
    [
        (GOLD, ("int5",), "not int5"),
        (GOLD, (), "not none"),
        (GOLD[2:], ("nf4",), "there must be one"),
        ([{"question": "a"}], ("nf4",), '"pdf_page" and "keywords"'),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is(questions, data_types, says):
    with pytest.raises(InputError, match=says):
        list(run(None, questions, data_types))


def test_the_recorded_run_is_of_these_questions_and_of_this_model(shapes):
    found = experiment.recorded()
    assert tuple(row.data_type for row in found.rows) == (FULL, *DATA_TYPES)
    assert found.questions == sum(question.get("answerable", True) for question in read_questions(GOLD_QUESTIONS))
    assert (found.paper, found.block_size, found.double_quantization, found.has_paper) == ("qlora", 64, True, True)
    full, *others = found.rows
    assert full.linear_bytes == sum(4 * math.prod(shape) for shape in shapes)
    assert {row.linear_bytes for row in others} == {sum(map(stored_bytes, shapes))}
    assert {row.model_bytes - row.linear_bytes for row in others} == {full.model_bytes - full.linear_bytes}
    for row in found.rows:
        assert 0 < row.least_cosine <= row.mean_cosine <= 1
        for quality in (row.dense, row.whole):
            assert 0 < quality.recall_at_1 <= quality.mean_reciprocal_rank <= 1
            assert quality.recall_at_1 <= quality.recall_at_5 <= 1
            for share in (quality.recall_at_1, quality.recall_at_5):
                assert math.isclose(share * found.questions, round(share * found.questions), abs_tol=1e-9)
    assert found.device and found.date and {"python", "torch", "transformers", "qlora"} <= found.versions.keys()
    assert "embedding-experiment" in found.command


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rows": []}'])
def test_a_damaged_recording_is_one_sentence(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(InputError, match=r"^The recording r\.json cannot be used"):
        experiment.recorded(tmp_path / "r.json")
