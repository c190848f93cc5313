"""The sections of a run's configuration: frozen dataclasses that check themselves when built."""

import dataclasses
import math
import re

from qlora.errors import InputError

BLOCK_SIZES = tuple(2**i for i in range(5, 13))
"""How many weights may share one absmax."""


def _require(ok: bool, field: str, expected: str, got: object) -> None:
    if not ok:
        raise InputError(f"{field} must be {expected}, got {got!r}.")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Attributes:
    name: "smollm2-135m-instruct" (the packaged demo model), a folder with a Hugging Face checkpoint, or a hub name.
    task: what it is to learn: "causal" (to write on), "seq2seq" (a target from a source, as T5 does) or
        "classification" (the class of a text; the head is trained in full).
    labels: names of the classes, in the order of the head's outputs.
    """

    name: str = "smollm2-135m-instruct"
    task: str = "causal"
    labels: tuple[str, ...] = ()

    def __post_init__(self):
        _require(bool(self.name.strip()), "model.name", "the name or folder of a model", self.name)
        tasks = ("causal", "seq2seq", "classification")
        _require(self.task in tasks, "model.task", f"one of {', '.join(tasks)}", self.task)
        if self.task == "classification":
            distinct = len(set(self.labels)) == len(self.labels) >= 2
            _require(distinct, "model.labels", "two or more different names for model.task classification", self.labels)
        else:
            _require(not self.labels, "model.labels", f"empty for model.task {self.task}", self.labels)


@dataclasses.dataclass(frozen=True)
class QuantizationSettings:
    """How the base model is stored (section 3 of the paper).

    Attributes:
        quant_type: "nf4", "fp4-e2m1", "fp4-e3m0" or "int4".
        block_size: weights sharing one absmax, a power of two from 32 to 4096.
        double_quantization: quantize the absmax values too.
    """

    quant_type: str = "nf4"
    block_size: int = 64
    double_quantization: bool = True

    def __post_init__(self):
        names = ("nf4", "fp4-e2m1", "fp4-e3m0", "int4")
        _require(self.quant_type in names, "quantization.quant_type", f"one of {', '.join(names)}", self.quant_type)
        _require(
            self.block_size in BLOCK_SIZES, "quantization.block_size", "a power of two from 32 to 4096", self.block_size
        )


def fits_pattern(pattern: str, name: str) -> bool:
    """Whether a pattern of `AdapterConfig` fits a module: it is a regular expression (a plain name is one too) for the
    module's whole name or for its end after a dot."""
    return re.fullmatch(rf"(.*\.)?({pattern})", name) is not None


@dataclasses.dataclass(frozen=True)
class AdapterConfig:
    """LoRA on linear layers (section 2 of the paper; Hu et al. 2021).

    Patterns are names such as "q_proj", whole names such as "model.layers.0.self_attn.q_proj", or regular expressions
    for either (see `fits_pattern`).

    Attributes:
        r: rank.
        alpha: scaling is alpha / r.
        dropout: on the adapter's input, 0 to 1.
        rslora: scale by alpha / √r instead (Kalajdzievski 2023).
        dtype: of the adapter: "float32", "bfloat16", or "auto", that of the computation.
        target_modules: patterns of the layers that get an adapter; empty is every linear layer but the output head.
        rank_pattern, alpha_pattern: another rank or alpha for the layers that a pattern fits; the first one counts.
    """

    r: int = 16
    alpha: float = 16.0
    dropout: float = 0.0
    rslora: bool = False
    dtype: str = "auto"
    target_modules: tuple[str, ...] = ()
    rank_pattern: dict[str, int] = dataclasses.field(default_factory=dict)
    alpha_pattern: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for pattern, r in {"": self.r, **self.rank_pattern}.items():
            _require(1 <= r <= 1024, f"adapter.rank_pattern.{pattern}" if pattern else "adapter.r", "from 1 to 1024", r)
        for pattern, alpha in {"": self.alpha, **self.alpha_pattern}.items():
            where = f"adapter.alpha_pattern.{pattern}" if pattern else "adapter.alpha"
            _require(0 < alpha < math.inf, where, "above 0", alpha)
        _require(0 <= self.dropout < 1, "adapter.dropout", "from 0 to below 1", self.dropout)
        dtypes = ("auto", "float32", "bfloat16")
        _require(self.dtype in dtypes, "adapter.dtype", f"one of {', '.join(dtypes)}", self.dtype)
        for field in ("target_modules", "rank_pattern", "alpha_pattern"):
            for pattern in getattr(self, field):
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise InputError(
                        f"adapter.{field}: {pattern!r} is neither a name nor a regular expression ({error})."
                    ) from None

    def rank_of(self, name: str) -> int:
        """The rank of the layer `name`."""
        return next((r for pattern, r in self.rank_pattern.items() if fits_pattern(pattern, name)), self.r)

    def alpha_of(self, name: str) -> float:
        """The alpha of the layer `name`."""
        return next((alpha for pattern, alpha in self.alpha_pattern.items() if fits_pattern(pattern, name)), self.alpha)


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What is learnt (the forms of files are in `qlora.data.formats`).

    Attributes:
        path: a JSONL, JSON, CSV or Parquet file, "qlora-questions" (the packaged one), or a dataset on the hub:
            "owner/dataset", or "owner/dataset:file" where it has several data files.
        format: "messages", "sharegpt", "alpaca", "completion", "oasst" or "text"; "auto" goes by a file's first row.
        max_length: longest sample in tokens; the end of a longer one is cut off, and one of which nothing to learn is
            left is dropped. Both are reported.
        system_prompt: what the chat template's system message says in conversations without one of their own; null
            leaves the template's own default.
        loss_on: "completions" (what the assistant says, ends of turns included) or "everything". Of plain texts
            everything counts.
        packing: put several samples into one sequence, without attention across them.
        packed_length: tokens of such a sequence; null is max_length.
        group_by_length: samples of similar length share a batch, which saves padding.
        evaluation_path: samples to evaluate on, as `path`.
        evaluation_share: part of the samples of `path` to keep from training and evaluate on instead.
    """

    path: str = "qlora-questions"
    format: str = "auto"
    max_length: int = 128
    system_prompt: str | None = None
    loss_on: str = "completions"
    packing: bool = False
    packed_length: int | None = None
    group_by_length: bool = False
    evaluation_path: str | None = None
    evaluation_share: float = 0.0

    def __post_init__(self):
        share = self.evaluation_share
        _require(0 <= share <= 0.5, "data.evaluation_share", "from 0 to 0.5", share)
        _require(not (share and self.evaluation_path), "data.evaluation_share", "0 with data.evaluation_path", share)
        _require(bool(self.path.strip()), "data.path", "a file", self.path)
        _require(8 <= self.max_length <= 65536, "data.max_length", "from 8 to 65536 tokens", self.max_length)
        for name, allowed in (
            ("format", ("auto", "messages", "sharegpt", "alpaca", "completion", "oasst", "text")),
            ("loss_on", ("completions", "everything")),
        ):
            value = getattr(self, name)
            _require(value in allowed, f"data.{name}", f"one of {', '.join(allowed)}", value)
        if self.packed_length is not None:
            _require(self.packing, "data.packed_length", "null unless data.packing is true", self.packed_length)
            allowed = f"from data.max_length ({self.max_length}) to 65536 tokens"
            _require(self.max_length <= self.packed_length <= 65536, "data.packed_length", allowed, self.packed_length)
        grouped = not (self.packing and self.group_by_length)
        _require(grouped, "data.group_by_length", "false with data.packing (packed rows are alike already)", True)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Paged AdamW (section 3 of the paper; Loshchilov and Hutter 2019).

    Attributes:
        learning_rate: its largest value.
        beta1, beta2, eps, weight_decay: as in `torch.optim.AdamW`.
        state_bits: 32, or 8 for bitsandbytes' blockwise 8-bit state, a quarter of the size.
        page_kib: size of an optimizer page in KiB.
        device_budget_mib: what may be on the device, in MiB, base model included; optimizer pages leave when the
            activations of a batch need the room. None: no limit.
    """

    learning_rate: float = 2e-4
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    state_bits: int = 32
    page_kib: int = 2048
    device_budget_mib: float | None = None

    def __post_init__(self):
        _require(0 < self.learning_rate <= 1, "optimizer.learning_rate", "above 0 and at most 1", self.learning_rate)
        for name in ("beta1", "beta2"):
            _require(0 <= getattr(self, name) < 1, f"optimizer.{name}", "from 0 to below 1", getattr(self, name))
        _require(0 < self.eps < 1, "optimizer.eps", "above 0 and below 1", self.eps)
        _require(0 <= self.weight_decay < 1, "optimizer.weight_decay", "from 0 to below 1", self.weight_decay)
        _require(self.state_bits in (32, 8), "optimizer.state_bits", "32 or 8", self.state_bits)
        _require(4 <= self.page_kib <= 65536, "optimizer.page_kib", "from 4 to 65536", self.page_kib)
        budget = self.device_budget_mib
        _require(budget is None or 0 < budget < math.inf, "optimizer.device_budget_mib", "above 0, or null", budget)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Attributes:
    steps: optimizer steps.
    epochs: passes over the data; when given it decides how many steps there are.
    batch_size: samples that go through the model at once.
    accumulation: batches an optimizer step sums, weighted by their trained tokens.
    schedule: "constant", "linear" or "cosine" (the last two fall to 0 at the last step).
    warmup_steps: over which the learning rate rises from 0.
    max_gradient_norm: gradients are scaled down to it; the paper uses 0.3 (B.2). 0 turns clipping off.
    activations: what the backward pass needs of the forward pass. "keep" keeps it; "checkpoint" keeps each layer's
        input and computes the rest again, for less memory and about a third more time; "offload" also moves those
        inputs to main memory (on a GPU). "auto" keeps as much as the device, or its budget, has room for.
    compile: let torch compile the layers: about a minute at the start, then faster steps on a GPU.
    loss_chunk_tokens: trained tokens whose logits exist at a time.
    compute_dtype: "float32", "bfloat16", or "auto": bfloat16 on a GPU, float32 on a CPU, where bfloat16 is slower.
    device: "auto", "cpu" or "cuda".
    seed: of shuffling, dropout and the adapter's initial values.
    sample_prompts: answered by the base model and by the finetuned one after the last step.
    sample_tokens: longest such answer.
    evaluation_steps: evaluate on data.evaluation_path or data.evaluation_share after every so many steps, and after
        the last; 0 never.
    patience: end the run after so many evaluations without a lower loss; 0 never.
    checkpoint_steps: write a checkpoint that the run can be resumed from after every so many steps, and at the end;
        0 never.
    keep_checkpoints: how many of the newest to keep.
    """

    steps: int = 100
    epochs: float | None = None
    batch_size: int = 1
    accumulation: int = 1
    schedule: str = "constant"
    warmup_steps: int = 0
    max_gradient_norm: float = 0.3
    activations: str = "auto"
    compile: bool = False
    loss_chunk_tokens: int = 512
    compute_dtype: str = "auto"
    device: str = "auto"
    seed: int = 0
    sample_prompts: tuple[str, ...] = ()
    sample_tokens: int = 48
    evaluation_steps: int = 0
    patience: int = 0
    checkpoint_steps: int = 0
    keep_checkpoints: int = 2

    def __post_init__(self):
        for name, lowest, highest in (
            ("steps", 1, 10**7),
            ("batch_size", 1, 4096),
            ("accumulation", 1, 4096),
            ("sample_tokens", 1, 4096),
            ("evaluation_steps", 0, 10**7),
            ("patience", 0, 10**7),
            ("checkpoint_steps", 0, 10**7),
            ("keep_checkpoints", 1, 10**4),
            ("loss_chunk_tokens", 1, 2**20),
        ):
            value = getattr(self, name)
            _require(lowest <= value <= highest, f"training.{name}", f"from {lowest} to {highest}", value)
        _require(self.epochs is None or 0 < self.epochs <= 10**6, "training.epochs", "above 0, or null", self.epochs)
        for name, allowed in (
            ("schedule", ("constant", "linear", "cosine")),
            ("activations", ("auto", "keep", "checkpoint", "offload")),
            ("compute_dtype", ("auto", "float32", "bfloat16")),
            ("device", ("auto", "cpu", "cuda")),
        ):
            value = getattr(self, name)
            _require(value in allowed, f"training.{name}", f"one of {', '.join(allowed)}", value)
        highest = self.steps if self.epochs is None else 10**7
        _require(0 <= self.warmup_steps <= highest, "training.warmup_steps", "from 0 to steps", self.warmup_steps)
        _require(
            0 <= self.max_gradient_norm < math.inf, "training.max_gradient_norm", "0 or more", self.max_gradient_norm
        )
        _require(0 <= self.seed < 2**63, "training.seed", "from 0 to 2^63 - 1", self.seed)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A whole run.

    Attributes:
        output: folder of the run; it must not hold another one.
    """

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    quantization: QuantizationSettings = dataclasses.field(default_factory=QuantizationSettings)
    adapter: AdapterConfig = dataclasses.field(default_factory=AdapterConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    output: str = "runs/qlora"

    def __post_init__(self):
        evaluates = self.training.evaluation_steps > 0
        if evaluates != bool(self.data.evaluation_path or self.data.evaluation_share):
            raise InputError(
                "Give both or neither: training.evaluation_steps, and data.evaluation_path or data.evaluation_share."
            )
        patience = self.training.patience
        _require(evaluates or not patience, "training.patience", "0 without training.evaluation_steps", patience)
        if self.model.task != "causal":
            only = f"for model.task {self.model.task}"
            _require(not self.data.packing, "data.packing", f"false {only}", True)
            _require(self.data.loss_on == "completions", "data.loss_on", f"completions {only}", self.data.loss_on)
            prompts = self.training.sample_prompts
            _require(not prompts, "training.sample_prompts", f"empty {only}", list(prompts))
