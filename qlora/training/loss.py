"""The loss of a batch, whatever the task."""

from typing import TYPE_CHECKING

import torch

from qlora.config import TrainingConfig
from qlora.data.batches import Batch
from qlora.data.encoding import IGNORED
from qlora.data.tasks import TaskBatch
from qlora.training.chunked_loss import causal_loss, why_not_chunked

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def summed_loss(
    model: "PreTrainedModel", batch: Batch, chunk_tokens: int = TrainingConfig.loss_chunk_tokens
) -> torch.Tensor:
    """Cross-entropy, summed over what is trained of the batch.

    A sum and not a mean, so that batches of an accumulated step weigh as much as they have trained tokens. The logits
    of a causal model are made and used `chunk_tokens` at a time where its head allows it
    (`chunked_loss.why_not_chunked`).

    Args:
        model: for the task that the batch was made for.
        batch: on the model's device.
        chunk_tokens: 512 of 4,096 tokens, with 32,000 words, take a tenth of what whole logits do.

    Returns:
        (), with its graph.
    """
    if isinstance(batch, TaskBatch):
        return model(**batch.model_inputs(), labels=batch.labels).loss * batch.trained_tokens
    labels = batch.labels
    if why_not_chunked(model) is None:
        return causal_loss(model, batch.model_inputs(), labels, chunk_tokens)[0]
    # Logits are made from the position before the first trained token of any sample on, and for no prompt before.
    first = int((labels[:, 1:] != IGNORED).any(0).int().argmax())
    logits = model(**batch.model_inputs(), logits_to_keep=labels.shape[1] - first).logits[:, :-1]
    # (batch, kept - 1, vocabulary)
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), labels[:, first + 1 :].flatten(), ignore_index=IGNORED, reduction="sum"
    )
