"""One training step beside PEFT's, alternating, so that a noisy machine disturbs all alike."""

import datetime
import importlib.metadata
import importlib.util
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

import qlora
from qlora.adapters.attach import adapter_parameters, attach
from qlora.bench.random_llama import bitsandbytes_layer, quantized_layer, random_llama, unquantized_layer
from qlora.config import AdapterConfig, ModelConfig, QuantizationSettings, RunConfig, TrainingConfig
from qlora.errors import InputError
from qlora.memory.estimate import EstimateOptions, estimate
from qlora.memory.model_config import NAMED_SHAPES, shape_of_config
from qlora.models.demo import DEMO_MODEL
from qlora.models.load import load_quantized
from qlora.optimizer.paged_adamw import PagedAdamW
from qlora.training import activations, preflight
from qlora.training.chunked_loss import causal_loss

_CHUNK_TOKENS = TrainingConfig.loss_chunk_tokens


@dataclass(frozen=True)
class Subject:
    """What is finetuned: a model that exists, or one of LLaMA's shape with random weights.

    Attributes:
        model: its name.
        r: rank of the adapters, on all linear layers.
    """

    model: str
    r: int
    device: torch.device
    dtype: torch.dtype

    @property
    def random(self) -> bool:
        """Whether the weights are random."""
        return self.model in NAMED_SHAPES and self.model != DEMO_MODEL


@dataclass(frozen=True)
class Program:
    """Whose step, and how.

    Attributes:
        base: "qlora", "bitsandbytes" or "unquantized".
        checkpointing: every layer's activations are computed again in the backward pass.
        compiled: layers are compiled by torch.
    """

    base: str
    checkpointing: bool = False
    compiled: bool = False

    @property
    def name(self) -> str:
        """For a table."""
        whose = {"qlora": "qlora", "bitsandbytes": "PEFT + bitsandbytes", "unquantized": "PEFT, unquantized"}[self.base]
        how = [word for word, on in (("checkpointing", self.checkpointing), ("compiled", self.compiled)) if on]
        return ", ".join([whose, *how])


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


def programs_for(device: torch.device) -> list[Program]:
    """What can be compared here; the last one is what ratios are to."""
    ours = [Program("qlora"), Program("qlora", checkpointing=True)]
    if device.type == "cpu":
        return [*ours, Program("unquantized")]
    ours += [replace(program, compiled=True) for program in ours]
    if not _installed("bitsandbytes"):
        return [*ours, Program("unquantized")]
    return [
        *ours,
        Program("bitsandbytes", compiled=True),
        Program("bitsandbytes"),
        Program("bitsandbytes", checkpointing=True),
    ]


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
    if not _installed("peft"):
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
            estimated = _estimated(running[program].model, subject, program, size) if program.base == "qlora" else None
            rows.append(StepRow(program.name, *size, statistics.median(timed), min(timed), peaks[program], estimated))
    names = [name for name in ("peft", "bitsandbytes", "transformers", "triton") if _installed(name)]
    conditions = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "date": datetime.date.today().isoformat(),
        "threads": torch.get_num_threads(),
        "model": model,
        "weights": "random" if subject.random else "real",
        "r": r,
        "dtype": str(subject.dtype).removeprefix("torch."),
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
        make = _ours if program.base == "qlora" else _theirs
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


def _ours(program: Program, subject: Subject) -> tuple[torch.nn.Module, Callable[[torch.Tensor], None]]:
    if subject.random:
        model = random_llama(NAMED_SHAPES[subject.model], subject.device, subject.dtype, quantized_layer)
    else:
        model, _ = load_quantized(
            ModelConfig(subject.model), QuantizationSettings(), device=subject.device, dtype=subject.dtype
        )
    attach(model, AdapterConfig(r=subject.r), dtype=subject.dtype, seed=0)
    if program.compiled:
        activations.compile_layers(model)
    layers = len(activations.checkpointed_layers(model))
    activations.apply(model, activations.ActivationPlan(layers, layers if program.checkpointing else 0))
    model.train()
    optimizer = PagedAdamW(adapter_parameters(model), 2e-4)

    def step(ids: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss, counted = causal_loss(model, {"input_ids": ids, "use_cache": False}, ids, _CHUNK_TOKENS)
        (loss / counted).backward()
        optimizer.step()

    return model, step


def _theirs(program: Program, subject: Subject) -> tuple[torch.nn.Module, Callable[[torch.Tensor], None]]:
    import peft

    model = _unquantized(subject) if program.base == "unquantized" else _of_bitsandbytes(subject)
    if program.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    settings = peft.LoraConfig(r=subject.r, lora_alpha=subject.r, target_modules="all-linear")
    model = peft.get_peft_model(model, settings, autocast_adapter_dtype=False).train()
    if program.compiled:
        activations.compile_layers(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    if program.base == "unquantized":
        optimizer = torch.optim.AdamW(trained, lr=2e-4)
    else:
        import bitsandbytes

        optimizer = bitsandbytes.optim.PagedAdamW32bit(trained, lr=2e-4)

    def step(ids: torch.Tensor) -> None:
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()

    return model, step


def _unquantized(subject: Subject) -> torch.nn.Module:
    import transformers

    from qlora.models.demo import demo_model_dir

    if subject.random:
        return random_llama(NAMED_SHAPES[subject.model], subject.device, subject.dtype, unquantized_layer)
    source = demo_model_dir() if subject.model == DEMO_MODEL else subject.model
    return transformers.AutoModelForCausalLM.from_pretrained(
        source, dtype=subject.dtype, device_map={"": subject.device}
    )


def _of_bitsandbytes(subject: Subject) -> torch.nn.Module:
    import transformers

    from qlora.models.demo import demo_model_dir

    if subject.random:
        model = random_llama(NAMED_SHAPES[subject.model], subject.device, subject.dtype, bitsandbytes_layer)
        model.is_loaded_in_4bit = model.is_quantized = True  # what from_pretrained would set, and PEFT asks for
        return model
    source = demo_model_dir() if subject.model == DEMO_MODEL else subject.model
    settings = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=subject.dtype,
    )
    return transformers.AutoModelForCausalLM.from_pretrained(
        source, dtype=subject.dtype, quantization_config=settings, device_map={"": subject.device}
    )


def _estimated(model: torch.nn.Module, subject: Subject, program: Program, size: tuple[int, int]) -> int:
    dtype = str(subject.dtype).removeprefix("torch.")
    options = EstimateOptions(
        r=subject.r,
        adapter_dtype=dtype,
        compute_dtype=dtype,
        batch_size=size[0],
        sequence_length=size[1],
        checkpointing=program.checkpointing,
        loss_chunk_tokens=_CHUNK_TOKENS,
    )
    return estimate(shape_of_config(model.config.to_dict(), subject.model), options).peak_bytes


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


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
