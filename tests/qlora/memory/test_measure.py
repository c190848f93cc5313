import torch
from torch import nn

from qlora.memory.measure import LiveTensorBytes


def test_counts_what_lives_and_forgets_what_is_freed():
    kept = []
    with LiveTensorBytes() as counter:
        kept.append(torch.ones(1000))
        assert counter.live_bytes == 4000
        kept.append(kept[0].view(10, 100))
        kept[0].add_(1)
        assert counter.live_bytes == 4000, "a view and an operation in place hold no memory of their own"
        kept.append(torch.zeros(500, dtype=torch.float64))
        assert counter.live_bytes == 8000
        kept.pop()
        assert (counter.live_bytes, counter.peak_bytes) == (4000, 8000)
        counter.reset_peak()
        kept.clear()
    assert (counter.live_bytes, counter.peak_bytes) == (0, 4000)


def test_counts_activations_that_only_autograd_holds():
    x, weight = torch.randn(8, 16), torch.randn(16, 32, requires_grad=True)
    with LiveTensorBytes() as counter:
        loss = (x @ weight).exp().sum()
        assert counter.live_bytes >= 8 * 32 * 4, "exp keeps its result for the backward pass"
        loss.backward()
        del loss
        held = counter.live_bytes
    assert held == weight.grad.nbytes


def test_checkpointing_keeps_less():
    layers = nn.Sequential(*[nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)) for _ in range(6)])
    x = torch.randn(512, 64, requires_grad=True)

    def peak(run):
        layers.zero_grad(set_to_none=True)
        with LiveTensorBytes() as counter:
            y = x
            for layer in layers:
                y = run(layer, y)
            y.sum().backward()
            return counter.peak_bytes

    plain = peak(lambda layer, y: layer(y))
    saved = peak(lambda layer, y: torch.utils.checkpoint.checkpoint(layer, y, use_reentrant=False))
    assert saved < plain / 2


def test_reports_each_growth():
    seen = []
    with LiveTensorBytes(on_growth=seen.append):
        a = torch.ones(10)
        b = torch.ones(20)
        del a, b
    assert seen == [40, 120]
