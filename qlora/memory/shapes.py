"""Shapes of decoders: how many weights, where, and what a layer keeps for its backward pass."""

from dataclasses import dataclass, field

from qlora.errors import InputError


class _Counts:
    """What follows from `layers`, `linears` and `unquantized_parameters` in every kind of shape."""

    @property
    def linear_parameters(self) -> int:
        """Weights of all linear layers, without embedding and head."""
        return self.layers * sum(rows * columns for rows, columns in self.linears.values())

    @property
    def parameters(self) -> int:
        """All weights of the model."""
        return self.linear_parameters + self.unquantized_parameters

    def adapter_parameters(self, r: int) -> int:
        """Weights of LoRA on every linear layer: the sum of r (in + out)."""
        return self.layers * sum(r * (rows + columns) for rows, columns in self.linears.values())


@dataclass(frozen=True)
class LlamaShape(_Counts):
    """A decoder with RMSNorm, rotary attention and SwiGLU, as LLaMA, Mistral, Qwen and SmolLM2 have.

    Args:
        name: for messages and charts.
        hidden_size: h, width of the residual stream.
        layers: number of transformer layers.
        heads: attention heads; they divide ``hidden_size``.
        intermediate_size: f, width inside the feed-forward part.
        vocabulary_size: rows of the embedding.
        key_value_heads: heads of keys and values (grouped-query attention); ``heads`` if not given.
        tied_embeddings: the head reuses the embedding's weights.
        head_size: width of one attention head; ``hidden_size / heads`` if not given.
        query_key_norms: queries and keys have a norm each, as in Qwen3.
        biases: of one layer's linear layers, together.

    Raises:
        InputError: a size is not a whole number in its range, or the heads do not divide what they must.
    """

    name: str
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    vocabulary_size: int = 32_000
    key_value_heads: int | None = None
    tied_embeddings: bool = False
    head_size: int | None = None
    query_key_norms: bool = False
    biases: int = 0

    def __post_init__(self) -> None:
        _require_sizes(self)
        if self.key_value_heads is None:
            object.__setattr__(self, "key_value_heads", self.heads)
        require_whole(self.key_value_heads, "The number of key and value heads", 1, self.heads)
        require_whole(self.biases, "The number of biases", 0, 2**31)
        if self.head_size is not None:
            require_whole(self.head_size, "The width of an attention head", 1, 65_536)
        elif self.hidden_size % self.heads:
            raise _not_divided(self)
        if self.heads % self.key_value_heads:
            raise InputError(
                f"The attention heads ({self.heads}) must be a multiple of the key and value heads "
                f"({self.key_value_heads}); change one of them."
            )

    @property
    def query_size(self) -> int:
        """Width of the queries, and of what attention returns."""
        return (self.head_size or self.hidden_size // self.heads) * self.heads

    @property
    def key_value_size(self) -> int:
        """Width of the keys and of the values."""
        return (self.head_size or self.hidden_size // self.heads) * self.key_value_heads

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """The linear layers of one transformer layer: name -> (out, in). These are what QLoRA stores in 4 bits."""
        h, f, q, kv = self.hidden_size, self.intermediate_size, self.query_size, self.key_value_size
        return {
            "q_proj": (q, h),
            "k_proj": (kv, h),
            "v_proj": (kv, h),
            "o_proj": (h, q),
            "gate_proj": (f, h),
            "up_proj": (f, h),
            "down_proj": (h, f),
        }

    @property
    def unquantized_parameters(self) -> int:
        """Weights that QLoRA leaves in 16 bit: embedding, head (unless tied), two norms a layer plus the last, and
        biases."""
        tables = 1 if self.tied_embeddings else 2
        layer = 2 * self.hidden_size + self.biases
        if self.query_key_norms:
            layer += 2 * (self.query_size // self.heads)
        return (tables * self.vocabulary_size + 1) * self.hidden_size + self.layers * layer

    def layer_activation_bytes(self, value_bytes: int, sequence_length: int, trained_norms: bool = False) -> int:
        """Bytes a token that autograd keeps of one layer, as counted on transformers' LLaMA and Qwen3.

        With c bytes a value, width h, feed-forward width f, query width q, key and value width v and H heads:
        h (8 + 2 c) for the two norms (fp32 input, output) + 2 q c for queries and attention output + 2 v c for keys and
        values + 4 f c for gate, its activation, up and their product + 4 H for the attention's log-sum-exp + 8 for the
        norms' scales. Norms of queries and keys keep their fp32 input, 4 (q + v), and a scale a head.

        Args:
            value_bytes: c, of an activation.
            sequence_length: not used: attention is memory-efficient, so nothing grows with the square of it.
            trained_norms: the norms' weights are trained, which keeps 2 h c more.
        """
        c, h, q, v = value_bytes, self.hidden_size, self.query_size, self.key_value_size
        size = h * (8 + 2 * c) + 2 * q * c + 2 * v * c + 4 * self.intermediate_size * c + 4 * self.heads + 8
        if self.query_key_norms:
            size += 4 * (q + v) + 4 * (self.heads + self.key_value_heads)
        return size + (2 * h * c if trained_norms else 0)

    @property
    def feed_forward_gradients(self) -> int:
        """Gradients as wide as the feed-forward part that exist at once: of the product, gate and up."""
        return 3


@dataclass(frozen=True)
class LayerNormShape(_Counts):
    """A decoder with LayerNorm, biases and a feed-forward part of two matrices: OPT, GPT-NeoX (Pythia) and BLOOM.

    Args:
        name: for messages and charts.
        family: "opt", "gpt_neox" or "bloom".
        hidden_size: h, width of the residual stream.
        layers: number of transformer layers.
        heads: attention heads; they divide ``hidden_size``.
        intermediate_size: f, width inside the feed-forward part.
        vocabulary_size: rows of the embedding.
        unquantized_parameters: weights that QLoRA leaves in 16 bit: embeddings, head, norms and biases.

    Raises:
        InputError: a size is not a whole number in its range, or the heads do not divide the width.
    """

    name: str
    family: str
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    vocabulary_size: int
    unquantized_parameters: int = field(repr=False)

    def __post_init__(self) -> None:
        _require_sizes(self)
        if self.hidden_size % self.heads:
            raise _not_divided(self)

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """The linear layers of one transformer layer: name -> (out, in)."""
        h, f = self.hidden_size, self.intermediate_size
        if self.family == "opt":
            attention = {name: (h, h) for name in ("q_proj", "k_proj", "v_proj", "out_proj")}
            return {**attention, "fc1": (f, h), "fc2": (h, f)}
        attention = {"query_key_value": (3 * h, h), "dense": (h, h)}
        return {**attention, "dense_h_to_4h": (f, h), "dense_4h_to_h": (h, f)}

    def layer_activation_bytes(self, value_bytes: int, sequence_length: int, trained_norms: bool = False) -> int:
        """Bytes a token that autograd keeps of one layer, as counted on transformers' models.

        OPT: c (8 h + f) + 4 H: input and output of two norms, queries, keys, values, attention output, and ReLU's
        result. GPT-NeoX: c (10 h + 2 f) + 4 H: the projection whole, rotated queries and keys beside it, GELU's input
        and result. BLOOM: c (8 h + 2 f), and its attention keeps the probabilities in fp32 and, where c < 4, a copy:
        (4 + c) H s with s the sequence length. All: 4 c for the norms' means and scales.

        Args:
            value_bytes: c, of an activation.
            sequence_length: s, in tokens.
            trained_norms: makes no difference: LayerNorm keeps its input either way.
        """
        c, h, f = value_bytes, self.hidden_size, self.intermediate_size
        if self.family == "opt":
            return c * (8 * h + f + 4) + 4 * self.heads
        if self.family == "gpt_neox":
            return c * (10 * h + 2 * f + 4) + 4 * self.heads
        copies = 4 + (c if c < 4 else 0)
        return c * (8 * h + 2 * f + 4) + copies * self.heads * sequence_length

    @property
    def feed_forward_gradients(self) -> int:
        """Gradients as wide as the feed-forward part that exist at once: before and after the activation."""
        return 2


Shape = LlamaShape | LayerNormShape


def _require_sizes(shape: Shape) -> None:
    for name, label, largest in (
        ("hidden_size", "The hidden size", 65_536),
        ("layers", "The number of layers", 1_024),
        ("heads", "The number of attention heads", 1_024),
        ("intermediate_size", "The feed-forward width", 262_144),
        ("vocabulary_size", "The vocabulary size", 4_194_304),
    ):
        require_whole(getattr(shape, name), label, 1, largest)


def _not_divided(shape: Shape) -> InputError:
    return InputError(
        f"The hidden size ({shape.hidden_size}) must be a multiple of the attention heads ({shape.heads}); "
        "change one of them."
    )


def require_whole(value: object, label: str, smallest: int, largest: int) -> None:
    """Check that ``value`` is an int from ``smallest`` to ``largest``.

    Raises:
        InputError: it is not; ``label`` starts the sentence.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= largest:
        raise InputError(f"{label} must be a whole number from {smallest:,} to {largest:,}, not {value!r}.")


#: The four models of the paper's Figure 6 (touvron et al., "LLaMA", table 2; feed-forward widths from its code).
LLAMA = {
    "7B": LlamaShape("LLaMA 7B", 4096, 32, 32, 11_008),
    "13B": LlamaShape("LLaMA 13B", 5120, 40, 40, 13_824),
    "33B": LlamaShape("LLaMA 33B", 6656, 60, 52, 17_920),
    "65B": LlamaShape("LLaMA 65B", 8192, 80, 64, 22_016),
}

#: The model that the demo finetunes.
SMOLLM2_135M = LlamaShape(
    "SmolLM2 135M", 576, 30, 9, 1536, vocabulary_size=49_152, key_value_heads=3, tied_embeddings=True
)
