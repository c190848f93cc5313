"""Decoders with RMSNorm, rotary attention and a gated feed-forward part."""

from dataclasses import dataclass

from qlora.errors import InputError
from qlora.memory.shapes.base import (
    LayerBytes,
    OuterBytes,
    Pass,
    Shape,
    Stack,
    require_divided,
    require_sizes,
    require_whole,
)


@dataclass(frozen=True)
class LlamaShape(Shape):
    """A decoder with RMSNorm, rotary attention and SwiGLU or GeGLU: LLaMA, Mistral, Qwen, SmolLM2, Gemma and Phi-3.

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
        fused: queries, keys and values are one linear layer, gate and up another, as in Phi-3.
        shifted_norms: norms scale by one and their weight, as in Gemma.
        dropout: what attention and the feed-forward part add to the residual stream is dropped at random.
        labels: classes, of a classifier.

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
    fused: bool = False
    shifted_norms: bool = False
    dropout: bool = False
    labels: int | None = None

    def __post_init__(self) -> None:
        require_sizes(self)
        if self.key_value_heads is None:
            object.__setattr__(self, "key_value_heads", self.heads)
        require_whole(self.key_value_heads, "The number of key and value heads", 1, self.heads)
        require_whole(self.biases, "The number of biases", 0, 2**31)
        if self.head_size is not None:
            require_whole(self.head_size, "The width of an attention head", 1, 65_536)
        else:
            require_divided(self)
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
    def stacks(self) -> tuple[Stack, ...]:
        """All layers are alike."""
        return (Stack("model.layers", self.layers, {**self.attention_linears, **self.feed_forward_linears}),)

    @property
    def attention_linears(self) -> dict[str, tuple[int, int]]:
        """The linear layers of a layer's attention: name -> (out, in)."""
        h, q, kv = self.hidden_size, self.query_size, self.key_value_size
        if self.fused:
            return {"self_attn.qkv_proj": (q + 2 * kv, h), "self_attn.o_proj": (h, q)}
        projections = {"q": (q, h), "k": (kv, h), "v": (kv, h), "o": (h, q)}
        return {f"self_attn.{letter}_proj": size for letter, size in projections.items()}

    @property
    def feed_forward_linears(self) -> dict[str, tuple[int, int]]:
        """The linear layers of a layer's feed-forward part: name -> (out, in)."""
        h, f = self.hidden_size, self.intermediate_size
        if self.fused:
            return {"mlp.gate_up_proj": (2 * f, h), "mlp.down_proj": (h, f)}
        return {"mlp.gate_proj": (f, h), "mlp.up_proj": (f, h), "mlp.down_proj": (h, f)}

    @property
    def unquantized_parameters(self) -> int:
        """Weights that QLoRA leaves in 16 bit: embedding, head (unless tied), two norms a layer plus the last, and
        biases."""
        head = 0 if self.tied_embeddings else self.vocabulary_size * self.hidden_size
        if self.labels is not None:
            head = sum(self.trained_whole)
        layer = 2 * self.hidden_size + self.biases
        if self.query_key_norms:
            layer += 2 * (self.query_size // self.heads)
        return (self.vocabulary_size + 1) * self.hidden_size + head + self.layers * layer

    @property
    def trained_whole(self) -> tuple[int, ...]:
        """A classifier's one matrix."""
        return () if self.labels is None else (self.labels * self.hidden_size,)

    def layer_bytes(self, stack: Stack, batch: Pass) -> LayerBytes:
        """As counted on transformers' models.

        Kept: `attention_bytes`, and for each token h c for the second norm's output and 4 f c for gate, its activation,
        up and their product; the norm's output and the product only for adapters. Gradients: 3 f c, for the
        activation, up and their product, which is gone itself, beside h c for the layer's output. While the last matrix
        is decoded there are f c and h c.
        """
        c, h, f, tokens = batch.value_bytes, self.hidden_size, self.intermediate_size, batch.rows * batch.tokens
        *first, last = self.feed_forward_linears
        product = f if batch.keeps_input_of([last]) else 0
        widths = 3 * f + product + (h if batch.keeps_input_of(first) else 0)
        return LayerBytes(
            kept=self.attention_bytes(batch) + tokens * widths * c,
            input=tokens * h * c,
            shared=tokens * h * c if c == 4 else 0,
            gradients=tokens * (3 * f - product + h) * c,
            gradients_beside_matrix=tokens * (f + h) * c,
            first_less=self._first_less(stack, batch),
            held=batch.bool_mask_bytes,
        )

    def _first_less(self, stack: Stack, batch: Pass) -> int:
        return 0 if batch.trained or stack.first else batch.rows * batch.tokens * self._norm_bytes

    @property
    def _norm_bytes(self) -> int:
        return 4 * self.hidden_size + 4

    def attention_bytes(self, batch: Pass) -> int:
        """What a layer keeps besides its feed-forward part.

        With c bytes a value, width h, query width q, key and value width v and H heads, a token keeps 8 h + 8 for the
        two norms (fp32 input and scale) and, for adapters, h c for the first one's output, 2 q c for queries and
        attention output, 2 v c for keys and values, 4 H for attention's log-sum-exp; norms of queries and keys keep
        their fp32 input, 4 (q + v), and a scale a head. Trained norms keep 2 h c more.

        With a mask transformers repeats keys and values for every head, 2 q c, and each layer has a mask of its own.
        Where queries, keys and values are one projection, values are a part of it, and all of it stays unless they are
        repeated; attention's output is copied into another order for the adapter that takes it, q c. Norms that scale
        by one and their weight keep that sum.
        """
        c, h, q, v = batch.value_bytes, self.hidden_size, self.query_size, self.key_value_size
        repeated = batch.masked and self.heads != self.key_value_heads
        *projections, output = self.attention_linears
        size = 8 * h + 8 + 2 * (q + (q if repeated else v)) * c + 4 * self.heads
        if batch.keeps_input_of(projections):
            size += h * c
        if self.fused:
            size += (q * c if batch.keeps_input_of([output]) else 0) + (0 if repeated else (q + v) * c)
        if self.query_key_norms:
            size += 4 * (q + v) + 4 * (self.heads + self.key_value_heads)
        if self.dropout:
            size += 2 * h
        if batch.trained:
            size += 2 * h * c
        return batch.rows * batch.tokens * size + batch.mask_bytes + (8 * h if self.shifted_norms else 0)

    def outer_bytes(self, batch: Pass) -> OuterBytes:
        """Cosines and sines, 2 d c for each position with d the width of a head. The last norm keeps 4 h + 4 a token, a
        trained one 2 h c more with the head's input; a classifier's head keeps its input, h c. The backward pass of a
        norm, which is made of single operations, has five fp32 tensors of gradients."""
        c, h, tokens = batch.value_bytes, self.hidden_size, batch.rows * batch.tokens
        head = tokens * h * c * (2 * batch.trained + (self.labels is not None))
        tables = 2 * batch.tokens * self.query_size // self.heads * c
        return OuterBytes(
            whole=tables,
            last=tokens * self._norm_bytes + head,
            last_gradients=20 * tokens * h - (tokens * h * c if self.labels is not None else 0),
        )


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
