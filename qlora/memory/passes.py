"""What a forward and a backward pass hold besides weights and states: activations, their gradients, and logits."""

from collections.abc import Sequence
from dataclasses import dataclass

from qlora.memory.shapes import LayerBytes, Pass, Shape


@dataclass(frozen=True)
class Run:
    """Neighbouring layers that are alike and treated alike.

    Attributes:
        layer: bytes of one of them.
        recomputed: whether they are checkpointed.
        stored: bytes that wait on the device for the backward pass of the last one. Of inputs that wait in main memory
            these are two: the layer's own, and the next one's, which is on its way.
        together: bytes that are kept once for all of them.
        away: bytes that wait in main memory.
    """

    layer: LayerBytes
    recomputed: bool
    stored: int
    together: int
    away: int = 0


def runs(shape: Shape, batch: Pass, checkpointed: int, offloaded: bool) -> list[Run]:
    """The layers in the order of the forward pass.

    Args:
        shape, batch: what goes through which model.
        checkpointed: the first so many layers keep their input only.
        offloaded: these inputs wait in main memory.
    """
    found = []
    for stack in shape.stacks:
        layer = shape.layer_bytes(stack, batch)
        recomputed = min(checkpointed, stack.count)
        checkpointed -= recomputed
        if recomputed:
            stored = (min(2, recomputed) if offloaded else recomputed) * layer.input
            away = recomputed * layer.input if offloaded else 0
            found.append(Run(layer, True, stored, layer.ahead + layer.held, away))
        if kept := stack.count - recomputed:
            stored = kept * layer.kept - (0 if recomputed else layer.first_less)
            found.append(Run(layer, False, stored, 0 if recomputed else layer.ahead))
    return found


def stored_bytes(shape: Shape, batch: Pass, layers: Sequence[Run]) -> tuple[int, int]:
    """Bytes that wait for the backward pass when the forward pass is over.

    Each checkpointed layer's input; all that the other layers keep; what is kept once for several of them
    (`Shape.layer_bytes`) and outside of the layers (`Shape.outer_bytes`).

    Args:
        shape, batch: as in `runs`.
        layers: what `runs` returned.

    Returns:
        (on the device, in main memory)
    """
    outer = shape.outer_bytes(batch)
    on_device = outer.whole + outer.last + sum(run.together + (0 if run.away else run.stored) for run in layers)
    on_device += max((run.stored for run in layers if run.away), default=0)
    return on_device, sum(run.away for run in layers)


def backward_bytes(shape: Shape, batch: Pass, layers: Sequence[Run], *, decoding: bool) -> dict[str, int]:
    """What is there at the fullest moment of the backward pass besides what stays.

    The backward pass of layer i finds what the layers before it stored and what layer i itself kept, or has computed
    again beside its input. Of a run of layers alike, the last one finds most. Two of its moments count: the one with
    the most gradients, and the one with the largest weight decoded; and before all layers that of the last norm.

    With k of L layers checkpointed, which are the first k, the moments are the last norm's, that of layer L, which kept
    everything, and that of layer k, when all that the layers after it kept is gone.

    Args:
        shape, batch, layers: as in `stored_bytes`.
        decoding: weights are quantized.

    Returns:
        "activations", "input_gradients" and "workspace" (a decoded matrix) in bytes.
    """
    outer = shape.outer_bytes(batch)
    matrix = max((rows * columns for rows, columns, _ in shape.matrices), default=0) * batch.value_bytes
    moments = [(stored_bytes(shape, batch, layers)[0], outer.last_gradients, 0)]
    before = outer.whole
    for run in layers:
        before += run.together
        found = before + run.stored + (run.layer.kept - run.layer.shared if run.recomputed else 0)
        moments.append((found, run.layer.gradients, 0))
        moments.append((found, run.layer.gradients_beside_matrix, matrix if decoding else 0))
        before += 0 if run.away else run.stored
    return dict(zip(("activations", "input_gradients", "workspace"), max(moments, key=sum), strict=True))


def logits_bytes(shape: Shape, batch: Pass, chunk_tokens: int | None) -> int:
    """What the loss holds at its fullest.

    Causal, in chunks (`training.chunked_loss`): for each token of a chunk c + 4 bytes a word (logits and fp32
    log-probabilities; 4 more where c < 4, while the logits are converted) and its hidden state; for each token of all
    its hidden state and the gradient that waits for the backward pass. Whole: three times 4 bytes a word, for the
    log-probabilities and their gradient before and after the softmax. A model that reads one text and writes another
    has these in the compute type, for the target's tokens. A classifier has its labels' logits and the hidden states.

    Args:
        shape, batch: as in `runs`.
        chunk_tokens: tokens whose logits exist at a time; None for all of them.
    """
    c, words, tokens = batch.value_bytes, shape.vocabulary_size, batch.rows * batch.tokens
    hidden = shape.head_width * c
    if shape.task == "classification":
        return tokens * (shape.labels * c + hidden)
    if shape.task == "seq2seq":
        return batch.rows * batch.target_tokens * 3 * words * c
    if chunk_tokens is None:
        return tokens * (12 * words + hidden)
    return min(tokens, chunk_tokens) * (words * (c + (4 if c == 4 else 8)) + hidden) + tokens * 2 * hidden
