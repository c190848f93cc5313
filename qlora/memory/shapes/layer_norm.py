"""Models with LayerNorm, biases and a feed-forward part of two matrices: OPT, GPT-NeoX, BLOOM, BERT and RoBERTa."""

from dataclasses import dataclass, field

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

_BERT_NAMES = ("attention.output.dense", "intermediate.dense", "output.dense")
_BERT_INPUTS = ("attention.self.query", "attention.self.key", "attention.self.value")
# Family -> path of its layers, the linear layers that make queries, keys and values, attention's output, and the
# feed-forward part's two.
_NAMES = {
    "opt": (
        "model.decoder.layers",
        ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        ("self_attn.out_proj", "fc1", "fc2"),
    ),
    "gpt_neox": (
        "gpt_neox.layers",
        ("attention.query_key_value",),
        ("attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    ),
    "bloom": (
        "transformer.h",
        ("self_attention.query_key_value",),
        ("self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    ),
    "bert": ("bert.encoder.layer", _BERT_INPUTS, _BERT_NAMES),
    "roberta": ("roberta.encoder.layer", _BERT_INPUTS, _BERT_NAMES),
}


@dataclass(frozen=True)
class LayerNormShape(Shape):
    """OPT, GPT-NeoX (Pythia), BLOOM, BERT and RoBERTa.

    Args:
        name: for messages and charts.
        family: "opt", "gpt_neox", "bloom", "bert" or "roberta".
        hidden_size: h, width of the residual stream.
        layers: number of transformer layers.
        heads: attention heads; they divide ``hidden_size``.
        intermediate_size: f, width inside the feed-forward part.
        vocabulary_size: rows of the embedding.
        unquantized_parameters: weights that QLoRA leaves in 16 bit: embeddings, head, norms and biases.
        embedding_size: width of the embedding where it is another, as in OPT 350M; two more matrices lie between.
        norms_after: norms come after attention and feed-forward part, and there is none after the last layer.
        parallel: attention and feed-forward part take the same input, as in most of GPT-NeoX.
        rotary_size: of a head's width, what is rotated.
        dropout: what attention and feed-forward part add to the residual stream is dropped at random.
        labels: classes, of a classifier.

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
    embedding_size: int | None = None
    norms_after: bool = False
    parallel: bool = False
    rotary_size: int = 0
    dropout: bool = False
    labels: int | None = None

    def __post_init__(self) -> None:
        require_sizes(self)
        require_divided(self)
        if self.embedding_size is None:
            object.__setattr__(self, "embedding_size", self.hidden_size)
        require_whole(self.embedding_size, "The width of the embedding", 1, 65_536)
        require_whole(self.rotary_size, "The rotated width of a head", 0, self.hidden_size)

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """All layers are alike."""
        h, f = self.hidden_size, self.intermediate_size
        path, inputs, (output, up, down) = _NAMES[self.family]
        attention = dict.fromkeys(inputs, (3 * h // len(inputs), h))
        return (Stack(path, self.layers, {**attention, output: (h, h), up: (f, h), down: (h, f)}),)

    @property
    def outer_linears(self) -> dict[str, tuple[int, int]]:
        """OPT 350M's matrices beside a narrow embedding, and what BERT takes the first token through."""
        h, narrow = self.hidden_size, self.embedding_size
        if self.family == "bert":
            return {"bert.pooler.dense": (h, h)}
        if narrow == h:
            return {}
        return {"model.decoder.project_in": (h, narrow), "model.decoder.project_out": (narrow, h)}

    @property
    def trained_whole(self) -> tuple[int, ...]:
        """Weights and biases of a classifier: RoBERTa's has two layers, BERT's one, a decoder's one without bias."""
        if self.labels is None:
            return ()
        h, last = self.hidden_size, (self.labels * self.head_width, self.labels)
        return {"roberta": (h * h, h, *last), "bert": last}.get(self.family, last[:1])

    @property
    def head_width(self) -> int:
        """Width of what goes into the output head."""
        return self.embedding_size

    def layer_bytes(self, stack: Stack, batch: Pass) -> LayerBytes:
        """As counted on transformers' models, for each token.

        OPT: c (8 h + f) + 4 H: input and output of two norms, queries, keys, values, attention output, and ReLU's
        result. GPT-NeoX: c (11 h + 2 f) + 4 H: the projection whole, rotated queries and keys beside it, attention's
        output twice, GELU's input and result; one h less where both norms have the same input. BLOOM: c (8 h + 2 f),
        and its attention keeps the probabilities in fp32 and, where c < 4, a copy: (4 + c) H s with s the sequence
        length. BERT and RoBERTa: c (8 h + 2 f) + 4 H. All: 4 c for the norms' means and scales, and a byte for each
        value that may be dropped, 2 h. The layer's input is a part of this. Only for adapters are what goes into
        queries, keys and values, what goes into the feed-forward part, GELU's result, and where attention's output is
        copied into another order (GPT-NeoX, BLOOM) the copy.

        Gradients: while the last matrix is decoded, f c before the activation, h c of the layer's output unless the
        norm that comes after has used it, and where it is dropped the same again less a byte. ReLU's result is needed
        until its own gradient is there, which makes 2 f c. BLOOM's GELU makes 5 f c of single operations, and the
        softmax of its attention two fp32 tensors of scores when the feed-forward part is done. BLOOM's mask is made of
        values, the others' of single bytes.
        """
        c, h, f, tokens = batch.value_bytes, self.hidden_size, self.intermediate_size, batch.rows * batch.tokens
        scores = self.heads * batch.tokens if self.family == "bloom" else 0
        widths = {"opt": 8 * h + f, "gpt_neox": 11 * h + 2 * f}.get(self.family, 8 * h + 2 * f)
        widths -= h if self.parallel else 0
        _, inputs, (output, up, down) = _NAMES[self.family]
        copied = h if self.family in ("gpt_neox", "bloom") else 0
        for names, width in ((inputs, h), ([output], copied), ([up], h), ([down], 0 if self.family == "opt" else f)):
            widths -= 0 if batch.keeps_input_of(names) else width
        size = (widths + 4) * c + (2 * h if self.dropout else 0)
        size += (4 + (c if c < 4 else 0)) * scores if scores else 4 * self.heads
        residual = 0 if self.norms_after else h * c
        beside_matrix = f * c + residual + (h * c - h if self.dropout else 0)
        factors = {"opt": 2, "bloom": 5}.get(self.family, 1 if batch.keeps_input_of([down]) else 2)
        activation = factors * f * c + residual - (h if self.dropout else 0)
        attention = (8 if c == 4 else 6) * scores + (h - 2 * f) * c
        first_norm = 0 if self.norms_after or self.outer_linears else (h + (4 if self.parallel else 2)) * c
        return LayerBytes(
            kept=tokens * size + (0 if scores else batch.mask_bytes),
            input=tokens * h * c,
            shared=tokens * h * c,
            gradients=tokens * max(beside_matrix, activation, attention),
            gradients_beside_matrix=tokens * beside_matrix,
            first_less=0 if batch.trained else tokens * first_norm,
            held=tokens * batch.tokens * c if scores else batch.bool_mask_bytes,
        )

    def outer_bytes(self, batch: Pass) -> OuterBytes:
        """The last norm keeps c (h + 2) a token, and its backward pass has its gradient before and after. Where the
        embedding is narrower than the layers, both matrices between keep their inputs. A classifier's head keeps the
        last hidden states whole, though it reads those of one token. Cosines and sines are 2 c d for each position,
        with d rotated values of a head."""
        c, h, tokens = batch.value_bytes, self.hidden_size, batch.rows * batch.tokens
        narrow = self.embedding_size != h
        norm = 0 if self.norms_after else tokens * (h + 2) * c
        return OuterBytes(
            whole=2 * batch.tokens * self.rotary_size * c + (tokens * self.embedding_size * c if narrow else 0),
            last=norm + (tokens * h * c if narrow or self.labels is not None else 0),
            last_gradients=2 * tokens * h * c,
        )
