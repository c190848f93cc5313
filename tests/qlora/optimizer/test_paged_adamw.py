import random
import weakref

import pytest
import torch
from bitsandbytes import functional
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import qlora
from qlora.adapters.attach import adapter_parameters, attach
from qlora.config import AdapterConfig
from qlora.errors import InputError
from qlora.memory.measure import LiveTensorBytes
from qlora.optimizer.paged_adamw import PagedAdamW

SHAPES = ((16, 33), (7, 16), (5,), (100, 31))
SMALL_PAGE = 2048


def parameters(dtype=torch.float32, shapes=SHAPES):
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def gradients_of(ours, generator):
    """Of very different sizes, and here and there none."""
    for p in ours:
        scale = torch.rand(p.shape, generator=generator) ** 6
        p.grad.copy_(torch.randn(p.shape, generator=generator) * scale * (scale > 1e-3))


def step(paged, generator, evict=None):
    """One step; `evict` is called with the pager before the step and between all groups of pages."""
    paged.zero_grad()
    gradients_of(paged.parameters, generator)
    if evict is None:
        return paged.step()
    evict(paged.pager)
    visit = paged.pager.visit

    def interrupted():
        for group in visit():
            yield group
            evict(paged.pager)

    paged.pager.visit = interrupted
    paged.step()
    paged.pager.visit = visit


def at_random(chooser):
    return lambda pager: pager.evict(chooser.sample(range(len(pager.pages)), chooser.randint(0, 4)))


def contents(paged):
    return {name: tensor.clone() for name, tensor in paged.state_dict()["tensors"].items()}


def equal(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.3, 0.5)])
def test_equals_torchs_adamw_over_100_steps_while_pages_are_evicted_at_random(weight_decay, betas):
    ours, theirs, happened = parameters(), parameters(), []
    options = {"betas": betas, "eps": 1e-8, "weight_decay": weight_decay}
    paged = PagedAdamW(ours, 1e-2, page_bytes=SMALL_PAGE, budget_bytes=30_000, on_paging=happened.append, **options)
    plain = torch.optim.AdamW(theirs, 1e-2, **options)
    assert len(paged.pager.pages) > 10, "else there is little to evict"
    generator, chooser = torch.Generator().manual_seed(1), random.Random(0)
    for _ in range(100):
        paged.pager.set_other_bytes(chooser.choice([0, 10_000, 29_000]))
        paged.pager.set_other_bytes(0)
        step(paged, generator, at_random(chooser))
        for a, b in zip(ours, theirs, strict=True):
            b.grad = a.grad.clone()
        plain.step()
    assert len(happened) > 1000, "else pages hardly moved"
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=0)


@pytest.mark.parametrize("state_bits", [32, 8])
@settings(max_examples=12, deadline=None)
@given(chooser=st.randoms(use_true_random=False), budget=st.integers(2 * SMALL_PAGE, 40_000))
def test_eviction_at_any_point_changes_no_bit(state_bits, chooser, budget):
    results = []
    for evict, limit in ((at_random(chooser), budget), (None, None)):
        paged = PagedAdamW(parameters(), 1e-2, state_bits=state_bits, page_bytes=SMALL_PAGE, budget_bytes=limit)
        generator = torch.Generator().manual_seed(1)
        for _ in range(4):
            step(paged, generator, evict)
        results.append((contents(paged), paged.flat.clone()))
        moved = paged.paging_report().moves_in
    assert moved == 0, "else there is nothing to compare with"
    assert equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


def test_eight_bits_equal_a_plain_implementation_made_of_bitsandbytes_functions():
    """Codes, absmax and parameters over 40 steps, with bitsandbytes' data types, its plain `quantize_blockwise` (what
    its CPU operator does for fp64) and its `dequantize_blockwise`, each tensor for itself."""
    levels = [functional.create_dynamic_map(signed=signed) for signed in (True, False)]
    ours, theirs = parameters(), [p.detach() for p in parameters()]
    paged = PagedAdamW(ours, 1e-2, weight_decay=0.1, state_bits=8, page_bytes=SMALL_PAGE, budget_bytes=3 * SMALL_PAGE)
    zeros = [[(torch.zeros(p.numel(), dtype=torch.uint8), torch.zeros(-(-p.numel() // 256)))] * 2 for p in theirs]
    states, generator = zeros, torch.Generator().manual_seed(1)
    for t in range(1, 41):
        step(paged, generator)
        for number, p in enumerate(theirs):
            g = ours[number].grad.flatten()
            mean, square = (
                functional.dequantize_blockwise(codes, absmax=absmax, code=code, blocksize=256)
                for (codes, absmax), code in zip(states[number], levels, strict=True)
            )
            mean.lerp_(g, 1 - 0.9)
            square.mul_(0.999).addcmul_(g, g, value=1 - 0.999)
            denominator = (square.sqrt() / (1 - 0.999**t) ** 0.5).add_(1e-8)
            p.view(-1).mul_(1 - 1e-2 * 0.1).addcdiv_(mean, denominator, value=-1e-2 / (1 - 0.9**t))
            states[number] = [
                torch.ops.bitsandbytes.quantize_blockwise(values.double(), code, 256)
                for values, code in zip((mean, square), levels, strict=True)
            ]
    saved = contents(paged)
    for number, p in enumerate(theirs):
        assert torch.equal(ours[number].detach(), p)
        start = paged.starts[number]
        for (codes, absmax), name in zip(states[number], ("exp_avg", "exp_avg_sq"), strict=True):
            assert torch.equal(saved[name][start : start + p.numel()], codes)
            assert torch.equal(saved[f"{name}_absmax"][start // 256 : start // 256 + len(absmax)], absmax)
    assert paged.paging_report().moves_in > 50, "else pages hardly moved"


def test_eight_bits_take_a_quarter_of_the_room():
    sizes = {}
    for bits in (32, 8):
        paged = PagedAdamW(parameters(shapes=((64, 256),)), state_bits=bits)
        step(paged, torch.Generator().manual_seed(0))
        sizes[bits] = paged.paging_report().device_bytes
    assert sizes == {32: 64 * 256 * 8, 8: 64 * (256 * 2 + 8)}


def test_eight_bits_learn_as_32_do():
    losses = {}
    for bits in (32, 8):
        torch.manual_seed(0)
        layer = nn.Linear(64, 64)
        x, target = torch.randn(256, 64), torch.randn(256, 64)
        paged = PagedAdamW(layer.parameters(), 1e-2, state_bits=bits)
        for _ in range(60):
            paged.zero_grad()
            loss = nn.functional.mse_loss(layer(x), target)
            loss.backward()
            paged.step()
        losses[bits] = loss.item()
    assert losses[8] == pytest.approx(losses[32], rel=0.02) and losses[32] < 0.95


def test_bfloat16_parameters_are_updated_in_fp32_and_rounded_once():
    ours = parameters(torch.bfloat16)
    reference = [p.detach().float() for p in ours]
    paged = PagedAdamW(ours, 1e-2, weight_decay=0.0)
    for p in ours:
        p.grad.fill_(1.0)
    paged.step()
    for p, start in zip(ours, reference, strict=True):
        assert torch.equal(p.detach(), (start - 1e-2).to(torch.bfloat16))


def test_factors_of_rank_16_are_paged_too():
    model = nn.ModuleDict({"proj": qlora.QuantizedLinear.from_linear(nn.Linear(576, 1536, bias=False))})
    attach(model, AdapterConfig(r=16), dtype=torch.float32, seed=0)
    factors = list(adapter_parameters(model))
    assert factors and all(p.numel() < 100_000 for p in factors), "else bitsandbytes would page them"
    paged = PagedAdamW(factors, page_bytes=2**16)
    step(paged, torch.Generator().manual_seed(0))
    state_bytes = 8 * sum(p.numel() for p in factors)
    assert paged.paging_report().device_bytes == state_bytes
    assert paged.evict() == state_bytes
    report = paged.paging_report()
    assert (report.resident_pages, report.device_bytes, report.host_bytes) == (0, 0, state_bytes)


def test_autograd_accumulates_into_the_flat_gradient():
    layer = nn.Linear(4, 3)
    paged = PagedAdamW(layer.parameters())
    for _ in range(2):
        layer(torch.ones(2, 4)).sum().backward()
    assert layer.weight.grad.unique().tolist() == layer.bias.grad.unique().tolist() == [4.0]
    assert paged.parameter_count == 15 and paged.flat_gradient.numel() == 512
    assert paged.gradient_norm() == pytest.approx((15 * 16) ** 0.5)
    paged.scale_gradient(0.5)
    assert layer.weight.grad.unique().tolist() == [2.0]
    paged.zero_grad()
    assert not layer.weight.grad.any()


def test_closing_frees_state_and_gradients_and_keeps_the_parameters():
    ours = parameters()
    with LiveTensorBytes() as meter:
        paged = PagedAdamW(ours, page_bytes=SMALL_PAGE, budget_bytes=5 * SMALL_PAGE)
        flat_bytes = paged.flat.nbytes
        paged.step()
        memory = weakref.ref(paged.pager._host_memory._chunks[0])
        assert meter.live_bytes >= 2 * flat_bytes + 4 * SMALL_PAGE, "else there is nothing to free"
        values = [p.detach().clone() for p in ours]
        before = meter.live_bytes
        paged.close()
        assert meter.live_bytes <= before - flat_bytes - 4 * SMALL_PAGE
    assert memory() is None
    assert all(p.grad is None and torch.equal(p, v) for p, v in zip(ours, values, strict=True))
    paged.close()
    for use in (paged.step, paged.zero_grad, paged.gradient_norm, paged.evict, paged.paging_report, paged.state_dict):
        with pytest.raises(RuntimeError, match="paged optimizer is closed"):
            use()


@pytest.mark.parametrize(
    ("wanted", "options", "message"),
    [
        ([nn.Parameter(torch.ones(2), requires_grad=False)], {}, "no trainable parameter"),
        ([nn.Parameter(torch.ones(2, dtype=d)) for d in (torch.float32, torch.bfloat16)], {}, r"one dtype.*bfloat16"),
        ([nn.Parameter(torch.ones(2))], {"state_bits": 16}, "state_bits must be 32 or 8, got 16"),
    ],
)
def test_what_cannot_be_trained_is_refused(wanted, options, message):
    with pytest.raises(InputError, match=message):
        PagedAdamW(wanted, **options)
