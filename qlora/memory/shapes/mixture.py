"""Decoders whose layers have many experts, of which each token takes a few: Mixtral, Qwen2-MoE and Qwen3-MoE."""

from dataclasses import dataclass
from itertools import groupby

from qlora.memory.shapes.base import LayerBytes, Pass, Stack, require_whole
from qlora.memory.shapes.llama import LlamaShape


@dataclass(frozen=True)
class MixtureShape(LlamaShape):
    """A LLaMA whose layers are sparse: a router sends each token to some of many experts.

    transformers keeps the experts of a layer as two tensors of three dimensions, which are no linear layers: they stay
    in 16 bits and get no adapter (`qlora.models.coverage` says so when such a model is loaded).

    Args:
        experts: of a sparse layer.
        experts_per_token: k, of these.
        expert_size: width inside one expert; ``intermediate_size`` if not given.
        shared_expert_size: width of an expert that every token takes, which consists of linear layers; 0 without one.
        dense_layers: indices of layers that have one plain feed-forward part.
        normalized_scores: the scores of a token's experts are made to sum to one.
        exact_scores: they are fp32, as in Mixtral, and not of the compute type.

    Raises:
        InputError: a size is not a whole number in its range, or as `LlamaShape`.
    """

    experts: int = 8
    experts_per_token: int = 2
    expert_size: int | None = None
    shared_expert_size: int = 0
    dense_layers: tuple[int, ...] = ()
    normalized_scores: bool = True
    exact_scores: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.expert_size is None:
            object.__setattr__(self, "expert_size", self.intermediate_size)
        require_whole(self.experts, "The number of experts", 1, 65_536)
        require_whole(self.experts_per_token, "The number of experts for a token", 1, self.experts)
        require_whole(self.expert_size, "The width of an expert", 1, 262_144)
        require_whole(self.shared_expert_size, "The width of the shared expert", 0, 262_144)

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """Runs of sparse layers and of dense ones."""
        stacks = []
        for dense, indices in groupby(range(self.layers), lambda index: index in self.dense_layers):
            run = list(indices)
            linears = self.feed_forward_linears if dense else self._shared_expert_linears
            kind = "dense" if dense else "sparse"
            stacks.append(
                Stack("model.layers", len(run), {**self.attention_linears, **linears}, first=run[0], kind=kind)
            )
        return tuple(stacks)

    @property
    def _shared_expert_linears(self) -> dict[str, tuple[int, int]]:
        h, f = self.hidden_size, self.shared_expert_size
        if not f:
            return {}
        sizes = {"gate_proj": (f, h), "up_proj": (f, h), "down_proj": (h, f)}
        return {
            **{f"mlp.shared_expert.{name}": size for name, size in sizes.items()},
            "mlp.shared_expert_gate": (1, h),
        }

    @property
    def unquantized_parameters(self) -> int:
        """Besides those of a LLaMA, the experts and the routers."""
        sparse = self.layers - len(self.dense_layers)
        return super().unquantized_parameters + sparse * self.experts * self.hidden_size * (3 * self.expert_size + 1)

    def layer_bytes(self, stack: Stack, batch: Pass) -> LayerBytes:
        """A sparse layer keeps, besides `attention_bytes`, for each token and each of its k experts c (3 f + h) for
        gate and up, the activation and the expert's output, its score and 32 bytes of indices; and for each token 4
        bytes an expert for the router's probabilities. Normalized scores keep 4 k + 4 more. The product inside an
        expert is not kept, because no adapter needs it. A shared expert keeps what a dense layer does, its output and
        its gate.

        Gradients are most either inside the experts, or where their outputs are weighted, or, in a layer that is
        computed again, while that is done: it begins when the gradient of the weighted outputs is there already.
        """
        if stack.kind == "dense":
            return super().layer_bytes(stack, batch)
        c, h, f, tokens = batch.value_bytes, self.hidden_size, self.expert_size, batch.rows * batch.tokens
        shared, k = self.shared_expert_size, self.experts_per_token
        routed = k * ((3 * f + h) * c + (4 if self.exact_scores else c) + 32) + 4 * self.experts
        if self.normalized_scores:
            routed += 4 * k + 4
        if shared:
            *first, last, gate = self._shared_expert_linears
            routed += (h + 3 * shared + 1) * c
            routed += h * c if batch.keeps_input_of([*first, gate]) else 0
            routed += shared * c if batch.keeps_input_of([last]) else 0
        score = 4 if self.exact_scores else c
        again = h * c + (0 if shared else h * c) + (h * c if c < 4 else 0)
        gradients = max(
            k * (3 * f - h) * c + h * c,
            3 * k * h * score + (2 if shared else 1) * h * c,
            k * (h * (2 * score + c)) + again,
            k * (f * c + h * (score + c)) + again,
        )
        return LayerBytes(
            kept=self.attention_bytes(batch) + tokens * routed + 4 * self.experts,
            input=tokens * h * c,
            shared=tokens * h * c if c == 4 else 0,
            gradients=tokens * gradients,
            gradients_beside_matrix=tokens * (shared + h) * c,
            first_less=self._first_less(stack, batch),
            held=batch.bool_mask_bytes,
        )
