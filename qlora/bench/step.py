"""One training step beside PEFT's, alternating, so that a noisy machine disturbs both alike."""

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from qlora.adapters.attach import adapter_parameters, attach
from qlora.config import AdapterConfig, ModelConfig, QuantizationSettings, RunConfig
from qlora.errors import InputError
from qlora.models.load import load_quantized
from qlora.optimizer.paged_adamw import PagedAdamW
from qlora.training import preflight
from qlora.training.activations import enable_checkpointing
from qlora.training.chunked_loss import causal_loss
from qlora.training.loss import CHUNK_TOKENS


@dataclass(frozen=True)
class StepTimes:
    """Seconds of a step.

    Attributes:
        program: whose, and how.
        median, least: of the timed rounds.
    """

    program: str
    median: float
    least: float


def measure(model: str, batch: int, tokens: int, r: int, rounds: int) -> tuple[dict, list[StepTimes]]:
    """Time a step of LoRA on all linear layers: ours on the 4-bit model, with and without activation checkpointing, and
    PEFT's on the unquantized model in the dtype of the computation, with torch's AdamW.

    Args:
        model: the demo model's name, a folder or a hub name.
        batch, tokens: sequences and their length; random tokens, all of them trained on.
        r: rank.
        rounds: timed steps of each.

    Returns:
        Conditions, and a row for each program.

    Raises:
        InputError: PEFT is not installed, or nothing usable at `model`.
    """
    try:
        import peft
    except ImportError:
        raise InputError("qlora bench step compares with PEFT, which is not installed: pip install peft") from None
    config = RunConfig(model=ModelConfig(model))
    device = preflight.choose_device(config)
    dtype = preflight.choose_dtype(config, device)
    shape = (batch, tokens)
    ids = torch.randint(1000, shape, generator=torch.Generator().manual_seed(0)).to(device)
    programs = {
        "qlora": _ours(config, device, dtype, ids, r, checkpointing=False),
        "qlora, checkpointing": _ours(config, device, dtype, ids, r, checkpointing=True),
        f"PEFT {peft.__version__}, {str(dtype).removeprefix('torch.')} weights": _theirs(
            peft, model, device, dtype, ids, r
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds + 1):
        for name, step in programs.items():
            began = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - began)
    conditions = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "model": model,
        "batch": batch,
        "tokens": tokens,
        "r": r,
        "rounds": rounds,
        "torch": torch.__version__,
    }
    return conditions, [StepTimes(name, statistics.median(t[1:]), min(t[1:])) for name, t in times.items()]


def _ours(config: RunConfig, device, dtype, ids: torch.Tensor, r: int, checkpointing: bool) -> Callable[[], None]:
    model, _ = load_quantized(config.model, QuantizationSettings(), device=device, dtype=dtype)
    attach(model, AdapterConfig(r=r), dtype=dtype, seed=0)
    if checkpointing:
        enable_checkpointing(model)
    model.train()
    optimizer = PagedAdamW(adapter_parameters(model), 2e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss, counted = causal_loss(model, {"input_ids": ids, "use_cache": False}, ids, CHUNK_TOKENS)
        (loss / counted).backward()
        optimizer.step()

    return step


def _theirs(peft, name: str, device, dtype, ids: torch.Tensor, r: int) -> Callable[[], None]:
    import transformers

    from qlora.models.demo import DEMO_MODEL, demo_model_dir

    source = demo_model_dir() if name == DEMO_MODEL else name
    model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=dtype, device_map={"": device})
    model = peft.get_peft_model(model, peft.LoraConfig(r=r, lora_alpha=r, target_modules="all-linear"))
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)

    def step() -> None:
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()

    return step


def table(conditions: dict, rows: list[StepTimes]) -> str:
    """The rows as text, with the ratio to the last one."""
    base = rows[-1].median
    lines = [
        f"{conditions['model']}, {conditions['batch']} x {conditions['tokens']} tokens, r {conditions['r']}, on "
        f"{conditions['device']} with {conditions['threads']} threads, torch {conditions['torch']}; median of "
        f"{conditions['rounds']} alternating steps",
        f"{'program':36}{'seconds':>9}{'least':>9}{'ratio':>8}",
    ]
    lines += [f"{row.program:36}{row.median:>9.3f}{row.least:>9.3f}{row.median / base:>8.2f}" for row in rows]
    return "\n".join(lines)
