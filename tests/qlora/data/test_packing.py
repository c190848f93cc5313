"""Packing: every sample once, nothing across samples, the same loss and gradients as without."""

import copy

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from qlora.data.batches import Batches
from qlora.data.encoding import IGNORED, Encoded
from qlora.data.packing import check_packing, first_fit_decreasing, packing_refusal
from qlora.errors import InputError

SHAPE = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
SMALL = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
PACKABLE = {
    "llama": transformers.LlamaConfig(**SHAPE),
    "mistral with a window": transformers.MistralConfig(**SHAPE, sliding_window=4),
    "qwen2": transformers.Qwen2Config(**SHAPE),
    "qwen3": transformers.Qwen3Config(**SHAPE, head_dim=8),
    "gpt-neox": transformers.GPTNeoXConfig(**SMALL, intermediate_size=48),
}
REFUSED = {
    "bloom": transformers.BloomConfig(vocab_size=96, hidden_size=32, n_layer=2, n_head=4),
    "mpt": transformers.MptConfig(vocab_size=96, d_model=32, n_layers=2, n_heads=4),
    "falcon": transformers.FalconConfig(**SMALL, alibi=True),
    "opt": transformers.OPTConfig(**SMALL, ffn_dim=48, word_embed_proj_dim=32),
    "t5": transformers.T5Config(vocab_size=96),
    "roberta": transformers.RobertaConfig(vocab_size=96),
}


def built(config, attention="sdpa"):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation=attention).eval()
    # The usual initial weights are so small that attention hardly moves a logit.
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.15)
    return model


def sample_of(length, generator):
    ids = torch.randint(3, 96, (length,), generator=generator).tolist()
    prompt = length // 3
    return Encoded(ids, [IGNORED] * max(1, prompt) + ids[max(1, prompt) :])


@pytest.fixture(scope="module")
def samples():
    generator = torch.Generator().manual_seed(0)
    return [sample_of(length, generator) for length in (3, 17, 9, 9, 5, 12, 2, 20, 7, 4)]


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.integers(1, 40), max_size=60), st.integers(0, 20))
def test_every_sample_is_packed_once_and_none_overflows(lengths, extra):
    room = max(lengths, default=1) + extra
    packed = first_fit_decreasing(lengths, room)
    assert sorted(i for row in packed for i in row) == list(range(len(lengths)))
    assert all(0 < sum(lengths[i] for i in row) <= room for row in packed)
    # First fit leaves at most one sequence half empty.
    assert sum(2 * sum(lengths[i] for i in row) <= room for row in packed) <= 1


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.integers(1, 30), max_size=40))
def test_it_is_first_fit_on_decreasing_lengths(lengths):
    rows = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fitting = next((row for row in rows if sum(lengths[j] for j in row) + lengths[i] <= 30), None)
        if fitting is None:
            rows.append([i])
        else:
            fitting.append(i)
    assert first_fit_decreasing(lengths, 30) == rows


def test_a_sample_longer_than_a_sequence_is_an_error():
    with pytest.raises(InputError, match="A sample of 9 tokens does not fit into a sequence of 8"):
        first_fit_decreasing([3, 9], 8)


def loss_and_gradients(model, batches):
    """Loss summed over all trained tokens of an epoch, divided by their number, and its gradients."""
    model.zero_grad()
    epoch = [next(batches) for _ in range(batches.per_epoch)]
    trained, total = sum(batch.trained_tokens for batch in epoch), 0.0
    for batch in epoch:
        logits = model(**batch.model_inputs()).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch.labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
        )
        (loss / trained).backward()
        total += loss.item() / trained
    return total, trained, {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", PACKABLE)
def test_packed_loss_and_gradients_equal_unpacked_ones(name, attention, samples):
    model = built(PACKABLE[name], attention)
    options = {"pad_id": 0, "seed": 0}
    packed = Batches(samples, batch_size=2, pack_into=24, **options)
    first = packed.at(0)
    assert max(map(len, first.rows)) > 1 and (first.attention_mask == 0).any(), "else this proves nothing"
    loss, trained, gradients = loss_and_gradients(model, packed)
    alone, alone_trained, alone_gradients = loss_and_gradients(model, Batches(samples, batch_size=1, **options))
    assert trained == alone_trained == sum(sample.trained_tokens for sample in samples)
    assert loss == pytest.approx(alone, abs=1e-5)
    for parameter, gradient in gradients.items():
        torch.testing.assert_close(gradient, alone_gradients[parameter], atol=1e-5, rtol=1e-4, msg=parameter)


def test_the_same_rows_with_attention_across_them_have_another_loss(samples):
    """What the test above would miss if it could not tell: the mask is what makes the losses equal."""
    model = built(PACKABLE["llama"])
    batch = Batches(samples, batch_size=2, pad_id=0, seed=0, pack_into=24).at(0)
    with torch.no_grad():
        apart = model(**batch.model_inputs(), labels=batch.labels).loss
        across = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels).loss
    assert abs(apart - across) > 1e-3


def test_no_first_token_is_predicted_from_another_sample():
    # A label at the very first token is an input that `encode` never makes; packing must not rely on that.
    samples = [Encoded([i] * 4, [i] * 4) for i in range(3, 9)]
    batch = Batches(samples, batch_size=3, pad_id=0, seed=0, pack_into=8).at(0)
    starts = (batch.position_ids == 0) & (batch.attention_mask == 1)
    assert starts.sum() == batch.samples == 6
    assert (batch.labels[starts] == IGNORED).all()
    assert (batch.labels[~starts] == batch.input_ids[~starts]).all()
    assert batch.trained_tokens == 6 * 3


def test_a_sample_does_not_see_its_neighbours():
    model = built(PACKABLE["llama"])
    ids = torch.randint(3, 96, (1, 12), generator=torch.Generator().manual_seed(0), dtype=torch.int64)
    inputs = torch.nn.Parameter(model.get_input_embeddings()(ids).detach())
    positions = torch.cat([torch.arange(5), torch.arange(4), torch.arange(3)])[None]
    model(inputs_embeds=inputs, position_ids=positions, use_cache=False).logits[0, 5:9].sum().backward()
    reached = inputs.grad.abs().sum(-1)[0] > 0
    assert reached.tolist() == [False] * 5 + [True] * 4 + [False] * 3


@pytest.mark.parametrize("name", PACKABLE)
def test_models_that_keep_samples_apart_pass_the_check(name):
    assert packing_refusal(PACKABLE[name]) is None
    model = built(PACKABLE[name]).train()
    check_packing(model)
    assert model.training


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_cannot_be_packed_are_refused_with_the_reason(name):
    message = packing_refusal(REFUSED[name])
    assert message.startswith(f"Samples of a {name} model cannot be packed") and "data.packing: false" in message


@pytest.mark.parametrize("name", ["bloom", "falcon", "opt", "mpt"])
def test_the_trial_finds_what_the_table_knows(name, monkeypatch):
    monkeypatch.setattr("qlora.data.packing.packing_refusal", lambda config: None)
    with pytest.raises(InputError, match=r"see each other in a packed sequence \(a logit changes by"):
        check_packing(built(REFUSED[name], "eager"))
