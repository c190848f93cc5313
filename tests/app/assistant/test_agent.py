"""The agent that searches with a tool, as Ollama's models drive it: its steps, and what happens when they fail."""

import json
from contextlib import ExitStack

import pytest

from app.assistant import backends
from app.assistant.backends import Passages, Request, ToolStep
from tests.app.assistant.chat_server import GOOD, QUESTION, ollama_line, ollama_says, openai_says, raw, serving


@pytest.fixture
def ollama(monkeypatch):
    """Makes the back-end for a reply; returns (back-end, requests)."""
    pytest.importorskip("langchain_ollama")
    with ExitStack() as servers:

        def make(reply):
            server = servers.enter_context(serving(reply))
            monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.server_port}")
            return backends.make("ollama", "a-model"), server.requests

        yield make


def test_the_agent_searches_shows_its_steps_and_answers(notes_assistant, ollama):
    backend, requests = ollama(
        ollama_says(
            [ollama_line("Let me look."), ollama_line(query="paged optimizers unified memory"), ollama_line(done=True)],
            [*map(ollama_line, GOOD), ollama_line(done=True)],
        )
    )
    *events, last = notes_assistant.stream(QUESTION, backend=backend)
    steps = [event for event in events if isinstance(event, ToolStep)]
    assert [(step.tool, step.query, step.done) for step in steps] == [
        ("retrieve", "paged optimizers unified memory", False),
        ("retrieve", "paged optimizers unified memory", True),
    ]
    assert steps[1].found and last.answer.steps == (steps[1],)
    assert last.answer.written == "".join(GOOD), "what was said before the search is no part of the answer"
    assert last.answer.sentences[0].verdict == "supported"
    first, second = (body for _, body, _ in requests)
    assert [tool["function"]["name"] for tool in first["tools"]] == ["retrieve"]
    assert second["messages"][-1]["role"] == "tool" and "<passage number=" in second["messages"][-1]["content"]


def test_the_agent_may_answer_without_a_search(notes_assistant, ollama):
    backend, _ = ollama(ollama_says([*map(ollama_line, GOOD), ollama_line(done=True)]))
    answer = notes_assistant.ask(QUESTION, backend=backend)
    assert answer.written == "".join(GOOD) and not answer.steps


def test_an_agent_that_only_searches_is_stopped(notes_assistant, ollama):
    backend, requests = ollama(ollama_says([ollama_line(query="memory"), ollama_line(done=True)]))
    answer = notes_assistant.ask(QUESTION, backend=backend)
    assert answer.statements and answer.notice and len(requests) < 10


def test_a_tool_that_does_not_exist_does_nothing(notes_assistant, ollama):
    backend, _ = ollama(
        ollama_says(
            [ollama_line(query="rm -rf /", tool="shell"), ollama_line(done=True)],
            [*map(ollama_line, GOOD), ollama_line(done=True)],
        )
    )
    answer = notes_assistant.ask(QUESTION, backend=backend)
    assert answer.written == "".join(GOOD) and not any(step.found for step in answer.steps)


def test_a_model_without_tools_answers_from_the_passages(notes_assistant, ollama):
    def reply(handler, body):
        if body.get("tools"):
            handler.start(400, "application/json")
            handler.put(json.dumps({"error": "a-model does not support tools"}))
            return
        ollama_says([*map(ollama_line, GOOD), ollama_line(done=True)])(handler, body)

    backend, requests = ollama(reply)
    answer = notes_assistant.ask(QUESTION, backend=backend)
    assert answer.written == "".join(GOOD) and "<passage" in requests[-1][1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (raw(b'{"error": "model not found"}', 404, "application/json"), "ollama pull a-model"),
        (raw(b"oops", 500, "text/plain"), "HTTP 500"),
        (raw(b"not json\n", 200, "application/x-ndjson"), "does not speak Ollama's protocol"),
        (raw(b"[1]\n", 200, "application/x-ndjson"), "does not speak Ollama's protocol"),
        (raw(b'{"message": 7, "done": true}\n', 200, "application/x-ndjson"), "does not speak Ollama's protocol"),
        (raw(b'{"error": "out of memory"}\n', 200, "application/x-ndjson"), "reports an error"),
        (raw(b"\xff\xfe\xfd\n", 200, "application/x-ndjson"), "does not speak Ollama's protocol"),
        (ollama_says([ollama_line(done=True)]), "without a word"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_ollama_failing_gives_one_sentence_and_the_extractive_answer(notes_assistant, ollama, reply, says):
    backend, _ = ollama(reply)
    answer = notes_assistant.ask(QUESTION, backend=backend)
    assert says in answer.notice and answer.notice.count("\n") == 0 and answer.statements


def test_ollama_not_running_gives_one_sentence_and_the_extractive_answer(notes_assistant, ollama, monkeypatch):
    with serving(openai_says()) as server:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.server_port}")
    answer = notes_assistant.ask(QUESTION, backend=backends.make("ollama"))
    assert "is it running?" in answer.notice and answer.statements


def test_the_retrieve_tool_gives_content_and_artifact(notes_assistant):
    from app.assistant.agent import retrieve_tool

    passages = Passages(notes_assistant.retrieve(QUESTION, 2))
    tool = retrieve_tool(Request(QUESTION, passages, lambda query: notes_assistant.retrieve(query, 3)))
    assert tool.response_format == "content_and_artifact"
    message = tool.invoke({"name": "retrieve", "args": {"query": "Elo"}, "id": "1", "type": "tool_call"})
    numbers, hits = message.artifact
    assert len(hits) == 3 and max(numbers) == len(passages.hits) and f'number="{numbers[0]}"' in message.content
    nothing = tool.invoke({"name": "retrieve", "args": {"query": "??"}, "id": "2", "type": "tool_call"})
    assert nothing.content == "No passage was found."
