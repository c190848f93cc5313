"""One finished run of the tiny model, and waiting for what happens elsewhere."""

import asyncio
import dataclasses
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import qlora
from app import runs
from qlora import config as configuration
from qlora import events

PROMPT = "What is NF4?"


@pytest.fixture(scope="session")
def tiny_config(tiny_model) -> configuration.RunConfig:
    """A run of three steps of it on the packaged questions."""
    recipe = configuration.load(Path(qlora.__file__).parent / "recipes" / "demo.yaml")
    return dataclasses.replace(
        recipe,
        model=dataclasses.replace(recipe.model, name=str(tiny_model)),
        training=dataclasses.replace(
            recipe.training, steps=3, warmup_steps=0, sample_prompts=(PROMPT,), sample_tokens=8
        ),
        optimizer=dataclasses.replace(recipe.optimizer, page_kib=16),
    )


@pytest.fixture
def runs_folder(tmp_path, monkeypatch) -> Path:
    """An empty place for runs."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("QLORA_RUNS", str(folder))
    return folder


@pytest.fixture(scope="session")
def finished_run(tiny_config, tmp_path_factory) -> runs.Run:
    """A run of the real trainer that has gone to its end; it must not be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QLORA_RUNS", str(tmp_path_factory.mktemp("runs")))
        run = runs.start(tiny_config)
        wait_until(lambda: not runs.status(run).live)
    assert runs.status(run).state == "finished", runs.status(run).message
    return run


def wait_until(reached: Callable[[], bool], seconds: float = 200) -> None:
    """Wait for something that must happen; how long it takes is no result of a test."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, f"still waiting after {seconds} s"
        time.sleep(0.05)


def steps_of(run: runs.Run) -> list[events.StepFinished]:
    """The run's finished steps so far."""
    return [event for event in runs.events(run) if isinstance(event, events.StepFinished)]


def awaited(coroutine: Coroutine) -> Any:
    """What the coroutine returns. It runs in another thread: this one may have an event loop already, a browser's."""
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(asyncio.run, coroutine).result()
