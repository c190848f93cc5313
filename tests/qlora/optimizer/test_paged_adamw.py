import random

import pytest
import torch
from torch import nn

from qlora.errors import InputError
from qlora.optimizer.paged_adamw import PagedAdamW

SHAPES = ((16, 33), (7, 16), (5,), (100, 31))


def parameters(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]


def test_equals_torch_adamw_while_pages_come_and_go():
    ours, theirs, moves = parameters(), parameters(), []
    paged = PagedAdamW(ours, 1e-2, weight_decay=0.1, page_bytes=1000, budget_bytes=30_000, on_move=moves.append)
    plain = torch.optim.AdamW(theirs, 1e-2, weight_decay=0.1)
    assert len(paged.pager.pages) > len(SHAPES), "else pages do not cross tensors and this proves less"
    random.seed(0)
    for _ in range(100):
        paged.zero_grad()
        for a, b in zip(ours, theirs, strict=True):
            b.grad = torch.randn_like(b)
            a.grad.add_(b.grad)
        paged.pager.set_other_bytes(random.choice([0, 10_000, 29_000]))
        paged.pager.set_other_bytes(0)
        paged.step()
        plain.step()
    assert len(moves) > 500, "else pages hardly moved"
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_bfloat16_parameters_are_updated_in_fp32_and_rounded_once():
    ours = parameters(torch.bfloat16)
    reference = [p.detach().float() for p in ours]
    paged = PagedAdamW(ours, 1e-2, weight_decay=0.0)
    for p in ours:
        p.grad.fill_(1.0)
    paged.step()
    for p, start in zip(ours, reference, strict=True):
        assert torch.equal(p.detach(), (start - 1e-2).to(torch.bfloat16))


def test_autograd_accumulates_into_the_flat_gradient():
    layer = nn.Linear(4, 3)
    paged = PagedAdamW(layer.parameters())
    for _ in range(2):
        layer(torch.ones(2, 4)).sum().backward()
    assert paged.flat_gradient.tolist() == [4.0] * 15
    assert paged.gradient_norm() == pytest.approx((15 * 16) ** 0.5)
    paged.scale_gradient(0.5)
    assert layer.weight.grad.unique().tolist() == [2.0]
    paged.zero_grad()
    assert not layer.weight.grad.any()


def test_nothing_to_train_is_refused():
    frozen = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(InputError, match="no trainable parameter"):
        PagedAdamW(frozen.parameters())


def test_mixed_dtypes_are_refused():
    mixed = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2, dtype=torch.bfloat16))]
    with pytest.raises(InputError, match=r"share one dtype.*bfloat16.*float32"):
        PagedAdamW(mixed)
