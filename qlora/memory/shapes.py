"""Shapes of LLaMA-style models: how many weights, and where."""

from dataclasses import dataclass

from qlora.errors import InputError


@dataclass(frozen=True)
class LlamaShape:
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

    def __post_init__(self) -> None:
        for field, label, largest in (
            ("hidden_size", "The hidden size", 65_536),
            ("layers", "The number of layers", 1_024),
            ("heads", "The number of attention heads", 1_024),
            ("intermediate_size", "The feed-forward width", 262_144),
            ("vocabulary_size", "The vocabulary size", 4_194_304),
        ):
            require_whole(getattr(self, field), label, 1, largest)
        if self.key_value_heads is None:
            object.__setattr__(self, "key_value_heads", self.heads)
        require_whole(self.key_value_heads, "The number of key and value heads", 1, self.heads)
        if self.hidden_size % self.heads:
            raise InputError(
                f"The hidden size ({self.hidden_size}) must be a multiple of the attention heads ({self.heads}); "
                "change one of them."
            )
        if self.heads % self.key_value_heads:
            raise InputError(
                f"The attention heads ({self.heads}) must be a multiple of the key and value heads "
                f"({self.key_value_heads}); change one of them."
            )

    @property
    def key_value_size(self) -> int:
        """Width of the keys and of the values."""
        return self.hidden_size // self.heads * self.key_value_heads

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """The linear layers of one transformer layer: name -> (out, in). These are what QLoRA stores in 4 bits."""
        h, f, kv = self.hidden_size, self.intermediate_size, self.key_value_size
        return {
            "q_proj": (h, h),
            "k_proj": (kv, h),
            "v_proj": (kv, h),
            "o_proj": (h, h),
            "gate_proj": (f, h),
            "up_proj": (f, h),
            "down_proj": (h, f),
        }

    @property
    def linear_parameters(self) -> int:
        """Weights of all linear layers, without embedding and head."""
        return self.layers * sum(rows * columns for rows, columns in self.linears.values())

    @property
    def unquantized_parameters(self) -> int:
        """Weights that QLoRA leaves in 16 bit: embedding, head (unless tied) and two norms a layer plus the last."""
        tables = 1 if self.tied_embeddings else 2
        return tables * self.vocabulary_size * self.hidden_size + (2 * self.layers + 1) * self.hidden_size

    @property
    def parameters(self) -> int:
        """All weights of the model."""
        return self.linear_parameters + self.unquantized_parameters

    def adapter_parameters(self, r: int) -> int:
        """Weights of LoRA on every linear layer: the sum of r (in + out)."""
        return self.layers * sum(r * (rows + columns) for rows, columns in self.linears.values())


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
