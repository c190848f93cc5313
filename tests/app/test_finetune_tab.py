"""The Finetune tab's handlers, with a real run."""

import sys

import gradio as gr
import pytest

from app import runs
from app.tabs import finetune
from app.tabs import finetune_answers as answers
from app.tabs import finetune_settings as settings
from app.text import finetune as text
from tests.app.conftest import PROMPT, wait_until

NAMES = (
    "status", "cards", "charts", "table", "samples", "ask", "fold", "start", "stop", "asking", "resume",
    "timer", "drawn",
)  # fmt: skip
FORM = ("demo", None, *settings.field_values(settings.demo()))


@pytest.fixture
def shown_run(finished_run, monkeypatch):
    """The finished run, as the page finds it."""
    monkeypatch.setenv("QLORA_RUNS", str(finished_run.folder.parent))
    return finished_run


def refreshed(run_id, drawn=None) -> dict:
    return dict(zip(NAMES, finetune.refresh(run_id, drawn or {}), strict=True))


def active(update) -> bool:
    """What a component's update says of `interactive`, `active` or `visible`."""
    settings = update.constructor_args if hasattr(update, "constructor_args") else update
    return next(settings[name] for name in ("interactive", "active", "visible") if name in settings)


def test_tab_builds_and_wires():
    with gr.Blocks() as blocks, gr.Tabs(), gr.Tab(finetune.TITLE, id=finetune.TAB_ID):
        finetune.build(blocks)
    triggers = {event for function in blocks.fns.values() for _, event in function.targets}
    assert {"click", "tick", "load", "input", "change"} <= triggers
    assert all(function.api_visibility == "private" for function in blocks.fns.values())


def test_page_without_any_run(runs_folder):
    assert finetune.attach(None, "question") == (None, "question")
    page = refreshed(None)
    assert text.NO_RUN in page["status"]
    assert active(page["start"])
    assert not active(page["stop"])
    assert not active(page["asking"])
    assert not active(page["timer"])


def test_reload_finds_the_run_and_draws_it_once(shown_run):
    run_id, prompt = finetune.attach(None, "")
    assert (run_id, prompt) == (shown_run.id, PROMPT)
    page = refreshed(run_id)
    assert page["charts"].count("<svg") == 6
    assert text.STATES["finished"] in page["status"]
    assert PROMPT in page["samples"]
    assert active(page["start"])
    assert active(page["asking"])
    assert active(page["fold"])
    assert not active(page["timer"]), "an ended run needs no refresh"
    again = refreshed(run_id, page["drawn"])
    unchanged = gr.skip()
    assert all(again[name] == unchanged for name in ("status", "cards", "charts", "table", "samples", "ask"))


def test_run_whose_folder_went_away(runs_folder):
    page = refreshed("20200101-000000-000000")
    assert text.RUN_GONE in page["status"]
    assert active(page["start"])


def test_live_run_is_watched_refuses_a_second_and_can_be_stopped(runs_folder):
    run = runs.start(settings.demo(), command=(sys.executable, "-c", "import time; time.sleep(600)"))
    try:
        page = refreshed(run.id)
        assert text.STATES["starting"] in page["status"]
        assert active(page["timer"])
        assert active(page["stop"])
        assert not active(page["start"])
        shown, sentence, drawn = finetune.start(*FORM)
        assert (shown, drawn) == (run.id, {}), "the run that is going on is shown instead"
        assert run.id in sentence
        assert 'role="alert"' in sentence
        assert not active(finetune.preview(*FORM)[2])
        assert finetune.stop(run.id) == ""
        page = refreshed(run.id)
        assert text.STATES["stopping"] in page["status"]
        assert not active(page["stop"])
    finally:
        runs.kill(run)
        wait_until(lambda: not runs.status(run).live)


def test_trainer_that_does_not_answer_can_be_ended(runs_folder, monkeypatch):
    run = runs.start(settings.demo(), command=(sys.executable, "-c", "import time; time.sleep(600)"))
    finetune.stop(run.id)
    assert runs.status(run).live, "the first request must leave time to save"
    monkeypatch.setattr(finetune, "_PATIENCE_SECONDS", -1.0)
    page = refreshed(run.id)
    assert page["stop"].constructor_args["value"] == text.KILL
    assert active(page["stop"])
    finetune.stop(run.id)
    wait_until(lambda: not runs.status(run).live)
    assert runs.status(run).state in ("failed", "lost")


def test_value_out_of_range_stands_in_place_and_starts_nothing(runs_folder):
    values = settings.field_values(settings.demo())
    values[0] = 0
    sentence, _, start = finetune.preview("demo", None, *values)
    assert "training.steps" in sentence
    assert not active(start)
    _, sentence, _ = finetune.start("demo", None, *values)
    assert "training.steps" in sentence
    assert runs.list_runs() == []


def test_malformed_upload_is_refused_before_a_process_starts(runs_folder, tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n')
    _, sentence, _ = finetune.start("demo", str(file), *FORM[2:])
    assert "mine.jsonl, line 2" in sentence
    assert runs.list_runs() == []


def test_shown_yaml_is_a_configuration_that_runs_the_same(tmp_path):
    _, shown, _ = finetune.preview("small_device", None, *settings.field_values(settings.preset_config("small_device")))
    file = tmp_path / "config.yaml"
    file.write_text(shown)
    from qlora import config

    assert config.load(file) == settings.preset_config("small_device")


def test_ask_streams_both_answers_and_frees_the_button(shown_run, monkeypatch):
    lines = [
        '{"side": "base", "text": "one"}',
        '{"side": "base", "done": true, "new_tokens": 1, "seconds": 0.5}',
        '{"side": "finetuned", "text": "<b>two"}',
        '{"side": "finetuned", "done": true, "new_tokens": 1, "seconds": 0.5}',
    ]
    program = f"for line in {lines!r}: print(line)"
    monkeypatch.setitem(answers.ask_both.__kwdefaults__, "command", (sys.executable, "-c", program))
    steps = list(finetune.ask(shown_run.id, PROMPT, 8))
    assert text.ASK_LOADING.format(seconds=0) in steps[0][0]
    assert not active(steps[0][1])
    html, button, stop = steps[-1]
    assert "one" in html
    assert "&lt;b&gt;two" in html
    assert active(button)
    assert not active(stop)


def test_ask_without_a_question_says_so(shown_run):
    (html, button, _), *more = finetune.ask(shown_run.id, " ", 8)
    assert not more
    assert text.ASK_EMPTY_PROMPT in html
    assert active(button)
