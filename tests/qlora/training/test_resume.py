"""A run that is killed goes on as if nothing had happened."""

import dataclasses
import multiprocessing
import random
import time

import pytest

from qlora import config as configuration
from qlora import events
from qlora.errors import InputError
from qlora.training import checkpoint
from qlora.training.run import request_stop, resume, run

STEPS = 12


@pytest.fixture
def settings(tiny_model, tmp_path):
    """Everything that has a state: dropout, a schedule, pages that move, an order of samples, held-out samples."""
    return configuration.from_mapping(
        {
            "model": {"name": str(tiny_model)},
            "adapter": {"dropout": 0.2},
            "data": {"max_length": 40, "system_prompt": "", "evaluation_share": 0.05},
            "optimizer": {"learning_rate": 1e-2, "page_kib": 16},
            "training": {
                "steps": STEPS,
                "batch_size": 2,
                "schedule": "cosine",
                "checkpoint_steps": 1,
                "evaluation_steps": 5,
            },
            "output": str(tmp_path / "run"),
        }
    )


def with_output(settings, name):
    return dataclasses.replace(settings, output=str(settings.output).replace("run", name))


def figures(stream):
    kept = {}
    for event in stream:
        if isinstance(event, events.StepFinished):
            kept[event.step] = (event.loss, event.gradient_norm, event.learning_rate, event.epoch)
        if isinstance(event, events.Evaluated):
            kept["evaluation", event.step] = event.loss
    return kept


@pytest.fixture
def undisturbed(settings):
    return figures(run(with_output(settings, "undisturbed")))


def train_on(folder, settings):
    list(run(settings) if settings else resume(folder))


def test_a_killed_run_goes_on_to_the_bit(settings, undisturbed, tmp_path):
    assert len(undisturbed) == STEPS + 3, "expected all steps and three evaluations, else this proves nothing"
    # A process that has imported everything and computed nothing is forked for each part of the run.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["qlora.training.run", "transformers.models.llama.modeling_llama"])
    folder = tmp_path / "run"
    for last in sorted(random.Random(0).sample(range(1, STEPS), 5)):
        begun = (folder / events.LOG_NAME).exists()
        process = processes.Process(target=train_on, args=(folder, None if begun else settings))
        process.start()
        while process.is_alive() and (checkpoint.latest(folder) is None or newest(folder) < last):
            time.sleep(0.002)
        process.kill()
        process.join()
        assert process.exitcode == -9, "the run ended before it could be killed"
        assert newest(folder) >= last
    list(resume(folder))
    log = events.EventReader(folder / events.LOG_NAME)
    happened = list(log.read())
    assert figures(happened) == undisturbed
    assert [e.step for e in happened if isinstance(e, events.StepFinished)] == list(range(1, STEPS + 1))
    assert sum(isinstance(e, events.RunResumed) for e in happened) == 5
    assert happened[-1].outcome == "finished" and not log.unreadable_lines


def newest(folder):
    return checkpoint.step_of(checkpoint.latest(folder))


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(settings, undisturbed, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    places = ["state.safetensors", "state.json", "rename"]

    def die(*arguments, **options):
        raise KeyboardInterrupt  # what a kill leaves behind, seen from the disk

    for step, place in enumerate(places, 2):
        with monkeypatch.context() as patch:
            stream = run(settings) if step == 2 else resume(folder)
            for event in stream:
                if isinstance(event, events.StepFinished) and event.step == step:
                    break
            if place == "state.safetensors":
                patch.setattr("safetensors.torch.save_file", die)
            elif place == "state.json":
                patch.setattr("qlora.training.checkpoint._to_disk", die)
            else:
                patch.setattr("qlora.training.checkpoint.os.rename", die)
            with pytest.raises(KeyboardInterrupt):
                list(stream)
        assert checkpoint.step_of(checkpoint.latest(folder)) == step - 1
    assert figures(resume(folder)) == {k: v for k, v in undisturbed.items() if (k if isinstance(k, int) else k[1]) > 3}
    assert not list((folder / events.CHECKPOINTS_FOLDER).glob(".*")), "what was left behind must be gone"


def test_the_newest_checkpoints_are_kept(settings, tmp_path):
    settings = dataclasses.replace(
        settings, training=dataclasses.replace(settings.training, steps=5, keep_checkpoints=3)
    )
    list(run(settings))
    kept = sorted(path.name for path in (tmp_path / "run" / events.CHECKPOINTS_FOLDER).iterdir())
    assert kept == ["step-3", "step-4", "step-5"]


def test_a_stopped_run_is_given_more_steps(settings, tmp_path):
    folder = tmp_path / "run"
    stream = run(settings)
    for event in stream:
        if isinstance(event, events.StepFinished) and event.step == 2:
            request_stop(folder)
    ended = list(resume(folder, {"training.steps": "4"}))
    assert [e.step for e in ended if isinstance(e, events.StepFinished)] == [3, 4]
    assert ended[0].steps == 4 and ended[-1].outcome == "finished"
    with pytest.raises(InputError, match=r"has done its 4 steps: give it more with --set training.steps=8"):
        list(resume(folder))


def test_what_cannot_be_resumed_is_named(settings, tmp_path):
    with pytest.raises(InputError, match="There is no run in"):
        resume(tmp_path / "nothing")
    without = dataclasses.replace(settings.training, checkpoint_steps=0, steps=1)
    list(run(dataclasses.replace(with_output(settings, "without"), training=without)))
    with pytest.raises(InputError, match=r"no checkpoint to go on from: .* training.checkpoint_steps"):
        resume(tmp_path / "without")
    short = dataclasses.replace(settings, training=dataclasses.replace(settings.training, steps=2))
    list(run(short))
    folder = tmp_path / "run"
    for changes, message in (
        ({"training.steps": "4", "training.batch_size": "3"}, "The data or how it is batched .* differs"),
        ({"training.steps": "4", "adapter.r": "4"}, "resume with the settings of the first run"),
        ({"training.stepz": "4"}, "Unknown key 'training.stepz': did you mean 'steps'"),
    ):
        with pytest.raises(InputError, match=message):
            list(resume(folder, changes))
    state = checkpoint.latest(folder) / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"is damaged .* remove that folder to resume from the one before it"):
        list(resume(folder, {"training.steps": "4"}))
