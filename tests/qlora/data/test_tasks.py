"""Sources with targets, and texts with labels."""

import json

import pytest
import torch

from qlora.data.batches import Batches
from qlora.data.encoding import IGNORED
from qlora.data.formats import read_samples
from qlora.data.samples import Conversation, Message, PlainText
from qlora.data.tasks import collate_labelled, collate_pairs, encode_labelled, encode_pairs, read_labelled
from qlora.errors import InputError

LABELS = ("weather", "food")


class Tokenizer:
    """Characters as tokens, with 1 before and 2 after each text, as RoBERTa's and T5's tokenizers put them."""

    eos_token_id = 2

    def __call__(self, text=None, text_target=None, truncation=False, max_length=None, verbose=True):
        ids = [ord(c) for c in (text or text_target)]
        if truncation:
            ids = ids[: max_length - 2]
        self.input_ids = [1, *ids, 2]
        return self


def written(tmp_path, rows):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return str(file)


def test_labels_are_names_or_numbers(tmp_path):
    rows = [{"text": "rain", "label": "weather"}, {"text": " soup ", "label": 1}]
    assert [(s.text, s.label) for s in read_labelled(written(tmp_path, rows), LABELS)] == [("rain", 0), ("soup", 1)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a"}, r"line 2 has no field 'label', but text: expected \{\"text\""),
        ({"text": "", "label": 0}, "line 2, field 'text': expected a text, got ''"),
        ({"text": "a", "label": "wether"}, "field 'label': expected one of weather, food, or an index from 0 to 1"),
        ({"text": "a", "label": 2}, "field 'label': .* got '2'"),
        ({"text": "a", "label": -1}, "field 'label': .* got '-1'"),
        ({"text": "a", "label": True}, "field 'label': .* got 'True'"),
        ({"text": "a", "label": ["food"]}, "field 'label': .* got"),
    ],
)
def test_a_row_that_is_not_one_is_named(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        read_labelled(written(tmp_path, [{"text": "rain", "label": 0}, row]), LABELS)


def test_an_empty_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"rows.jsonl is empty: expected rows of the form"):
        read_labelled(written(tmp_path, []), LABELS)


def test_pairs_become_sources_and_targets_that_end(tmp_path):
    samples = read_samples(
        written(tmp_path, [{"prompt": "ab", "completion": "c"}, {"prompt": "d", "completion": "ef"}])
    )
    encoded = encode_pairs(Tokenizer(), samples, 16)
    batch = collate_pairs([[encoded[0]], [encoded[1]]], 0, [[0], [1]])
    a, b, c, d, e, f = map(ord, "abcdef")
    assert batch.input_ids.tolist() == [[1, a, b, 2], [1, d, 2, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch.labels.tolist() == [[1, c, 2, IGNORED], [1, e, f, 2]]
    assert (batch.tokens, batch.trained_tokens, batch.samples) == (14, 7, 2)
    assert set(batch.model_inputs()) == {"input_ids", "attention_mask", "use_cache"}


def test_texts_become_inputs_and_classes(tmp_path):
    rows = [{"text": "ab", "label": 1}, {"text": "c", "label": 0}]
    encoded = encode_labelled(Tokenizer(), read_labelled(written(tmp_path, rows), LABELS), 16)
    batch = collate_labelled([[encoded[0]], [encoded[1]]], 9, [[0], [1]])
    assert batch.input_ids.tolist() == [[1, ord("a"), ord("b"), 2], [1, ord("c"), 2, 9]]
    assert batch.labels.tolist() == [1, 0]
    assert (batch.tokens, batch.trained_tokens) == (7, 2)
    assert set(batch.model_inputs()) == {"input_ids", "attention_mask"}
    assert type(batch.to(torch.device("meta"))) is type(batch)


def test_what_is_too_long_is_cut_and_counted(tmp_path):
    samples = read_samples(
        written(tmp_path, [{"prompt": "a" * 9, "completion": "b" * 9}, {"prompt": "a", "completion": "b"}])
    )
    encoded = encode_pairs(Tokenizer(), samples, 8)
    first = encoded[0]
    assert encoded.cut == 1 and "1 of 2 samples were cut" in encoded.notices(8)[0]
    assert first.input_ids[:8] == [1, *[ord("a")] * 6, 2], "a source keeps what every text ends with"
    assert first.input_ids[8:] == [1, *[ord("b")] * 7], "a target that was cut must not teach to stop there"


@pytest.mark.parametrize(
    "sample",
    [
        PlainText("a", "x.jsonl, line 1"),
        Conversation((Message("assistant", "a"),), "x.jsonl, line 1"),
        Conversation((Message("user", "a"), Message("assistant", "b")) * 2, "x.jsonl, line 1"),
    ],
    ids=["text", "no question", "two turns"],
)
def test_a_sample_that_is_no_pair_is_named(sample):
    with pytest.raises(InputError, match=r"x.jsonl, line 1: model.task seq2seq learns one answer to one question"):
        encode_pairs(Tokenizer(), [sample], 8)


def test_batches_of_tasks_are_ordered_and_resumed_like_others(tmp_path):
    rows = [{"text": "t" * n, "label": n % 2} for n in range(1, 8)]
    encoded = encode_labelled(Tokenizer(), read_labelled(written(tmp_path, rows), LABELS), 16)
    batches = Batches(encoded, batch_size=2, pad_id=0, seed=3, join=collate_labelled)
    seen = [next(batches) for _ in range(batches.per_epoch)]
    assert sorted(i for batch in seen for (i,) in batch.rows) == list(range(7))
    for batch in seen:
        assert batch.labels.tolist() == [(i + 1) % 2 for (i,) in batch.rows]
    again = Batches(encoded, batch_size=2, pad_id=0, seed=3, join=collate_labelled)
    again.restore({**batches.state(), "position": 2})
    assert next(again).rows == seen[2].rows
