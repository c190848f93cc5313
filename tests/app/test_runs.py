"""Runs as processes: the real trainer where training matters, any program where only the process does."""

import concurrent.futures
import dataclasses
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app import runs
from app.trainer_process import last_sentence
from qlora import config as configuration
from qlora import events
from qlora.errors import InputError
from tests.app.conftest import PROMPT, steps_of, wait_until

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def sleeping(runs_folder):
    """A live run whose program never writes an event."""
    run = runs.start(configuration.RunConfig(), command=SLEEP)
    yield run
    runs.kill(run)
    wait_until(lambda: not runs.status(run).live)


def test_finished_run_leaves_its_log_adapter_and_no_zombie(finished_run, tiny_config):
    log = runs.events(finished_run)
    assert isinstance(log[0], events.RunStarted)
    assert isinstance(log[-1], events.RunEnded)
    assert [step.step for step in steps_of(finished_run)] == [1, 2, 3]
    assert runs.status(finished_run).state == "finished"
    assert runs.has_adapter(finished_run)
    asked = runs.config_of(finished_run)
    assert asked == dataclasses.replace(tiny_config, output=str(finished_run.folder))
    assert {event.prompt for event in log if isinstance(event, events.SampleGenerated)} == {PROMPT}
    pid = int((finished_run.folder / "process.lock").read_text())
    wait_until(lambda: (finished_run.folder / "exit_status").exists())
    assert (finished_run.folder / "exit_status").read_text() == "0"
    with pytest.raises(ProcessLookupError):  # a zombie would still take signals
        os.kill(pid, 0)


def test_events_since(finished_run):
    log = runs.events(finished_run)
    assert len(log) > 4, "expected several events, else this proves nothing"
    assert runs.events(finished_run, 3) == log[3:]
    assert runs.events(finished_run, len(log)) == []


def test_run_outlives_the_app_is_found_again_and_stops_within_a_step(tiny_config, runs_folder, tmp_path):
    """The app that started the run is a process of its own here, and gone when the run is looked for."""
    training = dataclasses.replace(tiny_config.training, steps=100_000)
    file = tmp_path / "config.yaml"
    file.write_text(configuration.to_yaml(dataclasses.replace(tiny_config, training=training)))
    program = (
        "import sys; from app import runs; from qlora import config; print(runs.start(config.load(sys.argv[1])).id)"
    )
    app = subprocess.run(
        [sys.executable, "-c", program, str(file)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    run = runs.latest()
    assert run is not None
    assert run.id == app.stdout.strip()
    assert runs.status(run).live
    assert runs.live_run() == run == runs.find(run.id)

    wait_until(lambda: len(steps_of(run)) >= 2)
    assert runs.status(run).state == "running"
    with pytest.raises(InputError, match=run.id):
        runs.start(tiny_config)
    runs.stop(run)
    seen = steps_of(run)[-1].step
    wait_until(lambda: not runs.status(run).live)
    assert runs.status(run).state == "stopped"
    last = runs.events(run)[-1].step
    # The step that was under way when the file appeared, and one that ended before the log was read.
    assert seen <= last <= seen + 2
    assert runs.has_adapter(run)
    runs.stop(run)
    assert runs.status(run).state == "stopped", "stopping an ended run must change nothing"


def test_a_stopped_run_is_resumed_to_its_end(tiny_config, runs_folder):
    training = dataclasses.replace(tiny_config.training, steps=200, checkpoint_steps=1, sample_prompts=())
    run = runs.start(dataclasses.replace(tiny_config, training=training))
    wait_until(lambda: len(steps_of(run)) >= 2)
    with pytest.raises(InputError, match="still going on"):
        runs.resume(run)
    runs.stop(run)
    wait_until(lambda: not runs.status(run).live)
    before = [(step.step, step.loss) for step in steps_of(run)]
    assert runs.status(run).state == "stopped" and len(before) < 200, "else nothing is left to resume"
    assert runs.can_resume(run)
    runs.resume(run)
    assert runs.status(run).state in ("starting", "running"), "the old end must not be taken for the new one"
    wait_until(lambda: len(steps_of(run)) > len(before))
    runs.stop(run)
    wait_until(lambda: not runs.status(run).live)
    after = [(step.step, step.loss) for step in steps_of(run)]
    assert [step for step, _ in after] == list(range(1, len(after) + 1))
    assert after[: len(before)] == before
    assert runs.status(run).state == "stopped"


def test_a_resume_that_fails_is_said(tiny_config, runs_folder):
    run = runs.start(tiny_config, command=(sys.executable, "-c", "pass"))
    wait_until(lambda: not runs.status(run).live)
    assert not runs.can_resume(run)
    with pytest.raises(InputError, match="no checkpoint"):
        runs.resume(run)


def test_missing_model_fails_with_the_trainers_sentence(tiny_config, runs_folder, tmp_path):
    missing = str(tmp_path / "no-such-model")
    config = dataclasses.replace(tiny_config, model=dataclasses.replace(tiny_config.model, name=missing))
    run = runs.start(config)
    wait_until(lambda: not runs.status(run).live)
    status = runs.status(run)
    assert status.state == "failed"
    assert missing in status.message
    assert not status.message.startswith("qlora:")
    assert "Traceback" not in status.message
    assert not runs.has_adapter(run)


def test_uploaded_instructions_are_kept_with_the_run(runs_folder, tmp_path):
    upload = tmp_path / "mine.jsonl"
    upload.write_text('{"prompt": "a", "completion": "b"}\n')
    run = runs.start(configuration.RunConfig(), instructions=upload, command=(sys.executable, "-c", ""))
    upload.unlink()
    data = Path(runs.config_of(run).data.path)
    assert data.parent == run.folder
    assert data.read_text() == '{"prompt": "a", "completion": "b"}\n'
    wait_until(lambda: not runs.status(run).live)


def test_silent_end_before_the_first_event_is_a_failure(runs_folder):
    run = runs.start(configuration.RunConfig(), command=(sys.executable, "-c", "raise SystemExit(7)"))
    wait_until(lambda: (run.folder / "exit_status").exists())
    assert runs.status(run) == runs.Status("failed", runs.status(run).message)
    assert "exit status 7" in runs.status(run).message


def test_killed_process_is_lost_and_its_log_is_shown(finished_run, sleeping):
    assert runs.status(sleeping).state == "starting"
    steps = [line for line in _log_lines(finished_run) if '"run_ended"' not in line]
    (sleeping.folder / events.LOG_NAME).write_text("\n".join(steps[:-1]) + "\n" + steps[-1][:20])
    assert runs.status(sleeping).state == "running"
    runs.kill(sleeping)
    wait_until(lambda: (sleeping.folder / "exit_status").exists())
    status = runs.status(sleeping)
    assert status.state == "lost"
    assert "SIGKILL" in status.message
    assert "step 3" in status.message
    assert len(runs.events(sleeping)) == len(steps) - 1


def test_cut_and_damaged_logs_still_tell_the_rest(finished_run, runs_folder):
    lines = _log_lines(finished_run)
    steps = [number for number, line in enumerate(lines) if '"kind": "step"' in line]
    assert len(steps) == 3
    lines[steps[1]] = lines[steps[1]][:40]
    run = runs.Run(runs_folder / "copy")
    shutil.copytree(finished_run.folder, run.folder)
    (run.folder / events.LOG_NAME).write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:30])
    assert [step.step for step in steps_of(run)] == [1, 3]
    assert runs.unreadable_lines(run) == 1
    assert runs.status(run).state == "lost"


def test_a_process_id_of_somebody_else_is_not_the_run(runs_folder):
    """After a crash the system may give the run's number to another process, here to this one."""
    folder = runs_folder / "20200101-000000-000000"
    folder.mkdir(parents=True)
    (folder / "process.lock").write_text(str(os.getpid()))
    run = runs.latest()
    assert run == runs.Run(folder)
    assert not runs.status(run).live
    runs.kill(run)  # would end this very test if the number were believed
    runs.stop(run)
    assert not (folder / "stop").exists()


def test_looking_at_a_dead_run_from_many_sides_never_shows_it_alive(runs_folder):
    folder = runs_folder / "20200101-000000-000000"
    folder.mkdir(parents=True)
    (folder / "process.lock").write_text("1")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        states = list(pool.map(lambda _: runs.status(runs.Run(folder)).live, range(400)))
    assert not any(states)


def test_of_many_starts_at_once_one_wins(runs_folder):
    def attempt(_):
        try:
            return runs.start(configuration.RunConfig(), command=SLEEP)
        except InputError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        results = list(pool.map(attempt, range(6)))
    started = [result for result in results if isinstance(result, runs.Run)]
    try:
        assert len(started) == 1
        assert runs.list_runs() == started
        assert all(started[0].id in str(result) for result in results if isinstance(result, InputError))
    finally:
        for run in started:
            runs.kill(run)
            wait_until(lambda run=run: not runs.status(run).live)


def test_stop_request_is_seen_until_the_run_has_ended(sleeping):
    assert runs.status(sleeping).stopping_seconds is None
    runs.stop(sleeping)
    assert runs.status(sleeping).stopping_seconds is not None
    runs.kill(sleeping)
    wait_until(lambda: not runs.status(sleeping).live)
    assert runs.status(sleeping).stopping_seconds is None


def test_folder_that_is_a_file_is_said_in_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QLORA_RUNS", str(tmp_path / "file" / "runs"))
    with pytest.raises(InputError, match="QLORA_RUNS"):
        runs.start(configuration.RunConfig(), command=SLEEP)


def test_no_room_leaves_nothing_behind(runs_folder, tmp_path):
    upload = tmp_path / "mine.jsonl"
    upload.write_text("x" * 5000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(InputError, match="Free some space"):
            runs.start(configuration.RunConfig(), instructions=upload, command=SLEEP)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert runs.list_runs() == []
    assert [entry.name for entry in runs_folder.iterdir()] == [".starting"]


def test_program_that_is_not_there_leaves_nothing_behind(runs_folder):
    with pytest.raises(InputError):
        runs.start(configuration.RunConfig(), command=("/no/such/program",))
    assert runs.list_runs() == []


def test_no_runs_yet(runs_folder):
    assert runs.list_runs() == []
    assert runs.latest() is None
    assert runs.live_run() is None
    assert runs.find("20200101-000000-000000") is None


def test_last_sentence():
    assert last_sentence("a warning\nqlora: There is no file x.\n  resource_tracker: leaked\n") == (
        "There is no file x."
    )
    assert last_sentence("Traceback\n  File\nValueError: broken\n\n") == "ValueError: broken"
    assert last_sentence("\n") == ""


def _log_lines(run: runs.Run) -> list[str]:
    return (run.folder / events.LOG_NAME).read_text().splitlines()
