"""A small random model with the demo model's tokenizer, whose guesses are far from uniform."""

import pytest
import torch


@pytest.fixture(scope="session")
def guesser(tiny_model):
    """(model, tokenizer), with weights large enough that some tokens are much likelier than others."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6.0 if parameter.ndim == 2 else 1.0)
    return model, AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture(scope="session")
def brute_force():
    """(model, context ids, continuation ids) -> Σ log p, one forward pass over the bare ids, no batch, no padding."""

    def total(model, context, continuation):
        ids = torch.tensor([[*context, *continuation]])
        with torch.no_grad():
            logs = model(input_ids=ids).logits.double().log_softmax(-1)[0]
        return sum(logs[len(context) + i - 1, token].item() for i, token in enumerate(continuation))

    return total
