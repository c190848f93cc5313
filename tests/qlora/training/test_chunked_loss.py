"""The chunked loss beside torch's plain cross-entropy and transformers' own loss."""

import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy

from qlora.adapters.attach import attach
from qlora.config import AdapterConfig
from qlora.errors import InputError
from qlora.layers.lora_linear import LoraLinear
from qlora.memory.measure import LiveTensorBytes
from qlora.training.chunked_loss import causal_loss, chunked_cross_entropy, why_not_chunked

SHAPE = {"vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA_LIKE = {**SHAPE, "intermediate_size": 96, "num_key_value_heads": 2, "max_position_embeddings": 64}
FAMILIES = {
    "llama": ("LlamaConfig", LLAMA_LIKE),
    "llama tied": ("LlamaConfig", {**LLAMA_LIKE, "tie_word_embeddings": True}),
    "mistral": ("MistralConfig", {**LLAMA_LIKE, "head_dim": 16}),
    "qwen": ("Qwen2Config", LLAMA_LIKE),
    "opt": ("OPTConfig", {**SHAPE, "ffn_dim": 96, "word_embed_proj_dim": 32, "max_position_embeddings": 64}),
    "bloom": ("BloomConfig", {"vocab_size": 96, "hidden_size": 64, "n_layer": 2, "n_head": 4}),
    "gpt-neox": ("GPTNeoXConfig", {**SHAPE, "intermediate_size": 96}),
}
TRANSFORMED = {
    "gemma2": ("Gemma2Config", {**LLAMA_LIKE, "head_dim": 16}, "scales, caps or masks"),
    "cohere": ("CohereConfig", LLAMA_LIKE, "scales, caps or masks"),
    "granite": ("GraniteConfig", {**LLAMA_LIKE, "logits_scaling": 8.0}, "scales, caps or masks"),
    "phi": ("PhiConfig", {**SHAPE, "intermediate_size": 96}, "bias"),
}


def model_of(kind, settings):
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(getattr(transformers, kind)(**settings)).eval()


def problem(tokens=37, width=24, vocabulary=101, dtype=torch.float32, ignored=0.3):
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(tokens, width, generator=generator).to(dtype)
    weight = (torch.randn(vocabulary, width, generator=generator) / 2).to(dtype)
    labels = torch.randint(vocabulary, (tokens,), generator=generator)
    labels[torch.rand(tokens, generator=generator) < ignored] = -100
    return hidden, weight, labels


def with_gradients(loss_of, *leaves, scale=1.0):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    loss = loss_of(*leaves) * scale
    loss.backward()
    return loss.detach(), [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("chunk_tokens", [1, 5, 26, 1000])
def test_equals_plain_cross_entropy_with_its_gradients(chunk_tokens):
    hidden, weight, labels = problem()
    assert 5 < (labels != -100).sum() < len(labels), "some tokens must count and some must not"
    plain, expected = with_gradients(
        lambda h, w: cross_entropy(h @ w.T, labels, reduction="sum"), hidden, weight, scale=0.25
    )
    ours, got = with_gradients(
        lambda h, w: chunked_cross_entropy(h, w, labels, chunk_tokens)[0], hidden, weight, scale=0.25
    )
    torch.testing.assert_close(ours, plain, rtol=1e-6, atol=0)
    for mine, theirs in zip(got, expected, strict=True):
        assert theirs.abs().max() > 0.1
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


def test_gradients_agree_with_finite_differences():
    hidden, weight, labels = problem(tokens=4, width=3, vocabulary=5, ignored=0)
    direction = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(2))

    def loss(step):
        return cross_entropy((hidden.double() + step * direction) @ weight.double().T, labels, reduction="sum")

    _, (gradient,) = with_gradients(lambda h: chunked_cross_entropy(h, weight, labels, 3)[0], hidden)
    slope = (loss(1e-4) - loss(-1e-4)) / 2e-4
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-3)


def test_bfloat16_is_no_further_from_fp32_than_the_plain_loss():
    hidden, weight, labels = problem(tokens=256, width=128, vocabulary=2000, dtype=torch.bfloat16)
    exact, (exact_gradient,) = with_gradients(
        lambda h: cross_entropy(h @ weight.float().T, labels, reduction="sum"), hidden.float()
    )
    plain, (plain_gradient,) = with_gradients(
        lambda h: cross_entropy((h @ weight.T).float(), labels, reduction="sum"), hidden
    )
    ours, (gradient,) = with_gradients(lambda h: chunked_cross_entropy(h, weight, labels, 50)[0], hidden)
    assert ours.dtype == torch.float32 and gradient.dtype == torch.bfloat16
    assert (ours - exact).abs() <= 2 * (plain - exact).abs() + 1e-6 * exact

    def error(g):
        return (g.float() - exact_gradient).norm()

    assert 0 < error(gradient) <= 1.1 * error(plain_gradient)


def test_a_frozen_head_gets_no_gradient_and_evaluation_makes_none():
    hidden, weight, labels = problem()
    hidden.requires_grad_()
    total, tokens = chunked_cross_entropy(hidden, weight, labels, 8)
    total.backward()
    assert weight.grad is None and hidden.grad[labels == -100].abs().max() == 0
    assert tokens == (labels != -100).sum()
    with torch.no_grad(), LiveTensorBytes() as counter:
        again, _ = chunked_cross_entropy(hidden, weight, labels, 8)
    assert again == total.detach() and not again.requires_grad
    assert counter.peak_bytes < hidden.nbytes + 2 * 8 * weight.shape[0] * 4, "no gradient waits for a backward pass"


def test_nothing_to_learn_is_a_loss_of_zero():
    hidden, weight, labels = problem()
    total, (gradient,) = with_gradients(
        lambda h: chunked_cross_entropy(h, weight, torch.full_like(labels, -100), 8)[0], hidden
    )
    assert total == 0 and gradient.abs().max() == 0


def test_peak_memory_is_a_small_part_of_the_plain_one():
    # A sixteenth of 32k vocabulary x 4k tokens in each direction; every term of both peaks scales alike.
    tokens, vocabulary, width = 256, 2048, 32
    hidden, weight, labels = problem(tokens, width, vocabulary, ignored=0)

    def peak(loss_of):
        with LiveTensorBytes() as counter:
            leaf = hidden.clone().requires_grad_()
            loss_of(leaf).backward()
        return counter.peak_bytes

    plain = peak(lambda h: cross_entropy(h @ weight.T, labels, reduction="sum"))
    chunked = peak(lambda h: chunked_cross_entropy(h, weight, labels, 16)[0])
    assert plain > 2 * tokens * vocabulary * 4, "else this proves nothing: the logits and their logarithms"
    assert chunked <= 0.15 * plain


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_models_own_loss_with_the_adapters_gradients(family):
    model = model_of(*FAMILIES[family])
    attach(model, AdapterConfig(r=4), dtype=torch.float32)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    trained = [p for p in model.parameters() if p.requires_grad]
    ids = torch.randint(3, 96, (2, 20), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[1, 15:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :6] = -100

    own = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
    expected = torch.autograd.grad(own, trained)
    inputs = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
    total, tokens = causal_loss(model, inputs, labels, chunk_tokens=7)
    got = torch.autograd.grad(total / tokens, trained)
    assert tokens == 14 + 9
    assert (total / tokens).item() == pytest.approx(own.item(), abs=1e-6)
    assert max(g.abs().max() for g in expected) > 1e-3
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_head_that_is_trained_whole_learns():
    model = model_of(*FAMILIES["llama"])
    attach(model, AdapterConfig(r=4), dtype=torch.float32, train_whole=["lm_head"])
    head = model.get_output_embeddings().current.weight
    ids = torch.randint(96, (1, 20), generator=torch.Generator().manual_seed(3))
    (expected,) = torch.autograd.grad(model(input_ids=ids, labels=ids).loss, head)
    total, tokens = causal_loss(model, {"input_ids": ids}, ids, chunk_tokens=4)
    (got,) = torch.autograd.grad(total / tokens, head)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", TRANSFORMED)
def test_a_model_that_changes_its_logits_is_refused(family):
    kind, settings, reason = TRANSFORMED[family]
    model = model_of(kind, settings)
    assert reason in why_not_chunked(model)
    ids = torch.arange(8)[None]
    with pytest.raises(InputError, match=f"chunks, because .*{reason}"):
        causal_loss(model, {"input_ids": ids}, ids)


def test_an_adapted_head_is_refused():
    model = model_of(*FAMILIES["llama"])
    model.lm_head = LoraLinear(model.lm_head, r=4, alpha=4.0)
    assert "LoraLinear" in why_not_chunked(model)


def test_trying_a_model_out_draws_no_random_number_and_leaves_it_as_it_was():
    model = model_of("GPT2Config", {"vocab_size": 96, "n_embd": 64, "n_layer": 2, "n_head": 4}).train()
    assert model.config.embd_pdrop > 0, "else nothing would be drawn"
    before = torch.random.get_rng_state()
    assert why_not_chunked(model) is None
    assert torch.equal(torch.random.get_rng_state(), before)
    assert model.training and not model.lm_head._forward_hooks and not model.transformer._forward_hooks


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((torch.zeros(4, 3), torch.zeros(5, 2), torch.zeros(4, dtype=torch.int64)), "width"),
        ((torch.zeros(4, 3), torch.zeros(5, 3), torch.zeros(3, dtype=torch.int64)), "4 tokens"),
        ((torch.zeros(4, 3), torch.zeros(5, 3), torch.zeros(4, dtype=torch.int64), 0), "chunk_tokens"),
    ],
)
def test_wrong_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        chunked_cross_entropy(*arguments)
