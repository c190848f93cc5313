"""Batches: masks and positions, an order that is a permutation, and a resume that continues exactly."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qlora.config import from_mapping
from qlora.data.batches import Batches, batches_of, in_order
from qlora.data.encoding import IGNORED, Encoded, EncodedSamples, encode
from qlora.data.samples import Conversation
from qlora.errors import InputError


def samples_of(lengths):
    return EncodedSamples(Encoded([i + 3] * n, [IGNORED] + [i + 3] * (n - 1)) for i, n in enumerate(lengths))


LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=40)
MODES = st.sampled_from([{}, {"pack_into": 20}, {"pack_into": 33}, {"group_by_length": True}])


def same(one, other):
    return (
        one.rows == other.rows
        and torch.equal(one.input_ids, other.input_ids)
        and torch.equal(one.labels, other.labels)
        and torch.equal(one.position_ids, other.position_ids)
    )


def test_padding_never_counts_even_when_it_is_the_end_token(chat_tokenizer):
    assert chat_tokenizer.pad_token_id == chat_tokenizer.eos_token_id, "else this proves nothing"
    short = encode(chat_tokenizer, Conversation.of("What is NF4?", "A 4-bit data type."), 128)
    long = encode(chat_tokenizer, Conversation.of("What is NF4?", "A 4-bit data type. " * 3), 128)
    (batch,) = in_order([short, long], 2, chat_tokenizer.pad_token_id)
    length, longest = len(short.input_ids), len(long.input_ids)
    assert batch.input_ids.shape == (2, longest) and batch.rows == ((0,), (1,))
    assert batch.labels[0, length - 1] == chat_tokenizer.eos_token_id
    assert (batch.labels[0, length:] == IGNORED).all()
    assert batch.attention_mask.sum(1).tolist() == [length, longest]
    assert batch.tokens == length + longest and batch.samples == 2
    assert batch.trained_tokens == short.trained_tokens + long.trained_tokens
    assert set(batch.model_inputs()) == {"input_ids", "attention_mask", "use_cache"}


def test_a_packed_row_restarts_positions_in_each_sample_and_in_the_padding():
    batches = Batches(samples_of([4, 3, 2]), batch_size=1, pad_id=0, seed=0, pack_into=9)
    batch = batches.at(0)
    assert batches.per_epoch == 1 and batch.rows == ((0, 1, 2),)
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 0, 1, 2, 0, 1]]
    assert batch.labels.tolist() == [[-100, 3, 3, 3, -100, 4, 4, -100, 5]]
    batch = Batches(samples_of([5, 2, 4]), batch_size=2, pad_id=0, seed=0, pack_into=7).at(0)
    assert sorted(batch.position_ids.tolist()) == [[0, 1, 2, 3, 0, 1, 2], [0, 1, 2, 3, 4, 0, 1]]
    assert set(batch.model_inputs()) == {"input_ids", "position_ids", "use_cache"}


@settings(deadline=None)  # the machine may be busy
@given(LENGTHS, MODES, st.integers(1, 7), st.integers(0, 2**63 - 1))
def test_every_token_of_every_sample_comes_once_an_epoch(lengths, mode, batch_size, seed):
    batches = Batches(samples_of(lengths), batch_size=batch_size, pad_id=0, seed=seed, **mode)
    for _ in range(2):
        epoch = [next(batches) for _ in range(batches.per_epoch)]
        assert sorted(i for batch in epoch for row in batch.rows for i in row) == list(range(len(lengths)))
        tokens = Counter(t for b in epoch for t in b.input_ids[b.attention_mask == 1].tolist())
        assert tokens == {i + 3: n for i, n in enumerate(lengths)}
        assert sum(batch.trained_tokens for batch in epoch) == sum(n - 1 for n in lengths)
        assert all(len(batch.rows) <= batch_size for batch in epoch)
    assert batches.epoch == 2


@settings(deadline=None)  # the machine may be busy
@given(LENGTHS, MODES, st.integers(1, 5), st.integers(0, 60), st.integers(0, 100))
def test_a_resume_continues_at_the_exact_batch(lengths, mode, batch_size, taken, seed):
    def fresh():
        return Batches(samples_of(lengths), batch_size=batch_size, pad_id=0, seed=seed, **mode)

    first = fresh()
    for _ in range(taken):
        next(first)
    resumed = fresh()
    resumed.restore(first.state())
    assert resumed.position == taken
    for _ in range(3):
        assert same(next(first), next(resumed))


def order(seed, epoch, **options):
    batches = Batches(samples_of([5] * 30), batch_size=3, pad_id=0, seed=seed, **options)
    return [batches.at(epoch * batches.per_epoch + i).rows for i in range(batches.per_epoch)]


@pytest.mark.parametrize("options", [{}, {"pack_into": 10}, {"group_by_length": True}])
def test_the_order_depends_on_seed_and_epoch_alone(options):
    assert order(0, 3, **options) == order(0, 3, **options)
    several = [order(seed, epoch, **options) for seed in range(3) for epoch in range(3)]
    assert all(a != b for i, a in enumerate(several) for b in several[:i])


def test_looking_at_a_batch_takes_nothing():
    batches = Batches(samples_of([3, 4, 5]), batch_size=1, pad_id=0, seed=0)
    ahead = batches.at(4)
    assert batches.position == 0 and same(batches.at(4), ahead)
    for _ in range(4):
        next(batches)
    assert same(next(batches), ahead)


def test_grouping_saves_padding_and_keeps_chance():
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 200, (640,), generator=generator).tolist()
    samples = samples_of(lengths)

    def epoch(**options):
        batches = Batches(samples, batch_size=8, pad_id=0, seed=0, **options)
        return [next(batches) for _ in range(batches.per_epoch)]

    def padding(batches):
        return sum(int((batch.attention_mask == 0).sum()) for batch in batches)

    plain, grouped, packed = epoch(), epoch(group_by_length=True), epoch(pack_into=200)
    assert padding(grouped) < 0.1 * padding(plain) and padding(packed) < 0.1 * padding(plain)
    longest = [batch.input_ids.shape[1] for batch in grouped]
    assert longest != sorted(longest) and longest != sorted(longest, reverse=True)


def test_packed_rows_meet_others_in_the_next_epoch():
    batches = Batches(samples_of([6, 4] * 10), batch_size=1, pad_id=0, seed=0, pack_into=10)
    rows = [{frozenset(batches.at(e * batches.per_epoch + i).rows[0]) for i in range(10)} for e in range(2)]
    assert batches.per_epoch == 10 and rows[0] != rows[1]


def test_a_resume_with_other_data_or_settings_is_refused():
    def built(lengths=(3, 4, 5), **options):
        return Batches(samples_of(lengths), **{"batch_size": 2, "pad_id": 0, "seed": 0, **options})

    state = built().state()
    built().restore(state)
    for other in (
        built((3, 4, 6)),
        built(seed=1),
        built(batch_size=1),
        built(pack_into=5),
        built(group_by_length=True),
    ):
        with pytest.raises(InputError, match="differs from what the checkpoint was made with"):
            other.restore(state)


def test_the_configuration_decides():
    samples = samples_of([3] * 6)
    packed = from_mapping(
        {"data": {"packing": True, "max_length": 64, "packed_length": 64}, "training": {"batch_size": 2}}
    )
    assert batches_of(packed, samples, None).at(0).packed
    short = from_mapping({"data": {"packing": True, "max_length": 9}})
    assert batches_of(short, samples, None).at(0).samples == 3
    assert not batches_of(from_mapping({}), samples, 5).at(0).packed


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"packed_length": 256}, "data.packed_length must be null unless data.packing is true"),
        ({"packing": True, "packed_length": 64}, r"data.packed_length must be from data.max_length \(128\) to 65536"),
        ({"packing": True, "group_by_length": True}, "data.group_by_length must be false with data.packing"),
        ({"loss_on": "answers"}, "data.loss_on must be one of completions, everything, got 'answers'"),
        ({"pack": True}, "Unknown key 'data.pack': did you mean 'packing'"),
        ({"packing": "yes"}, "data.packing must be true or false, got 'yes'"),
    ],
)
def test_a_wrong_data_section_is_named(data, message):
    with pytest.raises(InputError, match=message):
        from_mapping({"data": data})


def test_moving_to_a_device_keeps_the_rest():
    (batch,) = in_order(samples_of([3, 2]), 2, 0)
    moved = batch.to(torch.device("meta"))
    assert moved.labels.device.type == moved.position_ids.device.type == "meta"
    assert (moved.rows, moved.tokens, moved.trained_tokens) == (batch.rows, batch.tokens, batch.trained_tokens)
