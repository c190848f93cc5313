"""`qlora chat` as a person has it, at a terminal: the conversation goes on, and Ctrl-D and Ctrl-C end it."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest


class Terminal:
    """The command at a terminal of its own."""

    def __init__(self, *arguments):
        self.ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "qlora", "chat", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, close_fds=True
        )
        os.close(theirs)
        self.shown = ""

    def until(self, words, seconds=120):
        """What is shown next, up to the words."""
        end = time.monotonic() + seconds
        while words not in self.shown:
            assert time.monotonic() < end, f"{words!r} was not shown, but {self.shown!r}"
            self.read()
        shown, _, self.shown = self.shown.partition(words)
        return shown

    def read(self):
        if select.select([self.ours], [], [], 0.1)[0]:
            try:
                self.shown += os.read(self.ours, 65536).decode("utf-8", "replace")
            except OSError:  # the other side is closed
                return False
        return True

    def type(self, text):
        os.write(self.ours, text.encode())

    def end(self):
        """The exit status, and what was shown until then."""
        status = self.process.wait(timeout=60)
        while select.select([self.ours], [], [], 0)[0] and self.read():
            pass
        return status, self.shown


@pytest.fixture
def terminal():
    opened = []

    def make(*arguments):
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield make
    for one in opened:
        one.process.kill()
        one.process.wait()
        os.close(one.ours)


def test_a_conversation_goes_on_and_ctrl_d_ends_it(terminal, tiny_model):
    talk = terminal(tiny_model, "--max-new-tokens", "4", "--system", "")
    question = "page " * 75

    def answer():
        talk.type(f"{question}\n")
        # A terminal may echo the end of the line after what comes at once in reply.
        return talk.until("> ").replace("\r", "").replace("\n", "").replace(question, "")

    assert "/new begins a new conversation, /end ends." in talk.until("> ")
    first = answer()
    assert first, "expected words of the model, else the comparison below proves nothing"
    answer()
    # The model takes 256 tokens: the third question does not fit, only because the others are still known.
    assert "qlora: The model takes 256 tokens with its answer" in answer()
    talk.type("/new\n")
    talk.until("> ")
    assert answer() == first, "after /new the same question is the first one again"
    talk.type("\x04")
    status, shown = talk.end()
    assert status == 0 and "Traceback" not in shown


@pytest.fixture
def talker(tiny_model, tmp_path):
    """The tiny model, with room for an answer that takes a while."""
    folder = shutil.copytree(tiny_model, tmp_path / "talker")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 8192}))
    return folder


@pytest.mark.parametrize("answering", [False, True], ids=["at the prompt", "in an answer"])
def test_ctrl_c_ends_it(terminal, talker, answering):
    talk = terminal(talker, "--max-new-tokens", "4000")
    talk.until("> ")
    if answering:
        talk.type("Write a long story about the sea.\n")
        talk.until("sea.\r\n")
        talk.read()
        assert "> " not in talk.shown, "expected the answer to go on"
    talk.process.send_signal(signal.SIGINT)  # what the terminal sends for Ctrl-C
    status, shown = talk.end()
    assert status == 0 and "Traceback" not in shown and "KeyboardInterrupt" not in shown
