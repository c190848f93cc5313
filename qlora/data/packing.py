"""Several samples in one sequence: which go together, and for which models that is sound."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from qlora.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_WAY_OUT = "set data.packing: false (data.group_by_length saves padding too)"
_ALIBI = "its attention counts distances from the beginning of the sequence (ALiBi)"
_ENCODER = "it reads in both directions"
_RECURRENT = "it carries a state from one token to the next"
# Model types of transformers (5.17 to 5.23) that look beyond a sample whatever position ids say.
_REFUSED = {
    "bloom": _ALIBI,
    "mpt": _ALIBI,
    "opt": "it builds its attention mask without position ids",
    "bert": _ENCODER,
    "roberta": _ENCODER,
    "xlm-roberta": _ENCODER,
    "mamba": _RECURRENT,
    "mamba2": _RECURRENT,
    "rwkv": _RECURRENT,
}
# Largest change of a logit, as a share of the largest logit, when what should not be seen is exchanged. Seen and not
# masked, it is some per cent even with random weights; masked, it is 0 but for kernels whose rounding depends on other
# rows (mixtures of experts).
_LARGEST_LEAK = 1e-3


def first_fit_decreasing(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Put samples into as few sequences as this rule finds: longest first, each into the first with room.

    At most 11/9 of the fewest possible sequences and one more (Johnson 1973; Dósa 2007), in n·log n steps. Samples of
    the same length are taken in their given order, so that shuffling them first changes who goes with whom; how many
    sequences there are depends on the lengths alone.

    Args:
        lengths: tokens of each sample.
        max_tokens: room of a sequence.

    Returns:
        For each sequence the indices of its samples; every index once.

    Raises:
        InputError: a sample is longer than a sequence.
    """
    if lengths and max(lengths) > max_tokens:
        raise InputError(f"A sample of {max(lengths)} tokens does not fit into a sequence of {max_tokens}: cut it.")
    leaves = 1 << max(0, len(lengths) - 1).bit_length()
    room = [max_tokens] * (2 * leaves)  # a binary tree in an array: each node holds the most room below it
    sequences: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length, node = lengths[index], 1
        while node < leaves:
            node = 2 * node if room[2 * node] >= length else 2 * node + 1
        if node - leaves == len(sequences):
            sequences.append([])
        sequences[node - leaves].append(index)
        room[node] -= length
        while node > 1:
            node //= 2
            room[node] = max(room[2 * node], room[2 * node + 1])
    return sequences


def packing_refusal(config: "PreTrainedConfig") -> str | None:
    """Why samples of this kind of model cannot share a sequence, as a sentence that says what to do; None when nothing
    is known against it (`check_packing` then tries it)."""
    kind = getattr(config, "model_type", "")
    reason = _REFUSED.get(kind)
    if getattr(config, "is_encoder_decoder", False):
        reason = "it is an encoder with a decoder"
    elif getattr(config, "alibi", False):
        reason = _ALIBI
    return reason and f"Samples of a {kind} model cannot be packed into one sequence, because {reason}: {_WAY_OUT}."


@torch.no_grad()
def check_packing(model: "PreTrainedModel") -> None:
    """Find out by trying whether this model keeps packed samples apart.

    transformers derives a block-diagonal causal mask from position ids that restart (`masking_utils`, when there is no
    attention mask and no cache), for models that hand their position ids on. Two rows that differ in their first
    sample alone go through the model: the logits of the second sample must not change.

    Args:
        model: a causal language model, on its device; its mode is kept.

    Raises:
        InputError: it cannot be done with this model or its attention implementation.
    """
    refusal = packing_refusal(model.config)
    if refusal:
        raise InputError(refusal)
    training, device = model.training, model.device
    generator = torch.Generator().manual_seed(0)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    first, second, pad = 6, 8, 2
    ids = torch.randint(vocabulary, (2, first + second + pad), generator=generator)
    ids[1, first:] = ids[0, first:]
    ids[1, :first] = (ids[0, :first] + 1) % vocabulary
    positions = torch.cat([torch.arange(n) for n in (first, second, pad)]).expand(2, -1)
    model.eval()
    try:
        logits = model(input_ids=ids.to(device), position_ids=positions.to(device), use_cache=False).logits
    finally:
        model.train(training)
    one, other = logits[:, first : first + second].float()  # (second, vocabulary) each
    leak = (one - other).abs().max() / one.abs().max()
    if not leak <= _LARGEST_LEAK:
        attention = getattr(model.config, "_attn_implementation", "unknown")
        raise InputError(
            f"Samples of this {model.config.model_type} model with {attention} attention see each other in a packed "
            f"sequence (a logit changes by {leak:.1%}): {_WAY_OUT}."
        )
