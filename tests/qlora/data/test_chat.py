import pytest
import torch

from qlora.data.chat import IGNORED, collate, encode, prompt_ids
from qlora.data.formats import Sample


@pytest.fixture(scope="module")
def tokenizer(demo_model):
    import transformers

    return transformers.AutoTokenizer.from_pretrained(demo_model)


SAMPLE = Sample("What is NF4?", "A 4-bit data type.", 1)


def test_the_loss_counts_the_answer_and_its_end(tokenizer):
    encoded = encode(tokenizer, SAMPLE, 128)
    trained = [t for t in encoded.labels if t != IGNORED]
    assert tokenizer.decode(trained) == "A 4-bit data type." + tokenizer.eos_token
    assert len(encoded.labels) == len(encoded.input_ids)


def test_the_prompt_in_training_is_the_one_in_generation(tokenizer):
    for system_prompt in (None, "", "Answer briefly."):
        prompt = prompt_ids(tokenizer, SAMPLE.prompt, system_prompt)
        encoded = encode(tokenizer, SAMPLE, 128, system_prompt)
        assert encoded.input_ids[: len(prompt)] == prompt
        assert encoded.labels[len(prompt)] != IGNORED and set(encoded.labels[: len(prompt)]) == {IGNORED}


def test_a_long_answer_loses_its_end_and_the_end_token(tokenizer):
    whole = encode(tokenizer, SAMPLE, 128, "")
    cut = encode(tokenizer, SAMPLE, len(whole.input_ids) - 3, "")
    assert cut.input_ids == whole.input_ids[:-3]
    assert cut.labels[-1] != tokenizer.eos_token_id


def test_a_prompt_that_fills_everything_teaches_nothing(tokenizer):
    assert encode(tokenizer, SAMPLE, len(prompt_ids(tokenizer, SAMPLE.prompt))) is None


def test_padding_never_counts_even_when_it_is_the_end_token(tokenizer):
    assert tokenizer.pad_token_id == tokenizer.eos_token_id, "else this proves nothing"
    short = encode(tokenizer, SAMPLE, 128)
    long = encode(tokenizer, Sample("What is NF4?", "A 4-bit data type. " * 3, 2), 128)
    batch = collate([short, long], tokenizer.pad_token_id)
    length = len(short.input_ids)
    assert batch["input_ids"].shape == (2, len(long.input_ids))
    assert batch["labels"][0, length - 1] == tokenizer.eos_token_id
    assert (batch["labels"][0, length:] == IGNORED).all()
    assert torch.equal(batch["attention_mask"].sum(1), torch.tensor([length, len(long.input_ids)]))
