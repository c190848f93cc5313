"""When moving pages costs time: by formula, from the model's shape, the batch, the bus and the GPU."""

import json
from dataclasses import dataclass
from pathlib import Path

import qlora
from qlora.errors import InputError
from qlora.memory.estimate import EstimateOptions, estimate
from qlora.memory.figure6 import RANK
from qlora.memory.shapes import LLAMA

# Transfers a second of one lane, of which 128 in 130 bits carry data (PCI Express base specifications 4.0 and 5.0).
_GIGATRANSFERS = {"PCIe 4.0 x16": 16, "PCIe 5.0 x16": 32}
_LANES = 16
#: What the paper's statement is about: 65B and batch 16 (section 4, page 6). It gives no length; 512 tokens is the
#: longest source and target of Table 9 together.
PAPER_MODEL, PAPER_BATCH, PAPER_SEQUENCE = "65B", 16, 512

# What `qlora bench step` measured: kept beside the library.
_BENCH = Path(qlora.__file__).parent / "bench" / "results" / "nvidia_h200_step_llama-7b.jsonl"
_BENCH_PROGRAM, _BENCH_TOKENS = "qlora, checkpointing", 4096


def bus_bytes_per_second() -> dict[str, float]:
    """Name of a bus -> what it moves at best in one direction: 16 lanes · transfers · 128/130 / 8."""
    return {name: _LANES * rate * 1e9 * 128 / 130 / 8 for name, rate in _GIGATRANSFERS.items()}


@dataclass(frozen=True)
class Cost:
    """What moving pages costs one step.

    Attributes:
        state_bytes: of all optimizer state; moved_bytes: out and in again in the step, both counted.
        compute_seconds: of forward, recomputation and backward.
        moving_seconds: name of a bus -> seconds that are not hidden behind computing.
    """

    tokens: int
    state_bytes: int
    moved_bytes: float
    compute_seconds: float
    moving_seconds: dict[str, float]

    def per_cent(self, bus: str) -> float:
        """Moving over computing."""
        return 100 * self.moving_seconds[bus] / self.compute_seconds


def cost(model: str, batch: int, sequence: int, evicted: float, hidden: float, teraflops: float) -> Cost:
    """Compute the cost.

    computing = 6 · parameters · tokens / speed: 2 each for the forward pass, for computing it again (checkpointing) and
    for the gradients of the inputs; frozen weights have no gradient of their own. Attention and adapters are left out,
    which makes steps look shorter, and moving dearer, than it is.

    moving = 2 · evicted share · optimizer state · (1 - hidden) / bandwidth: out before, in again at the update.

    Args:
        model: "7B", "13B", "33B" or "65B".
        batch, sequence: sequences of a step and their tokens.
        evicted: share of the optimizer state that leaves in the step, 0 to 1.
        hidden: share of the moving that goes on beside computing, 0 to 1.
        teraflops: that the GPU really reaches.

    Raises:
        InputError: an unknown model or a number out of range.
    """
    shape = LLAMA.get(model)
    if shape is None:
        raise InputError(f"The model must be one of {', '.join(LLAMA)}, not {model!r}.")
    for name, value, low, high in (
        ("The batch", batch, 1, 1024),
        ("The sequence length", sequence, 1, 131_072),
        ("The evicted share", evicted, 0, 1),
        ("The hidden share", hidden, 0, 1),
        ("The GPU's speed", teraflops, 0.1, 10_000),
    ):
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise InputError(f"{name} must be from {low:g} to {high:g}, not {value}.")
    state = estimate(shape, EstimateOptions(r=RANK)).pageable_bytes
    tokens = int(batch) * int(sequence)
    moved = 2 * evicted * state
    return Cost(
        tokens=tokens,
        state_bytes=state,
        moved_bytes=moved,
        compute_seconds=6 * shape.parameters * tokens / (teraflops * 1e12),
        moving_seconds={name: moved * (1 - hidden) / speed for name, speed in bus_bytes_per_second().items()},
    )


def recorded_speed() -> tuple[float, str] | None:
    """TFLOP/s, counted as in `cost`, of this project's recorded 7B step with activation checkpointing, and the device;
    None where the record is not there."""
    if not _BENCH.is_file():
        return None
    conditions, *rows = (json.loads(line) for line in _BENCH.read_text(encoding="utf-8").splitlines())
    row = next(
        row for row in rows if row["program"] == _BENCH_PROGRAM and row["batch"] * row["tokens"] == _BENCH_TOKENS
    )
    flops = 6 * LLAMA["7B"].parameters * _BENCH_TOKENS / row["median"]
    return flops / 1e12, conditions["conditions"]["device"]
