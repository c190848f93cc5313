"""T5: an encoder of the source and a decoder of the target."""

from dataclasses import dataclass

from qlora.memory.shapes.base import LayerBytes, OuterBytes, Pass, Shape, Stack, require_sizes, require_whole


@dataclass(frozen=True)
class T5Shape(Shape):
    """T5, and with a gate in the feed-forward part T5 1.1 and FLAN-T5.

    transformers asks for the feed-forward part's last matrix ``wo`` in full precision, so it is not quantized; it is
    kept in the compute type and has an adapter like the others.

    Args:
        name: for messages and charts.
        hidden_size: h, width of the residual stream.
        encoder_layers, decoder_layers: how many; together they are the shape's layers.
        heads: attention heads.
        head_size: width of one.
        intermediate_size: f, width inside the feed-forward part.
        vocabulary_size: rows of the embedding.
        gated: the feed-forward part has a gate with a GELU, and not a ReLU.
        tied_embeddings: the head reuses the embedding's weights.
        position_buckets: rows of the table of relative positions, of which encoder and decoder have one each.
        dropout: values are dropped at random after each part of a layer, and inside the feed-forward part.

    Raises:
        InputError: a size is not a whole number in its range.
    """

    name: str
    hidden_size: int
    encoder_layers: int
    decoder_layers: int
    heads: int
    head_size: int
    intermediate_size: int
    vocabulary_size: int
    gated: bool = False
    tied_embeddings: bool = True
    position_buckets: int = 32
    dropout: bool = True

    labels = None
    task = "seq2seq"

    def __post_init__(self) -> None:
        require_sizes(self)
        require_whole(self.head_size, "The width of an attention head", 1, 65_536)
        require_whole(self.position_buckets, "The number of position buckets", 1, 65_536)

    @property
    def layers(self) -> int:
        """Of encoder and decoder together."""
        return self.encoder_layers + self.decoder_layers

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """The encoder's layers and the decoder's."""
        h, f, q = self.hidden_size, self.intermediate_size, self.heads * self.head_size

        def stack(path: str, count: int, attentions: tuple[str, ...]) -> Stack:
            linears = {
                f"layer.{place}.{attention}.{name}": (h, q) if name == "o" else (q, h)
                for place, attention in enumerate(attentions)
                for name in "qkvo"
            }
            inner = f"layer.{len(attentions)}.DenseReluDense"
            linears |= {f"{inner}.{name}": (f, h) for name in (("wi_0", "wi_1") if self.gated else ("wi",))}
            return Stack(path, count, linears, {f"{inner}.wo": (h, f)}, kind=path.partition(".")[0])

        return (
            stack("encoder.block", self.encoder_layers, ("SelfAttention",)),
            stack("decoder.block", self.decoder_layers, ("SelfAttention", "EncDecAttention")),
        )

    @property
    def unquantized_parameters(self) -> int:
        """Embedding, head unless tied, norms (two in an encoder's layer, three in a decoder's, one after each), tables
        of positions, and the matrices that stay whole."""
        h = self.hidden_size
        norms = (2 * self.encoder_layers + 3 * self.decoder_layers + 2) * h
        tables = (1 if self.tied_embeddings else 2) * self.vocabulary_size * h + 2 * self.position_buckets * self.heads
        return tables + norms + self.layers * h * self.intermediate_size

    def layer_bytes(self, stack: Stack, batch: Pass) -> LayerBytes:
        """As counted on transformers' T5.

        For each token: a norm keeps its input in fp32 and a scale, 4 h + 4, where c < 4 its input besides, h c, and its
        output, h c. An attention keeps 4 q c (queries, keys, values and output, with q the width of all heads) and 4 H;
        a decoder's attention to the source keeps keys and values of the source's tokens instead. The feed-forward part
        keeps f c (ReLU's result) or 7 f c (a GELU made of single operations, and the gate). Each attention keeps the
        biases of its positions, H s² c, once or, with a mask, for each row. Where values are dropped, each keeps a
        byte, and ReLU's result is kept before and after.

        Ahead of the decoder's layers, what they read of the encoder, h c for each token of the source, what the
        encoder's last norm keeps, and without a mask the biases of the attention to the source.

        Gradients: 2 f c beside h c of the layer's output, as in LLaMA. Where values are dropped, their bytes are gone
        by then, and ReLU's moment is the one before, with f c and the output's gradient before and after.
        """
        c, h, f, heads = batch.value_bytes, self.hidden_size, self.intermediate_size, self.heads
        q, source = heads * self.head_size, batch.rows * batch.tokens
        decoder = stack.kind == "decoder"
        length = batch.target_tokens if decoder else batch.tokens
        tokens, parts = batch.rows * length, 3 if decoder else 2
        inner = (7 if self.gated else 1) * f * c
        if self.dropout:
            inner += f + (parts * h) + (0 if self.gated else f * c)
        size = parts * (self._norm_bytes(c) + h * c) + 4 * q * c + 4 * heads + inner
        biases = (1 if decoder or not batch.masked else batch.rows) * heads * length**2 * c
        ahead, across = 0, heads * length * batch.tokens * c if decoder else 0
        if decoder:
            size += 2 * q * c + 4 * heads
            biases += batch.rows * across if batch.masked else 0
            ahead = source * (h * c + self._after_bytes(batch)) + (0 if batch.masked else across)
        gradients = (2 * f + h) * c
        if self.dropout:
            gradients = gradients - f - h if self.gated else (f + 2 * h) * c - h
        return LayerBytes(
            kept=tokens * size + biases + (2 * source * q * c if decoder else 0),
            input=tokens * h * c,
            shared=tokens * h * c,
            gradients=tokens * gradients,
            gradients_beside_matrix=tokens * (f + h) * c,
            first_less=0 if batch.trained else tokens * self._norm_bytes(c),
            held=heads * length**2 * c + ((across if decoder else batch.bool_mask_bytes) if batch.masked else 0),
            ahead=ahead,
        )

    def outer_bytes(self, batch: Pass) -> OuterBytes:
        """What the decoder's last norm keeps, with the bytes of values dropped after it. Its backward pass, which is
        made of single operations, has five fp32 tensors of gradients; where c < 4 one of them takes the place of the
        norm's input."""
        target = batch.rows * batch.target_tokens
        gradients = (20 if batch.value_bytes == 4 else 16) * target * self.hidden_size
        return OuterBytes(last=target * self._after_bytes(batch), last_gradients=gradients)

    def _after_bytes(self, batch: Pass) -> int:
        """Kept after the last layer of encoder or decoder, for each token."""
        return self._norm_bytes(batch.value_bytes) + (self.hidden_size if self.dropout else 0)

    def _norm_bytes(self, value_bytes: int) -> int:
        return 4 * self.hidden_size + 4 + (self.hidden_size * value_bytes if value_bytes < 4 else 0)
