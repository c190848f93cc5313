"""`python -m app.assistant`, run in this process on the small paper."""

import io
import json
import os
import sys

import pytest

from app.assistant import __main__ as command
from app.assistant import library
from app.assistant.assistant import Assistant
from app.assistant.known_questions import read_questions
from qlora.errors import InputError
from tests.app.assistant.chat_server import openai_says, serving


@pytest.fixture
def run(bread, embedder, monkeypatch, capsys):
    """Runs a command line on the small paper; returns (exit status, output, errors)."""
    paper = library.papers(bread)[0]
    monkeypatch.setattr(command, "papers", lambda: [paper])
    monkeypatch.setattr(command, "Assistant", lambda _, with_pdf: Assistant(paper, bread, embedder, with_pdf))

    def run_it(*arguments):
        status = command.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run_it


def test_ask_prints_the_answer_and_its_sources(run):
    status, out, _ = run("ask", "What makes the crumb sour?")
    assert status == 0
    assert "makes the crumb sour" in out and "[1] from the paper, p. 1, 2 Method" in out


def test_ask_json_has_the_promised_fields(run):
    _, out, _ = run("ask", "How long is the dough kneaded?", "--json")
    record = json.loads(out)
    assert list(record)[:5] == ["question", "answer", "declined", "citations", "seconds"]
    assert list(record)[5:] == [
        "understood", "backend", "model", "sentences", "unsupported_share", "steps", "notice", "disagreements",
        "papers", "compared",
    ]  # fmt: skip
    assert (record["backend"], record["unsupported_share"], record["notice"]) == ("extractive", 0.0, "")
    assert record["sentences"][0]["verdict"] == "supported"
    assert {"paper", "pdf_page", "section", "quote", "score"} <= record["citations"][0].keys()
    assert record["citations"][0]["paper"] == "bread" and not record["declined"]


def test_ask_with_a_back_end_that_is_down_says_so_and_answers_all_the_same(run, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    status, out, _ = run("ask", "How long is the dough kneaded?", "--backend", "openai", "--model", "m")
    assert status == 0 and out.startswith("note: There is no server at 127.0.0.1") and "12 minutes" in out


def test_ask_with_a_back_end_shows_what_is_not_supported(run, monkeypatch):
    reply = openai_says("The dough is kneaded for 12 minutes. ", "It then rests in a copper bowl. [1]")
    with serving(reply) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        arguments = ("ask", "How long is the dough kneaded?", "--backend", "openai", "--model", "m")
        record = json.loads(run(*arguments, "--json")[1])
        text = run(*arguments)[1]
    assert [sentence["verdict"] for sentence in record["sentences"]] == ["supported", "unsupported"]
    assert record["unsupported_share"] == 0.5 and "unsupported: “It then rests in a copper bowl.”" in text


def test_check_judges_every_sentence_of_a_file(run, tmp_path):
    file = tmp_path / "text.md"
    file.write_text("# Bread\n\nThe dough contains 68 percent water. It is baked at 300 degrees.\n")
    status, out, _ = run("check", file)
    assert status == 0 and out.splitlines()[0].startswith("supported") and "unsupported share: 0.50" in out
    report = json.loads(run("check", file, "--json")[1])
    assert report["unsupported_share"] == 0.5
    assert [sentence["verdict"] for sentence in report["sentences"]] == ["", "supported", "unsupported"]


def test_check_reads_the_standard_input(run, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"Rye needs sourdough."), encoding="utf-8"))
    assert run("check", "-")[1].startswith("supported")


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a" * 300_000, None])
def test_check_of_what_is_no_text_is_an_input_error(run, tmp_path, data):
    file = tmp_path / "text.bin"
    if data is not None:
        file.write_bytes(data)
    status, out, err = run("check", file)
    assert status == 2 and out == "" and err.startswith("error: ") and err.count("\n") == 1


def test_a_file_of_questions_gives_one_object_a_line(run, tmp_path):
    file = tmp_path / "questions.jsonl"
    file.write_text('{"question": "Which flour rises most?"}\n\n{"question": "Who won the World Cup?"}\n')
    status, out, _ = run("ask", "--questions", file, "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [record["declined"] for record in records] == [False, True]


def test_index_says_whether_it_built(run):
    assert json.loads(run("index", "--json")[1])["built"] is True
    assert json.loads(run("index", "--json")[1])["built"] is False


def test_notes_only_does_not_read_the_pdf(run):
    assert json.loads(run("index", "--notes-only", "--json")[1])["pdf"] is False


def test_evaluate_reports(run, tmp_path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text(
        '{"question": "How long is the dough kneaded?", "pdf_page": 1, "keywords": ["12 minutes"]}\n'
        '{"question": "Who won the World Cup?", "answerable": false}\n'
    )
    report = json.loads(run("evaluate", gold, "--json")[1])
    assert (report["recall_at_5"], report["declined_unanswerable"], report["valid_quotes"]) == (1.0, 1.0, 1.0)
    assert "mean reciprocal rank" in run("evaluate", gold)[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask",),
        ("ask", ""),
        ("ask", "why " * 25_000),
        ("ask", "x", "--paper", "none"),
        ("ask", "--questions", "none.jsonl"),
        ("ask", "x", "--model", "m"),
        ("ask", "x", "--backend", "local", "--adapter", "no/such/folder"),
    ],
)
def test_input_that_cannot_be_used_ends_with_status_2_and_a_sentence(run, arguments):
    status, out, err = run(*arguments)
    assert status == 2 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no questions"),
        ('{"question": "a"}\nnot json\n', "line 2"),
        ('{"question": 3}', "line 1"),
        ('["question"]', "line 1"),
    ],
)
def test_a_malformed_file_of_questions_names_the_line(tmp_path, text, says):
    file = tmp_path / "questions.jsonl"
    file.write_text(text)
    with pytest.raises(InputError, match=says):
        read_questions(file)


def test_a_reader_that_has_had_enough_is_no_error(run, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert command.main(["ask", "What makes the crumb sour?"]) == 0
        closed.write("what comes after goes nowhere, and raises nothing")
