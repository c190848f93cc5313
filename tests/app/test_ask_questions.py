"""Questions in the Ask tab: what its handlers yield, what is stopped, refused and kept."""

import threading
from types import SimpleNamespace

import pytest

from app.assistant.backends import ToolStep
from app.assistant.feedback import Feedback
from app.tabs import ask_questions as ask
from app.tabs import ask_session, ask_visitor
from app.text import ask as text

VISITOR = "somebody"
HERE = SimpleNamespace(session_hash="a page")


def asked(question: str, answers=(), who="extractive", adapter="", model="", request=HERE, selected=()) -> list:
    return list(ask.answer(question, list(answers), VISITOR, list(selected), False, who, adapter, model, request))


@pytest.mark.parametrize("question", ["", "   ", "??", "why " * 25_000])
def test_a_question_that_cannot_be_read_is_one_sentence_and_asks_nothing(question, monkeypatch):
    monkeypatch.setattr(ask_session, "session", lambda: pytest.fail("nothing is to be opened"))
    (update,) = asked(question)
    assert update.problem.count("<p") == 1 and 'role="alert"' in update.problem


class FakeSession:
    """The real assistant on the small paper, without a thread."""

    def __init__(self, assistant):
        self.assistant = assistant
        self.state = None

    def opening(self):
        self.state = SimpleNamespace(done=True, problem="", share=1.0)
        return self.state


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A session with notes only, of a paper of two lines."""
    from app.assistant.assistant import Assistant

    folder = tmp_path / "papers"
    (folder / "tea").mkdir(parents=True)
    (folder / "tea" / "1.md").write_text(
        "## How tea is made\n> Section 1 · page 3\n\nGreen tea is steeped for 2 minutes at 75 degrees.\n",
        encoding="utf-8",
    )
    (folder / "manifest.toml").write_text(
        '[[paper]]\nid = "tea"\ntitle = "Tea"\nauthors = ["A"]\narxiv = "0000.00002"\nversion = 1\nyear = 2020\n'
        'licence = "CC0"\nsha256 = "0"\npages = 4\nnotes = "tea"\n'
    )
    monkeypatch.setenv("QLORA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("QLORA_PAPERS", raising=False)
    session = FakeSession(Assistant(folder=folder))
    monkeypatch.setattr(ask_session, "session", lambda: session)
    store = Feedback(tmp_path / "feedback.sqlite3")
    monkeypatch.setattr(ask_visitor, "feedback", lambda: store)
    return session


QUESTION = "How long is green tea steeped?"


def test_a_question_is_answered_with_a_source_that_can_be_shown(small):
    *_, last = asked(QUESTION)
    assert "2 minutes" in last.conversation and 'data-citation="0.1"' in last.conversation
    assert "from our notes on p. 3" in last.page and "<mark>" in last.page
    shown, chosen = ask.show_source(last.answers, SimpleNamespace(citation="0.1"))
    assert (shown, chosen) == (last.page, last.chosen) and 'aria-pressed="true"' in last.conversation


@pytest.mark.parametrize("chosen", ["", "0.9", "7.1", "x.y", "0.1; drop", "-1.1", "².1"])
def test_a_source_that_does_not_exist_is_said(small, chosen):
    *_, last = asked(QUESTION)
    shown, now = ask.show_source(last.answers, SimpleNamespace(citation=chosen))
    assert 'role="alert"' in shown and now == ""


def test_an_unanswerable_question_is_declined_on_the_page(small):
    *_, last = asked("What does Mistral 7B cost?")
    assert text.DECLINED in last.conversation and text.EMPTY_PAGE in last.page


def test_a_problem_of_the_index_stands_in_the_page_and_the_question_is_kept(small, monkeypatch):
    monkeypatch.setattr(small, "opening", lambda: SimpleNamespace(done=True, problem="no space <left>", share=0.0))
    *_, last = asked(QUESTION)
    assert last.question == QUESTION and "no space &lt;left&gt;" in last.problem


def test_a_follow_up_is_understood_from_the_conversation(small):
    *_, first = asked(QUESTION)
    *_, second = asked("And at how many degrees?", first.answers)
    assert "75 degrees" in second.conversation and "Understood as:" in second.conversation
    anew = ask.start_anew(HERE)
    assert anew.answers == [] and anew.conversation == ""


class Slow:
    """A model that writes a word whenever it is let."""

    name, model, first_token_seconds = "ollama", "slow", 60.0

    def __init__(self):
        self.stopped = threading.Event()

    def stream(self, request, stop):
        from app.assistant.backends import Token

        yield ToolStep("retrieve", "tea")
        yield ToolStep("retrieve", "tea", (1,), done=True)
        yield Token("Green tea is steeped for 2 minutes [1]. ")
        yield Token("<b>More</b> ")
        stop.wait(60)
        self.stopped.set()


@pytest.fixture
def slow(small, monkeypatch):
    model = Slow()
    monkeypatch.setattr(ask.writers, "backend", lambda *choice: model)
    return model


def until(turn, reached) -> ask.Shown:
    return next(update for update in turn if reached(update))


def test_stop_ends_the_model_and_keeps_what_it_wrote(slow):
    turn = ask.answer(QUESTION, [], VISITOR, [], False, "ollama", "", "", HERE)
    writing = until(turn, lambda update: "More" in str(update.pending))
    assert "Looked for “tea”: 1 passage" in writing.pending and "&lt;b&gt;More" in writing.pending
    ask.stop_writing(HERE)
    *_, last = turn
    assert "2 minutes" in last.answers[-1].written and "Stopped" in last.conversation
    assert slow.stopped.wait(10), "the model went on after Stop"


def test_a_second_question_waits_with_a_sentence_but_not_in_another_page(slow):
    turn = ask.answer(QUESTION, [], VISITOR, [], False, "ollama", "", "", HERE)
    until(turn, lambda update: "More" in str(update.pending))
    (refused,) = asked(QUESTION)
    assert text.BUSY in refused.problem and refused.question is ask.Shown().question, "the typed text stays"
    elsewhere = ask.answer(QUESTION, [], VISITOR, [], False, "ollama", "", "", SimpleNamespace(session_hash="another"))
    until(elsewhere, lambda update: "More" in str(update.pending))
    elsewhere.close()
    turn.close()
    assert slow.stopped.wait(10), "a page that is closed leaves its model writing"
    again = ask.answer(QUESTION, [], VISITOR, [], False, "ollama", "", "", HERE)
    assert next(again).pending, "the page may ask again"
    again.close()


def test_a_conversation_that_was_ended_meanwhile_does_not_come_back(slow):
    turn = ask.answer(QUESTION, [], VISITOR, [], False, "ollama", "", "", HERE)
    until(turn, lambda update: "More" in str(update.pending))
    ask.start_anew(HERE)
    *_, last = turn
    assert last.answers == ask.Shown().answers and last.pending == ""


def test_votes_and_questions_are_kept_and_a_vote_can_be_taken_back(small):
    *_, last = asked(QUESTION)

    def press(value: str) -> str:
        return ask.vote(last.answers, "", VISITOR, SimpleNamespace(entry="0", value=value))[0]

    pressed = 'data-value="{}" aria-pressed="true"'
    assert pressed.format("1") in press("1")
    assert pressed.format("-1") in press("-1")
    *_, again = asked(QUESTION)
    assert pressed.format("-1") in again.conversation, "the same answer has the vote it was given"
    assert 'aria-pressed="true"' not in press("-1").partition("ask-votes")[2]
    assert QUESTION in ask_visitor.earlier(VISITOR) and ask_visitor.earlier("somebody else") == ""


def test_a_vote_on_an_answer_that_is_gone_is_said(small):
    assert text.ANSWER_GONE in ask.vote([], "", VISITOR, SimpleNamespace(entry="7", value="1"))[1]


def test_the_first_paint_reads_neither_model_nor_index():
    import subprocess
    import sys

    script = (
        "import sys, gradio as gr; from app.tabs import ask, ask_paper\n"
        "with gr.Blocks() as page:\n    ask.build(page)\n"
        "ask_paper.show_status()\n"
        "print([m for m in ('torch', 'transformers', 'chromadb', 'matplotlib', 'bm25s') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
