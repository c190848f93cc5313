"""A run is trained by one process at a time, and by the next one as soon as that is gone."""

import json
import signal
import subprocess
import sys
import time

import pytest

from qlora import cli, events
from qlora import config as configuration
from qlora.errors import InputError
from qlora.training import checkpoint
from qlora.training.run import request_stop, resume, run


@pytest.fixture
def file(tiny_model, tmp_path):
    settings = {
        "model": {"name": str(tiny_model)},
        "data": {"max_length": 24, "system_prompt": ""},
        "training": {"steps": 100_000, "checkpoint_steps": 1},
        "output": str(tmp_path / "run"),
    }
    path = tmp_path / "settings.yaml"
    path.write_text(json.dumps(settings))  # JSON is YAML
    return path


@pytest.fixture
def going(file, tmp_path):
    """A run that is going on in another process."""
    process = subprocess.Popen([sys.executable, "-m", "qlora", "train", str(file), "--json"], stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while checkpoint.latest(tmp_path / "run") is None and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert process.poll() is None and checkpoint.latest(tmp_path / "run"), "expected the run to be going on"
        yield process
    finally:
        process.kill()
        process.wait()


def with_a_checkpoint(file):
    """A run in this process that has saved its first checkpoint."""
    stream = run(configuration.load(file))
    assert any(isinstance(event, events.CheckpointSaved) for event in stream)
    return stream


def test_a_run_that_is_going_on_is_not_resumed_and_a_killed_one_is(going, file, tmp_path, capsys):
    folder = tmp_path / "run"
    log_before = (folder / events.LOG_NAME).read_bytes()
    assert cli.main(["resume", str(folder), "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and f"The run in {folder} is going on in another process" in said.err
    assert cli.main(["train", str(file)]) == 2
    assert "holds another run" in capsys.readouterr().err
    assert going.poll() is None and (folder / events.LOG_NAME).read_bytes().startswith(log_before)

    going.send_signal(signal.SIGKILL)
    going.wait()
    done = checkpoint.step_of(checkpoint.latest(folder))
    happened = list(resume(folder, {"training.steps": str(done + 2)}))
    assert happened[0].step == done and happened[-1].outcome == "finished"


def test_of_two_runs_that_begin_at_once_in_one_folder_the_second_is_refused(file, tmp_path):
    config = configuration.load(file)
    first, second = run(config), run(config)
    next(first)
    with pytest.raises(InputError, match=r"holds another run|is going on in another process"):
        next(second)
    first.close()
    assert (tmp_path / "run" / events.LOG_NAME).read_text().count("run_started") == 1


def test_a_run_that_begins_while_another_loads_is_left_alone(file, tmp_path, monkeypatch):
    """Both have found the folder empty; the one that writes first has it."""
    config = configuration.load(file)
    monkeypatch.setattr("qlora.training.loop.preflight.check_output", lambda folder: None)
    first, second = run(config), run(config)
    next(first)
    with pytest.raises(InputError, match="is going on in another process"):
        next(second)
    first.close()


def test_a_run_whose_loop_is_left_can_be_resumed_in_the_same_process(file, tmp_path):
    stream = with_a_checkpoint(file)
    with pytest.raises(InputError, match="is going on"):
        next(resume(tmp_path / "run"))
    stream.close()
    assert next(resume(tmp_path / "run")).step == 1


def test_a_request_to_stop_is_for_the_process_that_was_asked(file, tmp_path):
    stream = with_a_checkpoint(file)
    stream.close()
    request_stop(tmp_path / "run")  # came when the process was being killed
    assert list(resume(tmp_path / "run", {"training.steps": "3"}))[-1].outcome == "finished"


def test_a_run_goes_on_in_its_own_folder(file, tmp_path):
    stream = with_a_checkpoint(file)
    stream.close()
    with pytest.raises(InputError, match="A run goes on in its own folder"):
        resume(tmp_path / "run", {"output": str(tmp_path / "other")})
    assert not (tmp_path / "other").exists()


def test_a_folder_that_cannot_be_written_is_named(file, tmp_path):
    (tmp_path / "file").touch()
    config = configuration.with_changes(configuration.load(file), {"output": str(tmp_path / "file" / "run")})
    with pytest.raises(InputError, match=r"The run cannot be written to .*file/run: "):
        next(run(config))


def test_handlers_of_signals_are_as_before(file, capsys):
    before = signal.getsignal(signal.SIGINT)
    assert cli.main(["train", str(file), "--set", "training.steps=1", "--json"]) == 0
    assert signal.getsignal(signal.SIGINT) is before
