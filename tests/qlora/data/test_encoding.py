import pytest

from qlora.data.chat import prompt_ids
from qlora.data.encoding import IGNORED, Encoded, EncodedSamples, encode, encode_all
from qlora.data.samples import Conversation, PlainText
from qlora.errors import InputError

SAMPLE = Conversation.of("What is NF4?", "A 4-bit data type.", "a.jsonl, line 1")


def trained(encoded: Encoded) -> list[int]:
    return [token for token in encoded.labels if token != IGNORED]


def test_the_loss_counts_the_answer_and_its_end(chat_tokenizer):
    encoded = encode(chat_tokenizer, SAMPLE, 128)
    assert chat_tokenizer.decode(trained(encoded)) == "A 4-bit data type." + chat_tokenizer.eos_token
    assert len(encoded.labels) == len(encoded.input_ids)
    assert all(label in (IGNORED, token) for label, token in zip(encoded.labels, encoded.input_ids, strict=True))


def test_the_loss_on_everything_counts_all_but_the_first_token(chat_tokenizer):
    encoded = encode(chat_tokenizer, SAMPLE, 128, loss_on="everything")
    assert trained(encoded) == encoded.input_ids[1:]
    assert encoded.input_ids == encode(chat_tokenizer, SAMPLE, 128).input_ids


def test_a_plain_text_is_learnt_whole_with_its_end(chat_tokenizer):
    encoded = encode(chat_tokenizer, PlainText("Once upon a time."), 128)
    assert chat_tokenizer.decode(encoded.input_ids) == "Once upon a time." + chat_tokenizer.eos_token
    assert trained(encoded) == encoded.input_ids[1:]


def test_a_long_answer_loses_its_end_and_the_end_token(chat_tokenizer):
    whole = encode(chat_tokenizer, SAMPLE, 128, "")
    cut = encode(chat_tokenizer, SAMPLE, len(whole.input_ids) - 3, "")
    assert cut.input_ids == whole.input_ids[:-3] and cut.cut and not whole.cut
    assert cut.labels[-1] != chat_tokenizer.eos_token_id
    assert not encode(chat_tokenizer, SAMPLE, len(whole.input_ids), "").cut


def test_a_prompt_that_fills_everything_teaches_nothing(chat_tokenizer):
    length = len(prompt_ids(chat_tokenizer, "What is NF4?"))
    assert encode(chat_tokenizer, SAMPLE, length) is None
    assert encode(chat_tokenizer, SAMPLE, length + 1).trained_tokens == 1


def test_samples_that_are_cut_or_dropped_are_counted_and_named(chat_tokenizer):
    long = Conversation.of("why " * 50, "Because.", "a.jsonl, line 2")
    samples = [SAMPLE, long, Conversation.of("What?", "because " * 50, "a.jsonl, line 3")]
    encoded = encode_all(chat_tokenizer, samples, 48, "")
    assert len(encoded) == 2 and all(one.trained_tokens for one in encoded)
    assert encoded.dropped == ["a.jsonl, line 2"] and encoded.cut == 1
    dropped, cut = encoded.notices(48)
    assert dropped.startswith("1 of 3 samples were dropped") and "a.jsonl, line 2" in dropped
    assert cut == "1 of 3 samples were cut at data.max_length = 48 tokens."
    with pytest.raises(InputError, match=r"No sample has room for its answer .* \(the first is a\.jsonl, line 2\)"):
        encode_all(chat_tokenizer, [long], 48)


def test_compact_storage_gives_back_what_was_put_in():
    samples = [Encoded([5, 6, 7], [IGNORED, 6, 7]), Encoded([1], [IGNORED]), Encoded([2**31 - 1, 0], [IGNORED, 0])]
    stored = EncodedSamples(samples)
    assert list(stored) == samples and stored[-1] == samples[-1] and stored[1:] == samples[1:]
    assert stored.lengths == [3, 1, 2]
    with pytest.raises(IndexError):
        stored[3]
