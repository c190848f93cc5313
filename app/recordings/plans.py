"""What is recorded: models, texts and settings."""

from dataclasses import dataclass, replace

from qlora.config import AdapterConfig, DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainingConfig
from qlora.memory.shapes import LLAMA, LlamaShape
from qlora.models.demo import DEMO_MODEL

# The trainer works in a folder of its own and is given names in it, so that a log names no folder of a machine.
TEXTS_NAME = "texts.jsonl"
RANDOM_MODEL_NAME = "random-llama"
OUTPUT_NAME = "run"


@dataclass(frozen=True)
class Texts:
    """What a run learns from: many short texts, and a long one now and then.

    Attributes:
        short, long: how many of each; together the steps of a run.
        short_answers: questions with their answers in a short text; a long one holds as many as `longest` cuts off.
        longest: tokens that a long text is cut at.
    """

    short: int
    long: int
    short_answers: int
    longest: int


@dataclass(frozen=True)
class Plan:
    """One recording to make.

    Attributes:
        name: of the recording.
        config: of the run.
        texts: that it learns from.
        shape: of the model that is made with random weights; None for the demo model.
        one_step: record the memory of one step with a long text instead of a whole run.
    """

    name: str
    config: RunConfig
    texts: Texts
    shape: LlamaShape | None = None
    one_step: bool = False


def _config(
    texts: Texts,
    *,
    device: str,
    model: str,
    r: int,
    page_kib: int,
    budget_mib: float,
    activations: str,
    loss_chunk_tokens: int,
) -> RunConfig:
    return RunConfig(
        model=ModelConfig(model),
        adapter=AdapterConfig(r=r, alpha=2 * r),
        data=DataConfig(path=TEXTS_NAME, format="text", max_length=texts.longest),
        optimizer=OptimizerConfig(learning_rate=5e-4, page_kib=page_kib, device_budget_mib=budget_mib),
        training=TrainingConfig(
            steps=texts.short + texts.long,
            warmup_steps=2,
            activations=activations,
            loss_chunk_tokens=loss_chunk_tokens,
            device=device,
            seed=3,
        ),
        output=OUTPUT_NAME,
    )


def _three(prefix: str, config: RunConfig, texts: Texts, shape: LlamaShape | None) -> list[Plan]:
    """A run under the budget, the same without one, and one step under the budget."""
    free = replace(config, optimizer=replace(config.optimizer, device_budget_mib=None))
    return [
        Plan(f"{prefix}-budget", config, texts, shape),
        Plan(f"{prefix}-free", free, texts, shape),
        Plan(f"{prefix}-step", config, texts, shape, one_step=True),
    ]


_ON_CPU = Texts(short=54, long=6, short_answers=1, longest=384)
_ON_CUDA = Texts(short=54, long=6, short_answers=1, longest=1024)

# Budgets: a short text fits beside all pages, a long one only when most of them have left (a test holds them to
# `memory.estimate`). Pages of about a hundredth of the state: enough of them to see which ones leave. On a GPU memory
# is read between layers, so what a layer needs for a moment must be little beside what they keep: all is kept there.
PLANS = {
    plan.name: plan
    for plan in (
        *_three(
            "smollm2-cpu",
            _config(
                _ON_CPU,
                device="cpu",
                model=DEMO_MODEL,
                r=16,
                page_kib=512,
                budget_mib=266,
                activations="checkpoint",
                loss_chunk_tokens=64,
            ),
            _ON_CPU,
            None,
        ),
        *_three(
            "llama-7b-cuda",
            _config(
                _ON_CUDA,
                device="cuda",
                model=RANDOM_MODEL_NAME,
                r=64,
                page_kib=8192,
                budget_mib=10_300,
                activations="keep",
                loss_chunk_tokens=128,
            ),
            _ON_CUDA,
            LLAMA["7B"],
        ),
    )
}
