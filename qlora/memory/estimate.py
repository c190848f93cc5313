"""Bytes of a finetune by component, for the formats that this library really stores.

Every formula is in the docstring of its function. Counts are exact where we own the format (weights, constants,
adapters, optimizer states) and where autograd's saved tensors can be counted (activations). Gradients of activations
are those of the fullest moment. Temporary buffers inside kernels and the allocator's own rounding are not counted.
"""

from dataclasses import dataclass, replace

from qlora.config import AdapterConfig
from qlora.errors import InputError
from qlora.memory.passes import backward_bytes, logits_bytes, runs, stored_bytes
from qlora.memory.shapes import Pass, Shape, require_whole

METHODS = ("qlora", "lora", "full")
OPTIMIZERS = ("paged-adamw-32bit", "adamw-32bit", "paged-adamw-8bit", "adamw-8bit")
DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}

_NESTED_BLOCK_SIZE = 256
_STATE_BLOCK_SIZE = 256


@dataclass(frozen=True)
class EstimateOptions:
    """How the model is finetuned.

    Args:
        method: "qlora" (4-bit linear weights and adapters), "lora" (16-bit weights and adapters) or "full" (16-bit
            weights, all trained).
        block_size: weights that share one absmax.
        double_quantization: absmax stored in 8 bits.
        r: rank of the adapters, on every linear layer.
        adapter: ranks and layers of the adapters where they are not alike; it comes before ``r``.
        adapter_dtype: of adapters and their gradients; with "full" the trained weights are 16-bit whatever this says.
        optimizer: one of `OPTIMIZERS`.
        batch_size: sequences in one forward pass.
        sequence_length: tokens a sequence, padding included.
        target_length: tokens of a target, for models that read one text and write another; as long as the sequence if
            not given.
        masked: sequences are padded to one length, or hold several samples.
        checkpointed_layers: the first so many layers keep their input only, and the rest of them is computed again in
            the backward pass; None for all layers, 0 keeps everything.
        offloaded: inputs of checkpointed layers wait in main memory; it takes all layers to be checkpointed.
        compute_dtype: of activations, decoded weights, and with "qlora" of what is not quantized.
        loss_chunk_tokens: tokens whose logits exist at a time; None for all of them.

    Raises:
        InputError: an unknown choice, a number out of range, or offloading without checkpointing.
    """

    method: str = "qlora"
    block_size: int = 64
    double_quantization: bool = True
    r: int = 64
    adapter: AdapterConfig | None = None
    adapter_dtype: str = "bfloat16"
    optimizer: str = "paged-adamw-32bit"
    batch_size: int = 1
    sequence_length: int = 512
    target_length: int | None = None
    masked: bool = False
    checkpointed_layers: int | None = None
    offloaded: bool = False
    compute_dtype: str = "bfloat16"
    loss_chunk_tokens: int | None = None

    def __post_init__(self) -> None:
        _require_choice(self.method, "The method", METHODS)
        _require_choice(self.optimizer, "The optimizer", OPTIMIZERS)
        _require_choice(self.adapter_dtype, "The adapters' data type", DTYPE_BYTES)
        _require_choice(self.compute_dtype, "The compute data type", DTYPE_BYTES)
        require_whole(self.block_size, "The block size", 32, 4096)
        if self.block_size & (self.block_size - 1):
            raise InputError(f"The block size must be a power of two from 32 to 4,096, not {self.block_size}.")
        require_whole(self.r, "The rank", 1, 1024)
        require_whole(self.batch_size, "The batch size", 1, 65_536)
        require_whole(self.sequence_length, "The sequence length", 1, 1_048_576)
        for value, label, smallest in (
            (self.target_length, "The target length", 1),
            (self.loss_chunk_tokens, "The tokens of a loss chunk", 1),
            (self.checkpointed_layers, "The number of checkpointed layers", 0),
        ):
            if value is not None:
                require_whole(value, label, smallest, 1_048_576)
        if self.offloaded and self.checkpointed_layers is not None:
            raise InputError("Only inputs of checkpointed layers wait in main memory: let all layers be checkpointed.")

    @property
    def tokens(self) -> int:
        """Tokens in one forward pass, of the sources alone."""
        return self.batch_size * self.sequence_length

    @property
    def batch(self) -> Pass:
        """What goes through the model at once."""
        return Pass(
            rows=self.batch_size,
            tokens=self.sequence_length,
            value_bytes=DTYPE_BYTES[self.compute_dtype],
            target_tokens=self.target_length or self.sequence_length,
            masked=self.masked,
            trained=self.method == "full",
        )


@dataclass(frozen=True)
class MemoryEstimate:
    """What `estimate` returns.

    Args:
        components: name -> bytes, each at its largest. "base_weights", "quantization_constants", "unquantized_weights",
            "adapters", "gradients" (of adapters or weights) and "optimizer_states" stay for the whole run;
            "activations", "input_gradients", "logits" and "workspace" (one decoded matrix) come and go.
        moments: moment -> component -> bytes in use at the "loss" (all stored activations and the logits), in the
            "backward" pass (stored activations, one layer's work) and at the "update" (no activations).
        pageable_bytes: of these, optimizer states that may leave for the CPU under pressure.
        trainable_parameters: weights that are trained.
        main_memory_bytes: of layer inputs that wait in main memory; no component counts them.
    """

    components: dict[str, int]
    moments: dict[str, dict[str, int]]
    pageable_bytes: int
    trainable_parameters: int
    main_memory_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """Sum of all components, as if they were all there at once; what a bar chart of them adds up to."""
        return sum(self.components.values())

    @property
    def peak_moment(self) -> str:
        """The moment at which most bytes are in use, every optimizer page resident."""
        return max(self.moments, key=lambda moment: sum(self.moments[moment].values()))

    @property
    def peak_bytes(self) -> int:
        """Bytes in use at `peak_moment`."""
        return sum(self.moments[self.peak_moment].values())

    @property
    def peak_bytes_paged_out(self) -> int:
        """The peak when all pages of a paged optimizer leave during the forward and backward pass.

        At the update they come back page by page after the activations are gone, so that moment counts none.
        """
        return self.peak_bytes - self.pageable_bytes

    @property
    def passing_bytes(self) -> int:
        """The most of what comes and goes: activations, their gradients, logits and a decoded matrix."""
        return max(sum(parts.values()) for parts in self.moments.values()) - sum(self.moments["update"].values())


def estimate(shape: Shape, options: EstimateOptions) -> MemoryEstimate:
    """Bytes by component and the peak of one training step.

    Moments: loss = kept + stored activations + logits; backward = kept + activations, gradients and perhaps a decoded
    matrix at the fullest moment of the backward pass (`passes.backward_bytes`); update = kept. "kept" is weights,
    constants, adapters, their gradients, which have memory of their own all the time, and optimizer states.

    Args:
        shape: the model.
        options: how it is finetuned.

    Raises:
        InputError: more layers are checkpointed than there are.
    """
    if options.checkpointed_layers is not None:
        require_whole(options.checkpointed_layers, "The number of checkpointed layers", 0, shape.layers)
    full = options.method == "full"
    codes, constants = base_weight_bytes(shape, options)
    trainable, stored = trained_values(shape, options)
    trained_bytes = stored * (2 if full else DTYPE_BYTES[options.adapter_dtype])
    whole_bytes = DTYPE_BYTES[options.compute_dtype] if options.method == "qlora" else 2
    kept = {
        "base_weights": codes,
        "quantization_constants": constants,
        "unquantized_weights": shape.unquantized_parameters * whole_bytes,
        "adapters": 0 if full else trained_bytes,
        "gradients": trained_bytes,
        "optimizer_states": optimizer_state_bytes(stored, options.optimizer),
    }
    batch = replace(options.batch, adapted=shape.adapted_names(options.adapter))
    checkpointed = options.checkpointed_layers
    layers = runs(shape, batch, shape.layers if checkpointed is None else checkpointed, options.offloaded)
    waiting, in_main_memory = stored_bytes(shape, batch, layers)
    moments = {
        "loss": kept | {"activations": waiting, "logits": logits_bytes(shape, batch, options.loss_chunk_tokens)},
        "backward": kept | backward_bytes(shape, batch, layers, decoding=options.method == "qlora"),
        "update": dict(kept),
    }
    components = kept | {
        name: max(parts.get(name, 0) for parts in moments.values())
        for name in ("activations", "input_gradients", "logits", "workspace")
    }
    pageable = components["optimizer_states"] if options.optimizer.startswith("paged") else 0
    return MemoryEstimate(components, moments, pageable, trainable, in_main_memory)


def base_weight_bytes(shape: Shape, options: EstimateOptions) -> tuple[int, int]:
    """Bytes of the linear weights and of their quantization constants.

    Per matrix of n weights: codes ceil(n / 2); with b = ceil(n / block size) blocks, constants 4 b bytes, or with
    double quantization b + 4 ceil(b / 256) + 4 (8-bit codes, their fp32 absmax, the fp32 mean; section 3 of the paper).
    For "lora" and "full": 2 n and nothing.

    Returns:
        (codes, constants)
    """
    if options.method != "qlora":
        return shape.linear_parameters * 2, 0
    codes = constants = 0
    for rows, columns, matrices in shape.matrices:
        count = rows * columns
        blocks = -(-count // options.block_size)
        codes += matrices * -(-count // 2)
        if options.double_quantization:
            constants += matrices * (blocks + 4 * -(-blocks // _NESTED_BLOCK_SIZE) + 4)
        else:
            constants += matrices * 4 * blocks
    return codes, constants


def trained_values(shape: Shape, options: EstimateOptions) -> tuple[int, int]:
    """Values that are trained, and values that they take room for: in the optimizer's flat tensors each tensor of an
    adapter begins at a multiple of 256 (`PagedAdamW`).

    Returns:
        (trained, stored)
    """
    if options.method == "full":
        return shape.parameters, shape.parameters
    tensors = list(shape.trained_tensors(options.adapter or AdapterConfig(r=options.r)))
    return (
        sum(size * count for size, count in tensors),
        sum(-(-size // _STATE_BLOCK_SIZE) * _STATE_BLOCK_SIZE * count for size, count in tensors),
    )


def optimizer_state_bytes(parameters: int, optimizer: str) -> int:
    """AdamW's two states: 8 n bytes in 32 bit; in 8 bit 2 n and two fp32 absmax for each 256 weights.

    The 8-bit states are those of arXiv 2110.02861. Paged states are as large; they may live on either side.
    """
    if optimizer.endswith("32bit"):
        return 8 * parameters
    return 2 * parameters + 2 * 4 * -(-parameters // _STATE_BLOCK_SIZE)


def _require_choice(value: object, label: str, choices: object) -> None:
    if value not in choices:
        raise InputError(f"{label} must be one of {', '.join(choices)}, not {value!r}.")
