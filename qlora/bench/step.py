"""One training step beside PEFT's, alternating, so that a noisy machine disturbs all alike."""

import datetime
import importlib.metadata
import importlib.util
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

import qlora
from qlora.bench.programs import CHUNK_TOKENS, Program, Subject, installed, ours, programs_for, theirs
from qlora.config import ModelConfig, RunConfig
from qlora.errors import InputError
from qlora.memory.estimate import EstimateOptions, estimate
from qlora.memory.model_config import shape_of_config
from qlora.memory.shapes import Shape
from qlora.training import preflight


@dataclass(frozen=True)
class StepRow:
    """Measurements of a program at one size of batch.

    Attributes:
        program: its name.
        batch, tokens: sequences and their length.
        median, least: seconds of the timed steps.
        peak_bytes: the most that torch's allocator held for this program; None on a CPU.
        estimated_bytes: what `memory.estimate` says to that; None for other programs.
    """

    program: str
    batch: int
    tokens: int
    median: float
    least: float
    peak_bytes: int | None
    estimated_bytes: int | None


def measure(
    model: str, sizes: list[tuple[int, int]], r: int, rounds: int, only: str = ""
) -> tuple[dict, list[StepRow]]:
    """Time a step of LoRA on all linear layers, everything in the dtype of the computation.

    Ours is on the 4-bit model. PEFT's is on bitsandbytes' 4-bit model with its paged AdamW where there is a GPU and
    bitsandbytes, else on the unquantized model with torch's AdamW.

    Args:
        model: the demo model's name, a folder, a hub name, or llama-7b and the like, which get random weights.
        sizes: (batch, tokens): sequences and their length; random tokens, all of them trained on.
        r: rank.
        rounds: timed steps of each; two more come before.
        only: programs whose name holds this.

    Returns:
        Conditions, and a row for each program and size.

    Raises:
        InputError: PEFT is not installed, there is no such program, or nothing usable at `model`.
    """
    if not installed("peft"):
        raise InputError("qlora bench step compares with PEFT, which is not installed: pip install peft")
    config = RunConfig(model=ModelConfig(model))
    device = preflight.choose_device(config)
    subject = Subject(model, r, device, preflight.choose_dtype(config, device))
    programs = [program for program in programs_for(device) if only in program.name]
    if not programs:
        names = "; ".join(program.name for program in programs_for(device))
        raise InputError(f"--only {only!r} fits none of the programs: {names}.")
    running = {program: _Running(program, subject) for program in programs}
    rows = []
    for size in sizes:
        torch.compiler.reset()  # each size gets code of its own, as it would in a run of its own
        times: dict[Program, list[float]] = {program: [] for program in programs}
        peaks: dict[Program, int | None] = {}
        ids = torch.randint(1000, size, generator=torch.Generator().manual_seed(0)).to(device)
        for _ in range(rounds + 2):
            for program in programs:
                seconds, peaks[program] = running[program].timed(ids)
                times[program].append(seconds)
        for program in programs:
            timed = times[program][2:]
            estimated = None
            if program.base == "qlora":
                shape = shape_of_config(running[program].model.config.to_dict(), model)
                estimated = estimated_bytes(shape, program, r=r, dtype=subject.dtype_name, size=size)
            rows.append(StepRow(program.name, *size, statistics.median(timed), min(timed), peaks[program], estimated))
    names = [name for name in ("peft", "bitsandbytes", "transformers", "triton") if installed(name)]
    conditions = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "date": datetime.date.today().isoformat(),
        "threads": torch.get_num_threads(),
        "model": model,
        "weights": "random" if subject.random else "real",
        "r": r,
        "dtype": subject.dtype_name,
        "rounds": rounds,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "qlora": qlora.__version__,
            **{name: importlib.metadata.version(name) for name in names},
        },
        "command": f"qlora bench step --model {model} --sizes {','.join(f'{b}x{t}' for b, t in sizes)} --r {r} "
        f"--rounds {rounds}" + (f" --only {only!r}" if only else ""),
    }
    return conditions, rows


class _Running:
    """A program with its model in memory."""

    def __init__(self, program: Program, subject: Subject):
        self._device = subject.device
        before = self._allocated()
        make = ours if program.base == "qlora" else theirs
        self.model, self._step = make(program, subject)
        self._made = self._allocated() - before
        self._first = True

    def timed(self, ids: torch.Tensor) -> tuple[float, int | None]:
        """Seconds of a step, and the most that the allocator held for it and this program, whatever others hold."""
        before = self._allocated()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        began = time.perf_counter()
        self._step(ids)
        if self._device.type == "cpu":
            return time.perf_counter() - began, None
        torch.cuda.synchronize(self._device)
        seconds = time.perf_counter() - began
        peak = torch.cuda.max_memory_allocated(self._device) - before + self._made
        if self._first:  # optimizer state, and gradients that stay
            self._made += self._allocated() - before
            self._first = False
        return seconds, peak

    def _allocated(self) -> int:
        return torch.cuda.memory_allocated(self._device) if self._device.type == "cuda" else 0


def estimated_bytes(shape: Shape, program: Program, *, r: int, dtype: str, size: tuple[int, int]) -> int:
    """What `memory.estimate` says that a step of ours takes at its peak.

    Args:
        shape: of the model.
        program: ours; what compiling saves is not known to it.
        r: rank on all linear layers.
        dtype: of the adapters and the computation.
        size: sequences, and their length.
    """
    options = EstimateOptions(
        r=r,
        adapter_dtype=dtype,
        compute_dtype=dtype,
        batch_size=size[0],
        sequence_length=size[1],
        checkpointed_layers=None if program.checkpointing else 0,
        loss_chunk_tokens=CHUNK_TOKENS,
    )
    return estimate(shape, options).peak_bytes


def lines_of(conditions: dict, rows: list[StepRow]) -> Iterator[str]:
    """The rows as text; ratios are to the last program at the same size."""
    yield (
        f"{conditions['model']} ({conditions['weights']} weights), {conditions['dtype']}, r {conditions['r']}, on "
        f"{conditions['device']} with {conditions['threads']} threads, torch {conditions['versions']['torch']}; median "
        f"of {conditions['rounds']} alternating steps"
    )
    head = f"{'program':36}{'size':>9}{'seconds':>9}{'least':>9}{'tokens/s':>10}{'ratio':>7}"
    yield head + f"{'peak MiB':>10}{'estimate':>10}"
    base = {(row.batch, row.tokens): row.median for row in rows}  # the last row of each size stays
    for row in rows:
        size = f"{row.batch}x{row.tokens}"
        line = f"{row.program:36}{size:>9}{row.median:>9.3f}{row.least:>9.3f}"
        line += f"{row.batch * row.tokens / row.median:>10.0f}{row.median / base[row.batch, row.tokens]:>7.2f}"
        if row.peak_bytes is not None:
            line += f"{row.peak_bytes / 2**20:>10.0f}"
        if row.peak_bytes is not None and row.estimated_bytes is not None:
            line += f"{row.estimated_bytes / row.peak_bytes:>10.3f}"
        yield line
