import pytest


@pytest.fixture(scope="session")
def chat_tokenizer(demo_model):
    """The demo model's tokenizer; tests that set another chat template copy it first."""
    import transformers

    return transformers.AutoTokenizer.from_pretrained(demo_model)
