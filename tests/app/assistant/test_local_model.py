"""The project's own 4-bit model as a back-end, with and without an adapter."""

import threading

import pytest

from app.assistant import backends
from app.assistant.backends import Limits, Passages, Request, Token, local
from qlora.errors import InputError

QUESTION = "How many bits per parameter does double quantization save?"


@pytest.fixture
def request_(notes_assistant) -> Request:
    return Request(QUESTION, Passages(notes_assistant.retrieve(QUESTION, 3)), lambda query: [])


@pytest.fixture(autouse=True)
def nothing_loaded():
    local._loaded.clear()
    yield
    local._loaded.clear()


def words(backend, request, most=3) -> list[str]:
    """The first pieces that a back-end writes."""
    stop, found = threading.Event(), []
    for event in backend.stream(request, stop):
        assert isinstance(event, Token)
        found.append(event.text)
        if len(found) == most:
            stop.set()
    return found


def test_it_is_loaded_once_with_the_first_question(tiny_model, request_, monkeypatch):
    from qlora.evaluation import sources

    loads, load = [], sources.load
    monkeypatch.setattr(sources, "load", lambda *arguments: loads.append(1) or load(*arguments))
    backend = backends.make("local", str(tiny_model))
    assert not loads and backend.model == tiny_model.name
    first = words(backend, request_)
    assert words(backends.make("local", str(tiny_model)), request_) == first and len(loads) == 1


def test_a_model_that_writes_nonsense_is_marked(notes_assistant, tiny_model):
    answer = notes_assistant.ask(QUESTION, backend=backends.make("local", str(tiny_model)))
    assert answer.notice
    assert answer.statements or answer.unsupported_share > 0.5


def test_stop_ends_it_at_the_next_word(notes_assistant, tiny_model):
    stop = threading.Event()
    seen = []
    for event in notes_assistant.stream(QUESTION, backend=backends.make("local", str(tiny_model)), stop=stop):
        seen.append(event)
        stop.set()
    assert len(seen) <= 2 and seen[-1].answer.notice.startswith("Stopped")


def test_an_adapter_changes_what_it_writes(tiny_model, request_, tmp_path):
    import torch

    from qlora.adapters.attach import attach
    from qlora.adapters.checkpoint import save_adapter
    from qlora.config import AdapterConfig
    from qlora.evaluation import sources

    config, _ = sources.described(str(tiny_model))
    model, _ = sources.load(config, None)
    attach(model, AdapterConfig(r=4), dtype=torch.float32)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=5.0)
    save_adapter(model, tmp_path / "adapter", base_model=str(tiny_model))
    backend = backends.make("local", adapter=str(tmp_path / "adapter"))
    assert backend.model == f"{tiny_model.name} with adapter", "the adapter says what it is for"
    assert words(backend, request_, 8) != words(backends.make("local", str(tiny_model)), request_, 8)


def test_a_run_without_an_adapter_says_so(tmp_path):
    (tmp_path / "config.yaml").write_text("model:\n  name: x\n")
    with pytest.raises(InputError, match="saved no adapter"):
        backends.make("local", "", str(tmp_path))


def test_a_model_that_is_not_there_gives_the_extractive_answer(notes_assistant, tmp_path):
    backend = backends.make("local", str(tmp_path / "nothing"))
    answer = notes_assistant.ask(QUESTION, backend=backend)
    assert answer.statements and answer.notice and answer.backend == "extractive"


def test_the_demo_model_answers(notes_assistant, demo_model):
    """A 135-million-parameter model mostly repeats the passages; what it writes is checked like any other."""
    stop, written = threading.Event(), ""
    stream = notes_assistant.stream(
        QUESTION, backend=backends.make("local"), stop=stop, limits=Limits(between_seconds=120, total_seconds=280)
    )
    for event in stream:
        if isinstance(event, Token):
            written += event.text
            if len(written.split()) > 12:
                stop.set()
    assert event.answer.backend == "local" and event.answer.model == "smollm2-135m-instruct", event.answer.notice
    assert any(sentence.verdict for sentence in event.answer.sentences)
