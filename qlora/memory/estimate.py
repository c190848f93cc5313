"""Bytes of a finetune by component, for the formats that this library really stores.

Every formula is in the docstring of its function. Counts are exact where we own the format (weights, constants,
adapters, optimizer states) and where autograd's saved tensors can be counted (activations); temporary buffers inside
kernels and the allocator's own rounding are not counted.
"""

from dataclasses import dataclass

from qlora.errors import InputError
from qlora.memory.shapes import Shape, require_whole

METHODS = ("qlora", "lora", "full")
OPTIMIZERS = ("paged-adamw-32bit", "adamw-32bit", "paged-adamw-8bit", "adamw-8bit")
DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}

_KEPT = ("base_weights", "quantization_constants", "unquantized_weights", "adapters", "optimizer_states", "workspace")
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
        adapter_dtype: of adapters and their gradients; with "full" the trained weights are 16-bit whatever this says.
        optimizer: one of `OPTIMIZERS`.
        batch_size: sequences in one forward pass.
        sequence_length: tokens a sequence, padding included.
        checkpointing: keep each layer's input only and compute the rest again in the backward pass.
        compute_dtype: of activations and decoded weights.
        loss_chunk_tokens: tokens whose logits exist at a time; None for all of them.

    Raises:
        InputError: an unknown choice or a number out of range.
    """

    method: str = "qlora"
    block_size: int = 64
    double_quantization: bool = True
    r: int = 64
    adapter_dtype: str = "bfloat16"
    optimizer: str = "paged-adamw-32bit"
    batch_size: int = 1
    sequence_length: int = 512
    checkpointing: bool = True
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
        require_whole(self.r, "The rank", 1, 4096)
        require_whole(self.batch_size, "The batch size", 1, 65_536)
        require_whole(self.sequence_length, "The sequence length", 1, 1_048_576)
        if self.loss_chunk_tokens is not None:
            require_whole(self.loss_chunk_tokens, "The tokens of a loss chunk", 1, 1_048_576)

    @property
    def tokens(self) -> int:
        """Tokens in one forward pass."""
        return self.batch_size * self.sequence_length


@dataclass(frozen=True)
class MemoryEstimate:
    """What `estimate` returns.

    Args:
        components: name -> bytes. "base_weights", "quantization_constants", "unquantized_weights", "adapters",
            "optimizer_states" and "workspace" (one decoded matrix) stay for the whole run; "gradients", "activations",
            "input_gradients" and "logits" come and go.
        moments: moment -> component -> bytes in use at "loss" (all stored activations and the logits), in the
            "backward" pass (stored activations, one layer's work, all gradients) and at the "update" (no activations).
        pageable_bytes: of these, optimizer states that may leave for the CPU under pressure.
        trainable_parameters: weights that are trained.
    """

    components: dict[str, int]
    moments: dict[str, dict[str, int]]
    pageable_bytes: int
    trainable_parameters: int

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


def estimate(shape: Shape, options: EstimateOptions) -> MemoryEstimate:
    """Bytes by component and the peak of one training step.

    Moments: loss = kept + stored activations + logits; backward = kept + gradients + stored activations + one
    recomputed layer + input gradients; update = kept + gradients. "kept" is weights, constants, adapters, optimizer
    states and the buffer that one decoded matrix at a time is written to. Gradients are freed after the update, so at
    the loss there are none.

    Args:
        shape: the model.
        options: how it is finetuned.

    Raises:
        InputError: see `EstimateOptions` and the shapes, which raise it when built.
    """
    compute_bytes = DTYPE_BYTES[options.compute_dtype]
    codes, constants = base_weight_bytes(shape, options)
    trainable = shape.parameters if options.method == "full" else shape.adapter_parameters(options.r)
    trained_bytes = 2 if options.method == "full" else DTYPE_BYTES[options.adapter_dtype]
    stored, recomputed = activation_bytes(shape, options)
    components = {
        "base_weights": codes,
        "quantization_constants": constants,
        "unquantized_weights": shape.unquantized_parameters * 2,
        "adapters": 0 if options.method == "full" else trainable * trained_bytes,
        "gradients": trainable * trained_bytes,
        "optimizer_states": optimizer_state_bytes(trainable, options.optimizer),
        "activations": stored + recomputed,
        "input_gradients": input_gradient_bytes(shape, options),
        "logits": logits_bytes(shape, options),
        "workspace": max(rows * columns for rows, columns in shape.linears.values()) * compute_bytes
        if options.method == "qlora"
        else 0,
    }
    kept = {name: components[name] for name in _KEPT}
    moments = {
        "loss": kept | {"activations": stored, "logits": components["logits"]},
        "backward": {name: size for name, size in components.items() if name != "logits"},
        "update": kept | {"gradients": components["gradients"]},
    }
    pageable = components["optimizer_states"] if options.optimizer.startswith("paged") else 0
    return MemoryEstimate(components, moments, pageable, trainable)


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
    for rows, columns in shape.linears.values():
        count = rows * columns
        blocks = -(-count // options.block_size)
        codes += -(-count // 2)
        if options.double_quantization:
            constants += blocks + 4 * -(-blocks // _NESTED_BLOCK_SIZE) + 4
        else:
            constants += 4 * blocks
    return shape.layers * codes, shape.layers * constants


def optimizer_state_bytes(parameters: int, optimizer: str) -> int:
    """AdamW's two states: 8 n bytes in 32 bit; in 8 bit 2 n and two fp32 absmax for each 256 weights.

    The 8-bit states are those of arXiv 2110.02861. Paged states are as large; they may live on either side.
    """
    if optimizer.endswith("32bit"):
        return 8 * parameters
    return 2 * parameters + 2 * 4 * -(-parameters // _STATE_BLOCK_SIZE)


def activation_bytes(shape: Shape, options: EstimateOptions) -> tuple[int, int]:
    """Bytes that autograd keeps for the backward pass.

    A layer keeps what its shape's `layer_activation_bytes` says. Adapters keep the layer input only, which is counted
    already; the first norm keeps nothing while the embedding is frozen, the last norm keeps as much as one, so they
    cancel. Full finetuning keeps once a token h (4 + 2 c) + 4 for the last norm and the head's input. With
    checkpointing, h c per token and layer is stored, and one layer at a time is computed again.

    Returns:
        (stored, recomputed): bytes that wait from the forward pass, and bytes of one recomputed layer.
    """
    c, h = DTYPE_BYTES[options.compute_dtype], shape.hidden_size
    trained = options.method == "full"
    layer = shape.layer_activation_bytes(c, options.sequence_length, trained_norms=trained)
    once = h * (4 + 2 * c) + 4 if trained else 0
    if options.checkpointing:
        return options.tokens * (shape.layers * h * c + once), options.tokens * layer
    return options.tokens * (shape.layers * layer + once), 0


def input_gradient_bytes(shape: Shape, options: EstimateOptions) -> int:
    """Gradients of activations that exist at once, inside the feed-forward part: tokens · (n f + 2 h) · c, where n is
    the shape's `feed_forward_gradients`."""
    c = DTYPE_BYTES[options.compute_dtype]
    wide = shape.feed_forward_gradients * shape.intermediate_size
    return options.tokens * (wide + 2 * shape.hidden_size) * c


def logits_bytes(shape: Shape, options: EstimateOptions) -> int:
    """What the loss holds at its fullest.

    Whole: logits in the compute type, their fp32 copy and the fp32 log-probabilities, (c + 8) · vocabulary a token. In
    chunks (`training.chunked_loss.chunked_cross_entropy`): (c + 4) · vocabulary a token of a chunk, and h c a token of
    all for the gradient that waits for the backward pass.
    """
    c = DTYPE_BYTES[options.compute_dtype]
    if options.loss_chunk_tokens is None:
        return options.tokens * shape.vocabulary_size * (c + 8)
    chunk = min(options.tokens, options.loss_chunk_tokens)
    return chunk * shape.vocabulary_size * (c + 4) + options.tokens * shape.hidden_size * c


def _require_choice(value: object, label: str, choices: object) -> None:
    if value not in choices:
        raise InputError(f"{label} must be one of {', '.join(choices)}, not {value!r}.")
