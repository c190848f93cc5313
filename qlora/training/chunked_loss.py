"""Cross-entropy from hidden states, a chunk of tokens at a time: the logits of a batch never exist at once."""

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from qlora.data.encoding import IGNORED
from qlora.errors import InputError
from qlora.layers.trained_copy import TrainedCopy

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Tried once for each model: the module whose output goes into the head, or the reason why there is none.
_bodies: "weakref.WeakKeyDictionary[nn.Module, nn.Module | str]" = weakref.WeakKeyDictionary()


def causal_loss(
    model: "PreTrainedModel", batch_inputs: Mapping[str, Any], labels: torch.Tensor, chunk_tokens: int = 256
) -> tuple[torch.Tensor, int]:
    """The loss of a causal model as a sum over its trained tokens, without the logits of more than a chunk.

    Args:
        model: a causal model of transformers that `why_not_chunked` has nothing against.
        batch_inputs: arguments of its forward besides the labels; ``input_ids`` is (batch, seq).
        labels: int64 (batch, seq), not shifted: the label at i + 1 belongs to the logits at i. -100 does not count.
        chunk_tokens: as in `chunked_cross_entropy`.

    Returns:
        (sum, tokens): as `chunked_cross_entropy`. Divide the sums of an accumulated step by the sum of their tokens.

    Raises:
        InputError: the model does more to its logits than one product with its head's weight.
    """
    if obstacle := why_not_chunked(model):
        raise InputError(f"The loss of this model cannot be computed in chunks, because {obstacle}: use whole logits.")
    hidden = _bodies[model](**batch_inputs)[0]  # (batch, seq, hidden)
    next_labels = nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    weight = _linear_head(model).weight
    return chunked_cross_entropy(hidden.flatten(0, 1), weight, next_labels.flatten(), chunk_tokens)


def chunked_cross_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, chunk_tokens: int = 256
) -> tuple[torch.Tensor, int]:
    """Σ −log softmax(W h)[label] over all tokens whose label is not -100.

    The gradient is made in the same pass, while a chunk's probabilities p are there: (p − onehot(label)) W for the
    hidden states, and (p − onehot(label))ᵀ h, summed over chunks in fp32, for a weight that is trained. So nothing is
    computed again in the backward pass (three products a chunk for a trained head, two for a frozen one; computing a
    chunk again would take one more), and what waits for it is as large as the hidden states. The idea is that of
    Liger-Kernel's fused linear cross-entropy. At a time there are (c + 4) · chunk_tokens · vocabulary bytes of logits,
    with c bytes a value of the weight; tokens that are not trained cost nothing.

    Args:
        hidden: (tokens, width), the last hidden states, as they go into the head.
        weight: (vocabulary, width), of the head. It is computed in its dtype, with the softmax in fp32.
        labels: int64 (tokens,), -100 at what does not count.
        chunk_tokens: trained tokens whose logits exist at a time, 1 or more.

    Returns:
        (sum, tokens): the loss in nats, an fp32 scalar with its gradient, and how many tokens it is a sum over.

    Raises:
        ValueError: `chunk_tokens` is below 1, or the shapes do not fit.
    """
    if chunk_tokens < 1:
        raise ValueError(f"chunk_tokens: expected 1 or more, got {chunk_tokens}")
    if hidden.ndim != 2 or weight.ndim != 2 or hidden.shape[1] != weight.shape[1]:
        raise ValueError(
            f"expected hidden (tokens, width) and weight (vocabulary, width), got {tuple(hidden.shape)} and "
            f"{tuple(weight.shape)}"
        )
    if labels.shape != hidden.shape[:1]:
        raise ValueError(f"labels: expected one for each of {hidden.shape[0]} tokens, got {tuple(labels.shape)}")
    rows = (labels != IGNORED).nonzero()[:, 0]  # (trained,)
    with_gradient = torch.is_grad_enabled()
    return _ChunkedCrossEntropy.apply(hidden, weight, labels, rows, chunk_tokens, with_gradient), len(rows)


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, labels, rows, chunk_tokens, with_gradient):
        for_hidden, for_weight = (with_gradient and needed for needed in ctx.needs_input_grad[:2])
        hidden_gradient = torch.zeros_like(hidden) if for_hidden else None
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32) if for_weight else None
        # Summed in fp32, the loss of 4,096 tokens would be off in its seventh digit.
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        for chunk in rows.split(chunk_tokens) if len(rows) else ():
            x, target = hidden[chunk].to(weight.dtype), labels[chunk, None]  # (chunk, width), (chunk, 1)
            loss, slope = _loss_and_slope(x, weight, target, for_hidden or for_weight)
            total += loss
            if for_hidden:
                hidden_gradient.index_copy_(0, chunk, (slope @ weight).to(hidden.dtype))
            if for_weight:
                _add_product(weight_gradient, slope, x)
            del slope  # before the next chunk's logits are made
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        ctx.weight_dtype = weight.dtype
        return total.float()

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        for_hidden, for_weight = ctx.saved_tensors
        return (
            None if for_hidden is None else for_hidden * gradient,
            None if for_weight is None else (for_weight * gradient).to(ctx.weight_dtype),
            *(None,) * 4,
        )


def _loss_and_slope(
    x: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, with_slope: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The summed loss of a chunk and p − onehot(label), its gradient for the logits: (chunk, vocabulary)."""
    logits = x @ weight.T
    scores = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
    loss = -scores.gather(1, target).sum(dtype=torch.float64)
    if not with_slope:
        return loss, None
    scores.exp_().scatter_add_(1, target, scores.new_full(target.shape, -1))
    return loss, logits.copy_(scores)  # in the logits' memory and dtype, which is what plain autograd has


def _add_product(total: torch.Tensor, slope: torch.Tensor, x: torch.Tensor) -> None:
    """total (vocabulary, width) += slopeᵀ (vocabulary, chunk) · x (chunk, width)."""
    if slope.dtype == total.dtype:
        total.addmm_(slope.T, x)
    else:
        total += slope.T @ x


def why_not_chunked(model: "PreTrainedModel") -> str | None:
    """Why `causal_loss` cannot stand for the model's own loss, as the end of a sentence; None when it can.

    It can when the logits are one product of the last hidden states with the head's weight. Gemma caps its logits,
    Cohere and Granite scale them, Phi's head has a bias. That is tried, and not read from names of settings: four
    tokens go through the model while the head's output is replaced by known numbers, which must come out unchanged, and
    the head must be given just what the model's body returns. The result is remembered as long as the model lives.

    Args:
        model: a causal model of transformers, with or without adapters.
    """
    head = _linear_head(model)
    if type(head) is not nn.Linear:  # a subclass may compute something else
        name = "no output head" if head is None else f"the output head {type(head).__name__}"
        return f"it has {name}, not a plain linear layer"
    if head.bias is not None:
        return "its output head has a bias"
    if model not in _bodies:
        _bodies[model] = _find_body(model)
    found = _bodies[model]
    return found if isinstance(found, str) else None


def _linear_head(model: "PreTrainedModel") -> nn.Module | None:
    head = model.get_output_embeddings()
    return head.current if isinstance(head, TrainedCopy) else head


@torch.no_grad()
def _find_body(model: "PreTrainedModel") -> nn.Module | str:
    """The module of `model` whose output goes into the head, or why the loss cannot be made from it."""
    candidates = {id(module): module for module in (model.base_model, model.get_decoder()) if module is not model}
    returned: dict[int, torch.Tensor] = {}
    given: list[torch.Tensor] = []
    known: list[torch.Tensor] = []

    def keep_output(module, arguments, output):
        returned[id(module)] = output[0]

    def replace_output(module, arguments, output):
        given.append(arguments[0])
        # Far beyond every cap in use (30 to 50), and of both signs.
        known.append(torch.linspace(-200, 200, output.numel(), device=output.device).view_as(output).to(output.dtype))
        return known[-1]

    hooks = [module.register_forward_hook(keep_output) for module in candidates.values()]
    hooks.append(model.get_output_embeddings().register_forward_hook(replace_output))
    # Dropout may draw numbers here, which must not change those that training draws.
    devices = [model.device] if model.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            ids = torch.arange(4, device=model.device)[None] % model.config.get_text_config().vocab_size
            logits = model(input_ids=ids, use_cache=False).logits
    finally:
        for hook in hooks:
            hook.remove()
    bodies = [candidates[key] for key, output in returned.items() if given and torch.equal(output, given[0])]
    if not bodies:
        return "its output head is not given what its body returns"
    if len(known) != 1 or not torch.equal(logits.float(), known[0].float()):
        return "it scales, caps or masks its logits"
    return bodies[-1]
