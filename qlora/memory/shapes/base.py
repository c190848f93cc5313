"""What every kind of shape has: its layers in the order of the forward pass, and what each of them keeps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from qlora.config import AdapterConfig, fits_pattern
from qlora.errors import InputError


@dataclass(frozen=True)
class Pass:
    """What goes through the model at once, as far as memory depends on it.

    Attributes:
        rows: sequences.
        tokens: of each, padding included; of the source where there is a target as well.
        value_bytes: c, of an activation.
        target_tokens: of each target, for a model that reads one text and writes another.
        masked: rows are padded to one length or hold several samples, so that attention takes a mask.
        trained: the model itself is trained, and not an adapter beside frozen weights.
        adapted: names of a layer's linear layers that have an adapter; None for all of them. An adapter, and nothing
            else, keeps its layer's input.
    """

    rows: int
    tokens: int
    value_bytes: int
    target_tokens: int = 0
    masked: bool = False
    trained: bool = False
    adapted: frozenset[str] | None = None

    def keeps_input_of(self, names: Iterable[str]) -> bool:
        """Whether what goes into these linear layers, which take the same, is kept for one of them."""
        return self.trained or self.adapted is None or not self.adapted.isdisjoint(names)

    @property
    def bool_mask_bytes(self) -> int:
        """Of the mask that is made once for all layers, (rows, 1, tokens, tokens)."""
        return self.rows * self.tokens**2 if self.masked else 0

    @property
    def mask_bytes(self) -> int:
        """Of the mask that attention adds to its scores; each layer makes one of its own from that."""
        return self.bool_mask_bytes * self.value_bytes


@dataclass(frozen=True)
class Stack:
    """Neighbouring layers that are alike.

    Attributes:
        path: of the list that they are in, such as "model.layers".
        count: of layers.
        linears: linear layers of one of them, name -> (out, in). These are what QLoRA stores in 4 bits.
        whole_linears: linear layers that stay in 16 bits and have an adapter all the same.
        first: index in the list of the first layer.
        kind: what its layers are, where a shape has several kinds.
    """

    path: str
    count: int
    linears: dict[str, tuple[int, int]]
    whole_linears: dict[str, tuple[int, int]] = field(default_factory=dict)
    first: int = 0
    kind: str = ""

    @property
    def adapted(self) -> dict[str, tuple[int, int]]:
        """The linear layers of one of its layers that can get an adapter."""
        return {**self.linears, **self.whole_linears}


@dataclass(frozen=True)
class LayerBytes:
    """Bytes of one layer.

    Attributes:
        kept: that autograd keeps for the backward pass when nothing is computed again.
        input: that wait for the backward pass when the rest is computed again.
        shared: what of `input` is in `kept` too.
        gradients: that are there at the fullest moment of the layer's backward pass, less what of `kept` is gone by
            then.
        gradients_beside_matrix: the same for the moment at which the largest weight is decoded.
        first_less: what the first layer of its stack does not keep, because nothing before it needs a gradient.
        held: that its stack's layers hold on to together as long as one of them has to be computed again: masks.
        ahead: that are kept once, between the stack before and this one.
    """

    kept: int
    input: int
    shared: int
    gradients: int
    gradients_beside_matrix: int
    first_less: int = 0
    held: int = 0
    ahead: int = 0


@dataclass(frozen=True)
class OuterBytes:
    """Bytes outside of the layers.

    Attributes:
        whole: that autograd keeps through the whole pass, such as cosines and sines.
        last: that autograd keeps after the last layer; gone before the backward pass comes to the layers.
        last_gradients: that are there beside `last` when the backward pass comes through it.
    """

    whole: int = 0
    last: int = 0
    last_gradients: int = 0


class Shape:
    """A model as far as its memory goes. Kinds of shapes are frozen dataclasses that have, besides what stands here:

    Attributes:
        name: for messages and charts.
        hidden_size: h, width of the residual stream.
        layers: number of transformer layers, all stacks together.
        vocabulary_size: rows of the embedding.
        labels: classes, of a classifier; None for a model that writes.
        stacks: its layers in the order of the forward pass.
        unquantized_parameters: weights that QLoRA leaves as they are: embeddings, head, norms, biases, and what is no
            plain linear layer.
    """

    name: str
    hidden_size: int
    layers: int
    vocabulary_size: int
    labels: int | None
    stacks: tuple[Stack, ...]
    unquantized_parameters: int

    def layer_bytes(self, stack: Stack, batch: Pass) -> LayerBytes:
        """What one layer of a stack keeps and makes."""
        raise NotImplementedError

    def outer_bytes(self, batch: Pass) -> OuterBytes:
        """What is kept outside of the layers."""
        raise NotImplementedError

    @property
    def task(self) -> str:
        """What it is for: "causal", "seq2seq" or "classification", as in `ModelConfig`."""
        return "causal" if self.labels is None else "classification"

    @property
    def outer_linears(self) -> dict[str, tuple[int, int]]:
        """Linear layers outside of the stacks that are stored in 4 bits: name -> (out, in)."""
        return {}

    @property
    def trained_whole(self) -> tuple[int, ...]:
        """Sizes of the tensors of a classifier's head, of which the adapter trains a copy."""
        return ()

    @property
    def head_width(self) -> int:
        """Width of what goes into the output head."""
        return self.hidden_size

    @property
    def matrices(self) -> Iterator[tuple[int, int, int]]:
        """What is stored in 4 bits: (out, in, how many such matrices)."""
        for rows, columns in self.outer_linears.values():
            yield rows, columns, 1
        for stack in self.stacks:
            for rows, columns in stack.linears.values():
                yield rows, columns, stack.count

    @property
    def linear_parameters(self) -> int:
        """Weights that are stored in 4 bits."""
        return sum(rows * columns * count for rows, columns, count in self.matrices)

    @property
    def parameters(self) -> int:
        """All weights of the model."""
        return self.linear_parameters + self.unquantized_parameters

    def adapter_parameters(self, r: int) -> int:
        """Weights of LoRA on every linear layer: the sum of r (in + out)."""
        return r * sum(size * count for size, count in self._factors(AdapterConfig(r=1)))

    def trained_tensors(self, adapter: AdapterConfig) -> Iterator[tuple[int, int]]:
        """What an adapter trains: (values of a tensor, how many such tensors).

        Args:
            adapter: its ranks, and which layers get one.
        """
        yield from self._factors(adapter)
        yield from ((size, 1) for size in self.trained_whole)

    def adapted_names(self, adapter: AdapterConfig | None) -> frozenset[str] | None:
        """Names of the linear layers that get an adapter in a layer at least; None where all do."""
        if adapter is None or not adapter.target_modules:
            return None
        return frozenset(
            name
            for stack in self.stacks
            for name in stack.adapted
            for index in range(stack.first, stack.first + stack.count)
            if any(fits_pattern(pattern, f"{stack.path}.{index}.{name}") for pattern in adapter.target_modules)
        )

    def _factors(self, adapter: AdapterConfig) -> Iterator[tuple[int, int]]:
        for name, (rows, columns) in self.outer_linears.items():
            yield from _factors_of([name], rows, columns, adapter)
        for stack in self.stacks:
            for name, (rows, columns) in stack.adapted.items():
                names = [f"{stack.path}.{i}.{name}" for i in range(stack.first, stack.first + stack.count)]
                yield from _factors_of(names, rows, columns, adapter)


def _factors_of(names: list[str], rows: int, columns: int, adapter: AdapterConfig) -> Iterator[tuple[int, int]]:
    if not (adapter.target_modules or adapter.rank_pattern):
        yield from ((adapter.r * columns, len(names)), (adapter.r * rows, len(names)))
        return
    for name in names:
        if not adapter.target_modules or any(fits_pattern(pattern, name) for pattern in adapter.target_modules):
            r = adapter.rank_of(name)
            yield from ((r * columns, 1), (r * rows, 1))


def require_sizes(shape: Shape, **more: tuple[str, int]) -> None:
    """Check the sizes that shapes have.

    Args:
        more: further fields of this shape: what they are called, and the largest value.

    Raises:
        InputError: one is not a whole number in its range.
    """
    sizes = {
        "hidden_size": ("The hidden size", 65_536),
        "layers": ("The number of layers", 1_024),
        "heads": ("The number of attention heads", 1_024),
        "intermediate_size": ("The feed-forward width", 262_144),
        "vocabulary_size": ("The vocabulary size", 4_194_304),
        **more,
    }
    for name, (label, largest) in sizes.items():
        require_whole(getattr(shape, name), label, 1, largest)
    if shape.labels is not None:
        require_whole(shape.labels, "The number of labels", 1, 2**31)


def require_divided(shape: Shape) -> None:
    """Check that the heads share the width evenly.

    Raises:
        InputError: they do not.
    """
    if shape.hidden_size % shape.heads:
        raise InputError(
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
