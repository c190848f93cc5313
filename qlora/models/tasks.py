"""What a model can be loaded for, and what its head is then."""

from torch import nn

#: The class of transformers that loads a model for a task of `ModelConfig`.
AUTO_CLASSES = {
    "causal": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "classification": "AutoModelForSequenceClassification",
}
#: What the heads of classifiers are called (PEFT's ``SEQ_CLS_HEAD_NAMES``).
CLASSIFIER_HEADS = ("classifier", "score")


def classifier_head(model: nn.Module) -> str | None:
    """The name of a classifier's head, which starts at random and so is trained whole; None for other models."""
    return next((name for name, _ in model.named_children() if name in CLASSIFIER_HEADS), None)
