"""Votes, tries and history: nothing that was acknowledged is lost, whatever happens to processes and to the file."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from app.assistant import feedback as feedback_module
from app.assistant.feedback import ANSWER, KEY_POINT, RETRY_SCORE, Feedback, Item, Score
from qlora.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
POINT = Item(KEY_POINT, "bread", "point-1")


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "cache" / "feedback.sqlite3"


@pytest.fixture
def feedback(file) -> Feedback:
    return Feedback(file)


def started(script: str, *arguments: object) -> subprocess.Popen:
    """A Python process of its own with `feedback` made for the file in its first argument."""
    head = (
        "import sys; from pathlib import Path; from app.assistant.feedback import *\n"
        "feedback = Feedback(Path(sys.argv[1])); point = Item(KEY_POINT, 'bread', 'point-1')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", head + script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def set_aside(file: Path) -> list[Path]:
    return sorted(file.parent.glob("feedback.damaged-*.sqlite3"))


def test_one_vote_a_visitor_that_can_be_changed_and_taken_back(feedback):
    assert feedback.vote("ada", POINT, 1) == Score(1, 0, 1)
    assert feedback.vote("ada", POINT, 1) == Score(1, 0, 1)
    assert feedback.vote("bob", POINT, -1) == Score(1, 1, -1)
    assert feedback.vote("ada", POINT, -1) == Score(0, 2, -1)
    assert feedback.vote("ada", POINT, 0) == Score(0, 1, 0)
    assert feedback.scores(["point-1", "other"], "bob") == {"point-1": Score(0, 1, -1), "other": Score()}
    assert feedback.scores(["point-1"])["point-1"].value == -1


def test_the_cache_is_the_default_place(tmp_path, monkeypatch):
    monkeypatch.setenv("QLORA_CACHE", str(tmp_path))
    Feedback().vote("ada", POINT, 1)
    assert (tmp_path / "feedback.sqlite3").is_file()


def test_a_new_try_is_offered_at_the_retry_score_and_not_before(feedback):
    for number in range(-RETRY_SCORE - 1):
        feedback.vote(f"visitor {number}", POINT, -1)
    assert not feedback.current_try("bread").offered
    feedback.vote("another", Item(KEY_POINT, "bread", "point-2"), -1)
    assert not feedback.current_try("bread").offered, "points count on their own"
    feedback.vote("the last", POINT, -1)
    current = feedback.current_try("bread")
    assert (current.attempt, current.backend, current.score, current.offered) == (1, "", RETRY_SCORE, True)
    assert not feedback.current_try("cake").offered


def test_votes_on_answers_offer_nothing(feedback):
    for number in range(12):
        feedback.vote(f"visitor {number}", Item(ANSWER, "bread", "answer-1"), -1)
    assert feedback.scores(["answer-1"])["answer-1"].value == -12
    assert not feedback.current_try("bread").offered


def test_a_new_try_begins_with_no_votes_and_is_recorded_once(feedback):
    for number in range(10):
        feedback.vote(f"visitor {number}", POINT, -1)
    assert feedback.record_try("bread", 2, "ollama:llama3.1")
    assert not feedback.record_try("bread", 2, "openai"), "another process was faster"
    assert not feedback.record_try("bread", 4, "openai")
    current = feedback.current_try("bread")
    assert (current.attempt, current.backend, current.score, current.offered) == (2, "ollama:llama3.1", 0, False)
    feedback.vote("visitor 1", Item(KEY_POINT, "bread", "point-1", attempt=2), -1)
    assert feedback.current_try("bread").score == -1
    assert feedback.scores(["point-1"])["point-1"].value == -10, "a point that stayed keeps its votes"


def test_history_survives_and_keeps_the_last(file, monkeypatch):
    monkeypatch.setattr(feedback_module, "HISTORY_KEPT", 3)
    for number in range(5):
        Feedback(file).remember("ada", f"question {number}", f"answer {number}", {"number": number})
    Feedback(file).remember("bob", "his question", "his answer")
    kept = Feedback(file).history("ada")
    assert [(item.question, item.answer, item.record) for item in kept] == [
        (f"question {n}", f"answer {n}", {"number": n}) for n in (2, 3, 4)
    ]
    assert [item.question for item in Feedback(file).history("ada", 1)] == ["question 4"]
    Feedback(file).forget("ada")
    assert not Feedback(file).history("ada") and Feedback(file).history("bob")[0].record is None


def test_all_of_the_history_is_bounded(feedback, monkeypatch):
    monkeypatch.setattr(feedback_module, "HISTORY_KEPT_IN_ALL", 4)
    for number in range(6):
        feedback.remember(f"visitor {number}", "question", "answer")
    assert [len(feedback.history(f"visitor {number}")) for number in range(6)] == [0, 0, 1, 1, 1, 1]


def test_texts_are_bounded_and_come_back_as_they_were(feedback):
    hostile = "<script>alert(1)</script> **x** $\\frac$ 'DROP TABLE votes' \ud800 \0 ü"
    feedback.remember("ada", hostile, "a" * 10**6, {"text": hostile, "large": "b" * 10**4})
    feedback.remember("ada", "second", "short", {"large": "b" * 10**6})
    first, second = feedback.history("ada")
    assert first.question == hostile.replace("\ud800", "?").replace("\0", "")
    assert len(first.answer) == feedback_module.LONGEST_ANSWER and first.answer.endswith("a…")
    assert first.record["text"].startswith("<script>") and second.record is None


@pytest.mark.parametrize(
    ("visitor", "item", "value"),
    [
        ("", POINT, 1),
        ("v" * 201, POINT, 1),
        (None, POINT, 1),
        ("ada", Item(KEY_POINT, "bread", ""), 1),
        ("ada", Item(KEY_POINT, "", "point"), 1),
        ("ada", Item("paper", "bread", "point"), 1),
        ("ada", Item(KEY_POINT, "bread", "point", attempt=0), 1),
        ("ada", POINT, 2),
        ("ada", POINT, "1"),
        ("ada", POINT, None),
    ],
)
def test_bad_votes_are_refused(feedback, visitor, item, value):
    with pytest.raises(InputError):
        feedback.vote(visitor, item, value)
    assert feedback.scores(["point-1"])["point-1"] == Score()


def test_two_processes_voting_at_once_lose_no_vote(file):
    """They also begin the file at the same moment."""
    script = "for number in range(80): feedback.vote(f'{sys.argv[2]} {number}', point, int(sys.argv[3]))\n"
    running = [started(script, file, name, value) for name, value in (("ada", 1), ("bob", -1))]
    assert [process.wait(timeout=240) for process in running] == [0, 0]
    assert Feedback(file).scores(["point-1"])["point-1"] == Score(80, 80, 0)
    assert not set_aside(file)


def test_threads_lose_no_vote(feedback):
    def vote(name: str) -> None:
        for number in range(40):
            feedback.vote(f"{name} {number}", POINT, 1)

    threads = [threading.Thread(target=vote, args=(name,)) for name in ("a", "b", "c")]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert feedback.scores(["point-1"])["point-1"].ups == 120


def test_a_killed_process_loses_nothing_that_was_acknowledged(file):
    script = "for number in range(10**6): feedback.vote(f'v {number}', point, 1); print(number, flush=True)\n"
    for _ in range(3):
        process = started(script, file)
        lines = [process.stdout.readline() for _ in range(25)]
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines()
        assert process.wait(timeout=60) == -signal.SIGKILL
        acknowledged = len(lines) + len([line for line in rest if line.strip()])
        assert lines[-1].strip() == "24", "else this proves nothing"
        assert Feedback(file).scores(["point-1"])["point-1"].ups >= acknowledged
    assert not set_aside(file)


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE votes (x)")


def torn(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)  # all pages but the first
    path.write_bytes(data)


def without_tries(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE tries")


DAMAGE = {
    "noise": lambda path: path.write_bytes(b"this is no database" * 300),
    "foreign": foreign,
    "torn": torn,
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "a table less": without_tries,
}


@pytest.mark.parametrize("reopened", [True, False], ids=["at the start", "while running"])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_set_aside_and_kept(file, kind, reopened):
    feedback = Feedback(file)
    feedback.vote("ada", POINT, 1)
    for number in range(60):
        feedback.remember("ada", f"question {number}", "answer " * 50)
    DAMAGE[kind](file)
    damaged = file.read_bytes()
    feedback = Feedback(file) if reopened else feedback
    assert feedback.current_try("bread").attempt == 1
    assert feedback.vote("bob", POINT, 1) == Score(1, 0, 1)
    assert feedback.history("ada") == []
    (aside,) = set_aside(file)
    assert aside.read_bytes() == damaged
    assert aside.name in feedback.problem and "new one" in feedback.problem
    assert not Feedback(file).problem


def test_a_log_without_its_file_is_set_aside_too(file):
    feedback = Feedback(file)
    feedback.vote("ada", POINT, 1)
    reader = sqlite3.connect(file)
    reader.execute("SELECT * FROM votes").fetchall()
    feedback.vote("bob", POINT, 1)  # somebody has the file open, so the log stays
    log = Path(f"{file}-wal")
    assert log.stat().st_size, "else this proves nothing"
    copy = file.parent / "elsewhere" / file.name
    copy.parent.mkdir()
    shutil.copy(log, f"{copy}-wal")
    copy.touch()
    feedback = Feedback(copy)
    assert feedback.vote("carl", POINT, 1) == Score(1, 0, 1)
    (aside,) = set_aside(copy)
    assert Path(f"{aside}-wal").read_bytes() == log.read_bytes() and feedback.problem
    reader.close()


def test_two_processes_set_one_damaged_file_aside_once(file):
    Feedback(file).vote("ada", POINT, 1)
    file.write_bytes(b"this is no database" * 300)
    script = "for number in range(30): feedback.vote(f'{sys.argv[2]} {number}', point, 1)\n"
    running = [started(script, file, name) for name in ("ada", "bob")]
    assert [process.wait(timeout=240) for process in running] == [0, 0]
    assert Feedback(file).scores(["point-1"])["point-1"].ups == 60
    assert len(set_aside(file)) == 1


def test_a_file_of_a_newer_version_is_left_alone(file):
    Feedback(file).vote("ada", POINT, 1)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="newer version"):
        Feedback(file).vote("bob", POINT, 1)
    assert not set_aside(file)


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="QLORA_CACHE"):
        Feedback(tmp_path / "file" / "feedback.sqlite3").vote("ada", POINT, 1)
    (tmp_path / "folder.sqlite3").mkdir()
    with pytest.raises(InputError, match="QLORA_CACHE"):
        Feedback(tmp_path / "folder.sqlite3").vote("ada", POINT, 1)


def test_a_full_disk_loses_the_vote_and_says_so(feedback, monkeypatch):
    feedback.vote("ada", POINT, 1)
    connect = sqlite3.connect

    def small(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        with pytest.raises(InputError, match="full"):
            for number in range(2000):
                feedback.remember("bob", f"{number} " * 200, "answer " * 1000)
    assert feedback.scores(["point-1"])["point-1"] == Score(1, 0, 0)
