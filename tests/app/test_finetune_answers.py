"""Both models' answers, from the real command line on a finished run."""

import sys
import threading

import pytest

from app import runs
from app.tabs import finetune_answers as answers
from qlora import events
from qlora.errors import InputError
from tests.app.conftest import PROMPT


def last(run: runs.Run, prompt: str, **options):
    return list(answers.ask_both(run, prompt, **options))[-1]


def test_both_answer_as_the_run_itself_did(finished_run):
    """The run answered its prompt before and after training, in another process and with the adapter in memory."""
    logged = {event.step: event for event in runs.events(finished_run) if isinstance(event, events.SampleGenerated)}
    assert set(logged) == {0, 3}
    both = last(finished_run, PROMPT, max_new_tokens=8)
    assert both["base"].text == logged[0].text
    assert both["finetuned"].text == logged[3].text
    assert all(answer.done and answer.new_tokens == logged[0].new_tokens for answer in both.values())


def test_process_ends_with_its_generator(finished_run):
    talking = (sys.executable, "-uc", 'while True: print(\'{"side": "base", "text": "a"}\')')
    stream = answers.ask_both(finished_run, PROMPT, max_new_tokens=8, command=talking)
    while not next(stream)["base"].text:
        pass
    process = stream.gi_frame.f_locals["process"]
    assert process.poll() is None, "expected a process that goes on, else this proves nothing"
    stream.close()
    assert process.poll() is not None
    assert process.stdout.closed


def test_silent_process_does_not_block_its_reader(finished_run):
    silent = (sys.executable, "-c", "import time; time.sleep(600)")
    stream = answers.ask_both(finished_run, PROMPT, max_new_tokens=8, command=silent)
    heard = threading.Event()

    def listen():
        for _ in range(3):
            next(stream)
        heard.set()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert heard.wait(60)
    thread.join()
    stream.close()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; print('qlora: No such thing.', file=sys.stderr); sys.exit(2)", "No such thing"),
        ("raise ValueError('broken inside')", "broken inside"),
        ("import sys; sys.exit(3)", "exit status 3"),
        ("", "before it was done"),
    ],
)
def test_process_that_fails_is_told_in_a_sentence(finished_run, program, words):
    with pytest.raises(InputError, match=words):
        last(finished_run, PROMPT, max_new_tokens=8, command=(sys.executable, "-c", program))


@pytest.mark.parametrize("prompt", ["", "  \n", "x" * (answers.LONGEST_PROMPT + 1)])
def test_unusable_prompt(finished_run, prompt):
    with pytest.raises(InputError, match="question"):
        last(finished_run, prompt, max_new_tokens=8)


def test_prompt_that_looks_like_an_option_or_holds_a_zero_is_a_prompt(finished_run):
    shown = 'import sys, json; print(json.dumps({"side": "base", "text": sys.argv[2]}))'
    stream = answers.ask_both(finished_run, "--json\0 é", max_new_tokens=8, command=(sys.executable, "-c", shown))
    seen = [both["base"].text for both in _until_error(stream)]
    assert seen[-1] == "--prompt=--json é"


def test_run_without_adapter(tmp_path):
    with pytest.raises(InputError, match="adapter"):
        last(runs.Run(tmp_path), PROMPT, max_new_tokens=8)


def _until_error(stream):
    with pytest.raises(InputError):
        yield from stream
