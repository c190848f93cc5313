"""Training steps to measure: ours, and PEFT's on bitsandbytes' 4-bit model or on the unquantized one."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from qlora.adapters.attach import adapter_parameters, attach
from qlora.bench.random_llama import bitsandbytes_layer, quantized_layer, random_llama, unquantized_layer
from qlora.config import AdapterConfig, ModelConfig, QuantizationSettings, TrainingConfig
from qlora.memory.model_config import NAMED_SHAPES
from qlora.models.demo import DEMO_MODEL
from qlora.models.load import load_quantized
from qlora.models.source import locate
from qlora.optimizer.paged_adamw import PagedAdamW
from qlora.training import activations
from qlora.training.activation_plan import ActivationPlan
from qlora.training.chunked_loss import causal_loss

#: Of our loss: the default of a run.
CHUNK_TOKENS = TrainingConfig.loss_chunk_tokens


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
    def dtype_name(self) -> str:
        """Of the dtype, without torch's prefix."""
        return str(self.dtype).removeprefix("torch.")

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


def programs_for(device: torch.device) -> list[Program]:
    """What can be compared here; the last one is what ratios are to."""
    ours = [Program("qlora"), Program("qlora", checkpointing=True)]
    if device.type == "cpu":
        return [*ours, Program("unquantized")]
    ours += [replace(program, compiled=True) for program in ours]
    if not installed("bitsandbytes"):
        return [*ours, Program("unquantized")]
    return [
        *ours,
        Program("bitsandbytes", compiled=True),
        Program("bitsandbytes"),
        Program("bitsandbytes", checkpointing=True),
    ]


def ours(program: Program, subject: Subject) -> tuple[torch.nn.Module, Callable[[torch.Tensor], None]]:
    """Our model with its adapters, and its step on token ids (batch, seq)."""
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
    activations.apply(model, ActivationPlan(layers, layers if program.checkpointing else 0))
    model.train()
    optimizer = PagedAdamW(adapter_parameters(model), 2e-4)

    def step(ids: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss, counted = causal_loss(model, {"input_ids": ids, "use_cache": False}, ids, CHUNK_TOKENS)
        (loss / counted).backward()
        optimizer.step()

    return model, step


def theirs(program: Program, subject: Subject) -> tuple[torch.nn.Module, Callable[[torch.Tensor], None]]:
    """PEFT's model, and its step on token ids (batch, seq)."""
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

    if subject.random:
        return random_llama(NAMED_SHAPES[subject.model], subject.device, subject.dtype, unquantized_layer)
    source = locate(subject.model)
    return transformers.AutoModelForCausalLM.from_pretrained(
        source.place, dtype=subject.dtype, device_map={"": subject.device}, use_safetensors=True, **source.options
    )


def _of_bitsandbytes(subject: Subject) -> torch.nn.Module:
    import transformers

    if subject.random:
        model = random_llama(NAMED_SHAPES[subject.model], subject.device, subject.dtype, bitsandbytes_layer)
        model.is_loaded_in_4bit = model.is_quantized = True  # what from_pretrained would set, and PEFT asks for
        return model
    source = locate(subject.model)
    settings = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=subject.dtype,
    )
    return transformers.AutoModelForCausalLM.from_pretrained(
        source.place,
        dtype=subject.dtype,
        quantization_config=settings,
        device_map={"": subject.device},
        use_safetensors=True,
        **source.options,
    )


def installed(name: str) -> bool:
    """Whether there is a package of this name."""
    return importlib.util.find_spec(name) is not None
