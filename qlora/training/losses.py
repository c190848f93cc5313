"""The loss of a batch."""

from typing import TYPE_CHECKING

import torch

from qlora.data.batches import Batch
from qlora.data.encoding import IGNORED
from qlora.data.tasks import TaskBatch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def summed_loss(model: "PreTrainedModel", batch: Batch) -> torch.Tensor:
    """Cross-entropy, summed over what is trained of the batch.

    A sum and not a mean, so that batches of an accumulated step weigh as much as they have trained tokens.

    Args:
        model: for the task that the batch was made for.
        batch: on the model's device.

    Returns:
        (), with its graph.
    """
    if isinstance(batch, TaskBatch):
        return model(**batch.model_inputs(), labels=batch.labels).loss * batch.trained_tokens
    labels = batch.labels
    # Logits are made from the position before the first trained token of any sample on, and for no prompt before.
    first = int((labels[:, 1:] != IGNORED).any(0).int().argmax())
    logits = model(**batch.model_inputs(), logits_to_keep=labels.shape[1] - first).logits[:, :-1]
    # (batch, kept - 1, vocabulary)
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), labels[:, first + 1 :].flatten(), ignore_index=IGNORED, reduction="sum"
    )
