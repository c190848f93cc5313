"""Making a recording: `qlora train` runs in a folder of its own, and its log is kept."""

import contextlib
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import qlora
from app.recordings import Header, pack, path, step_line
from app.recordings.plans import OUTPUT_NAME, RANDOM_MODEL_NAME, TEXTS_NAME, Plan, Texts
from qlora import config as configuration
from qlora import events
from qlora.data.formats import PACKAGED_QUESTIONS, read_samples
from qlora.data.samples import Conversation
from qlora.errors import InputError

_CONFIG_NAME = "config.yaml"
_LETTERS_A_TOKEN = 6  # more than any tokenizer here makes of a token, so that a long text is long enough to be cut


def record(plan: Plan, reason: str, work: Path, output: Path, command: str) -> Path:
    """Make one recording.

    Args:
        plan: what to record.
        reason: why, for the header.
        work: a folder for texts, model and run; a random model that is there already is used again.
        output: folder that the recording goes to.
        command: that was typed, for the header.

    Returns:
        The file.

    Raises:
        InputError: the run failed, or cannot begin on this machine.
    """
    work.mkdir(parents=True, exist_ok=True)
    _write_texts(work / TEXTS_NAME, plan.texts)
    if plan.shape is not None and not (work / RANDOM_MODEL_NAME).exists():
        _write_model(work / RANDOM_MODEL_NAME, plan)
    if plan.one_step:
        from app.recordings.step_memory import record_step

        with contextlib.chdir(work):
            started, memory = record_step(plan.config)
        lines = [events.to_json(started), step_line(memory)]
    else:
        lines = list(_lines_of_a_run(plan, work))
        started = events.from_json(lines[0])
    header = Header(
        name=plan.name,
        reason=reason,
        date=datetime.date.today().isoformat(),
        device=started.device,
        emulated_device=started.emulated_device,
        threads=_threads(),
        versions=started.versions,
        command=command,
    )
    output.mkdir(parents=True, exist_ok=True)
    file = path(plan.name, output)
    file.write_bytes(pack(header, lines))
    return file


def _lines_of_a_run(plan: Plan, work: Path) -> Iterator[str]:
    folder = work / OUTPUT_NAME / plan.name
    config = plan.config.__class__(**{**vars(plan.config), "output": f"{OUTPUT_NAME}/{plan.name}"})
    (work / _CONFIG_NAME).write_text(configuration.to_yaml(config), encoding="utf-8")
    # The package is found from another folder, too, where it is not installed.
    places = os.pathsep.join([str(Path(qlora.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-m", "qlora", "train", _CONFIG_NAME], cwd=work, env={**os.environ, "PYTHONPATH": places}
    )
    if ran.returncode:
        raise InputError(f"The run for the recording {plan.name} ended with exit status {ran.returncode}; see above.")
    for line in (folder / events.LOG_NAME).read_text(encoding="utf-8").splitlines():
        events.from_json(line)
        yield line


def _write_texts(file: Path, texts: Texts) -> None:
    """Short texts and long ones, each made of packaged questions and answers that no other text holds."""
    told = [
        f"Question: {sample.messages[0].content}\nAnswer: {sample.messages[1].content}"
        for sample in read_samples(PACKAGED_QUESTIONS)
        if isinstance(sample, Conversation)
    ]
    rows, next_one = [], 0

    def take(enough: Callable[[Sequence[str]], bool]) -> str:
        nonlocal next_one
        taken: Sequence[str] = []
        while not taken or not enough(taken):
            taken = [*taken, told[next_one % len(told)]]
            next_one += 1
        return "\n\n".join(taken)

    for _ in range(texts.short):
        rows.append(take(lambda taken: len(taken) == texts.short_answers))
    for _ in range(texts.long):
        rows.append(take(lambda taken: sum(map(len, taken)) >= _LETTERS_A_TOKEN * texts.longest))
    file.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")


def _write_model(folder: Path, plan: Plan) -> None:
    import torch

    from app.recordings.random_model import write_random_llama
    from qlora.training import preflight

    device = preflight.choose_device(plan.config)
    part = folder.with_name(f".{folder.name}")
    write_random_llama(part, plan.shape, device)
    part.rename(folder)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the run is another process, and needs the room


def _threads() -> int:
    import torch

    return torch.get_num_threads()
