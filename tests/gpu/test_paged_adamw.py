"""The paged optimizer on a GPU: the kernel against the reference on the CPU, and pages that really leave the device."""

import gc
import random
import weakref

import pytest
import torch
from torch import nn

from qlora.kernels.adamw_op import STATE_BLOCK_BYTES, adamw, state_views
from qlora.optimizer.paged_adamw import PagedAdamW
from qlora.paging.page import Arrival, Move
from qlora.training.pressure import DevicePressure, evict_and_repeat

pytestmark = pytest.mark.gpu

MIB = 2**20
BITS = pytest.mark.parametrize("bits", [32, 8])
# Whole blocks of 256 and not, smaller than a block, and larger than a page of the tests.
SHAPES = ((16, 4096), (11008, 16), (5,), (100, 83), (513, 511))


@pytest.fixture(autouse=True)
def no_leftovers():
    """Memory of earlier tests is given back before a test counts its own."""
    gc.collect()
    torch.cuda.empty_cache()


def parameters(dtype=torch.float32, device="cuda"):
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(device, dtype)) for shape in SHAPES]


def set_gradients(optimizer, step):
    generator = torch.Generator().manual_seed(step)
    for p in optimizer.parameters:
        p.grad.copy_(torch.randn(p.shape, generator=generator) * torch.rand(p.shape, generator=generator) ** 4)


@BITS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_the_kernel_equals_the_reference(bits, dtype):
    blocks = (1000, 1000, 37)
    starts = [0, 256_000, 512_000]
    generator = torch.Generator().manual_seed(0)
    here = torch.randn(sum(blocks) * 256, generator=generator).to(dtype)
    there = here.cuda()
    pages = [torch.zeros(b * STATE_BLOCK_BYTES[bits], dtype=torch.uint8) for b in blocks]
    gpu_pages = [page.cuda() for page in pages]
    for step in range(1, 6):
        gradient = (torch.randn(here.shape, generator=generator) * torch.rand(here.shape, generator=generator)).to(
            dtype
        )
        gradient[512:1024] = 0.0
        settings = (bits, 1e-2, 0.9, 0.999, 1e-8, 0.1, step)
        before = here.clone()
        adamw(here, gradient, pages, starts, *settings)
        adamw(there, gradient.cuda(), gpu_pages, starts, *settings)
        assert not torch.equal(here, before), "else nothing was tested"
        if dtype == torch.float32:
            torch.testing.assert_close(there.cpu(), here, rtol=1e-5, atol=1e-6)
        else:
            assert (there.cpu() != here).float().mean() < 1e-4, "roundings at a tie"
        for a, b in zip(gpu_pages, pages, strict=True):
            for x, y in zip(state_views(a.cpu(), bits), state_views(b, bits), strict=True):
                if x.dtype == torch.uint8:
                    assert (x != y).sum() <= 1e-5 * x.numel() + 1
                    assert (x.int() - y.int()).abs().max() <= 1
                else:
                    torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6 * y.abs().max().item())
        for a, b in zip(gpu_pages, pages, strict=True):  # so that no difference grows
            a.copy_(b)
        there.copy_(here)


@BITS
def test_all_pages_on_the_device_are_updated_in_one_launch(bits):
    optimizer = PagedAdamW(parameters(), state_bits=bits, page_bytes=2**14)
    assert len(optimizer.pager.pages) > 20, "else one launch proves little"
    set_gradients(optimizer, 1)
    optimizer.step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        optimizer.step()
        torch.cuda.synchronize()
    launches = {event.key: event.count for event in profile.key_averages() if "adamw" in event.key}
    assert sum(launches.values()) == 1, launches


def test_equals_torchs_adamw_over_100_steps_while_pages_are_evicted_at_random():
    ours, theirs, happened = parameters(), parameters(), []
    options = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}
    paged = PagedAdamW(ours, 1e-2, page_bytes=2**14, budget_bytes=2**20, on_paging=happened.append, **options)
    plain = torch.optim.AdamW(theirs, 1e-2, **options)
    chooser, visit = random.Random(0), paged.pager.visit

    def interrupted():
        for group in visit():
            yield group
            paged.pager.evict(chooser.sample(range(len(paged.pager.pages)), 3))

    paged.pager.visit = interrupted
    for step in range(1, 101):
        paged.pager.evict(chooser.sample(range(len(paged.pager.pages)), 5))
        set_gradients(paged, step)
        paged.step()
        for a, b in zip(ours, theirs, strict=True):
            b.grad = a.grad.clone()
        plain.step()
        assert paged.pager.resident_bytes <= 2**20
    moves = [h for h in happened if isinstance(h, Move)]
    assert len(moves) > 1000, "else pages hardly moved"
    for a, b in zip(ours, theirs, strict=True):
        # The same bar as on the CPU, in relation to the tensor: torch's CUDA kernels round in another order.
        assert (a - b).abs().max() <= 1e-6 * b.abs().max()


@BITS
def test_any_budget_gives_the_same_bits(bits):
    results = []
    for budget in (None, 2**19, 2**15):
        optimizer = PagedAdamW(parameters(torch.bfloat16), 1e-3, state_bits=bits, page_bytes=2**14, budget_bytes=budget)
        for step in range(1, 11):
            set_gradients(optimizer, step)
            optimizer.step()
        assert (optimizer.paging_report().moves_in > 0) == (budget is not None), "else nothing was compared"
        results.append((optimizer.flat.clone(), optimizer.state_dict()["tensors"]))
    for flat, tensors in results[1:]:
        assert torch.equal(flat, results[0][0])
        assert all(torch.equal(tensors[name], tensor) for name, tensor in results[0][1].items())


def big(bits=32, on_paging=lambda happening: None, budget=None):
    """64 MiB of parameters with 128 MiB of state."""
    optimizer = PagedAdamW(
        [nn.Parameter(torch.randn(4096, 4096, device="cuda"))],
        state_bits=bits,
        budget_bytes=budget,
        on_paging=on_paging,
    )
    optimizer.flat_gradient.normal_()
    optimizer.step()
    return optimizer


def test_evicted_pages_leave_the_device_for_pinned_memory_and_come_back():
    happened = []
    optimizer = big(on_paging=happened.append)
    state = {name: tensor.clone() for name, tensor in optimizer.state_dict()["tensors"].items()}
    before = torch.cuda.memory_allocated()
    assert optimizer.evict("request") == 128 * MIB
    assert before - torch.cuda.memory_allocated() == 128 * MIB
    assert all(memory.is_pinned() for memory in optimizer.pager._host.values())
    report = optimizer.paging_report()
    assert (report.device_bytes, report.host_bytes, report.emulated_device) == (0, 128 * MIB, False)
    torch.full((32 * MIB,), float("nan"), device="cuda")  # 128 MiB: what was given back is overwritten
    after = optimizer.state_dict()["tensors"]
    assert all(torch.equal(after[name], tensor) for name, tensor in state.items())
    optimizer.step()
    moves = [h for h in happened if isinstance(h, Move)]
    assert [m.direction for m in moves] == ["out"] * 64 + ["in"] * 64
    assert {m.reason for m in moves} == {"request", "prefetch", "update"}
    # 2 MiB over any bus: between 1 GB/s and 1 TB/s.
    assert all(2e-3 < m.milliseconds < 2 for m in moves), [m.milliseconds for m in moves]
    arrivals = [h for h in happened if isinstance(h, Arrival)]
    assert len(arrivals) == 64 and any(h.hit for h in arrivals)
    assert all(h.milliseconds == 0 for h in arrivals if h.hit)


def test_pages_prefetched_beside_a_long_computation_are_there_in_time():
    happened = []
    optimizer = big(on_paging=happened.append)
    optimizer.evict()
    happened.clear()
    visit = optimizer.pager.visit
    matrix = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)

    def with_work():
        for number, group in enumerate(visit()):
            yield group
            if number == 0:  # long enough for 128 MiB on a slow bus
                for _ in range(200):
                    matrix @ matrix

    optimizer.pager.visit = with_work
    optimizer.step()
    arrivals = [h for h in happened if isinstance(h, Arrival)]
    assert len(arrivals) == 64
    assert sum(h.hit for h in arrivals) >= 60, "copies run beside the computation"


@BITS
def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(bits):
    whole, first = (PagedAdamW(parameters(), state_bits=bits, page_bytes=2**14, budget_bytes=2**19) for _ in range(2))
    for step in range(1, 7):
        set_gradients(whole, step)
        whole.step()
        if step <= 3:
            set_gradients(first, step)
            first.step()
    second = PagedAdamW(parameters(), state_bits=bits, page_bytes=2**14, budget_bytes=2**19)
    second.flat.copy_(first.flat)
    second.load_state_dict(first.state_dict())
    assert second.pager.resident_pages == first.pager.resident_pages
    assert first.pager.evicted_pages, "else less is proved"
    second.pager.set_other_bytes(2**18)  # pages may leave before the first step too
    second.pager.set_other_bytes(0)
    for step in range(4, 7):
        set_gradients(second, step)
        second.step()
    assert torch.equal(second.flat, whole.flat)


def test_an_optimizer_that_was_never_closed_leaves_no_memory_pinned():
    for _ in range(3):  # the same addresses come again
        optimizer = big()
        optimizer.evict()
        host = weakref.ref(optimizer.pager._host_memory._chunks[0])
        del optimizer
        gc.collect()
        assert host() is None


def test_closing_gives_all_memory_back():
    torch.cuda.synchronize()
    big().close()  # tables and code that stay for good
    before = torch.cuda.memory_allocated()
    optimizer = big(budget=2**28)
    optimizer.evict()
    optimizer.step()
    host = weakref.ref(optimizer.pager._host_memory._chunks[0])
    assert torch.cuda.memory_allocated() - before >= 255 * MIB and host() is not None
    optimizer.close()
    parameter = optimizer.parameters.pop()
    assert torch.cuda.memory_allocated() - before <= parameter.nbytes + MIB
    assert host() is None
    optimizer.close()
    with pytest.raises(RuntimeError, match="closed"):
        optimizer.step()


class Layers(nn.Module):
    def __init__(self, count=8, width=2048):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width, bias=False, device="cuda") for _ in range(count))

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x


def test_activations_push_pages_out_at_layer_boundaries():
    torch.manual_seed(0)
    model, happened = Layers(), []
    optimizer = PagedAdamW(model.parameters(), on_paging=happened.append)  # 128 MiB, 128 MiB, 256 MiB
    optimizer.flat_gradient.normal_()
    optimizer.step()
    free = DevicePressure(model, optimizer)
    x = torch.randn(4096, 2048, device="cuda")  # 32 MiB, and as much twice for each layer
    with free.passes():
        model(x).sum().backward()
    assert free.peak["optimizer"] == 256 * MIB and free.peak["activations"] > 200 * MIB
    assert not happened, "memory is plenty: nothing leaves"
    optimizer.pager.budget_bytes = sum(free.peak.values()) - 200 * MIB
    tight = DevicePressure(model, optimizer)
    with tight.passes():
        model(x).sum().backward()
    optimizer.step()
    reasons = {(h.direction, h.reason) for h in happened if isinstance(h, Move)}
    assert ("out", "activations") in reasons and any(direction == "in" for direction, _ in reasons)


def test_after_a_real_out_of_memory_error_pages_leave_and_the_step_runs_again():
    optimizer = big()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    said = []
    try:
        # 64 MiB more than what is taken, so that 160 MiB fit only when 128 MiB of pages have left.
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 64 * MIB) / total)

        def attempt():
            optimizer.zero_grad()
            return torch.ones(40 * MIB, device="cuda").numel()

        assert evict_and_repeat(attempt, optimizer, said.append) == 40 * MIB
        assert len(said) == 1 and "128 MiB of optimizer pages left the device" in said[0]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    optimizer.step()
    assert optimizer.paging_report().resident_pages == 64


def test_eight_bits_equal_bitsandbytes_on_the_gpu():
    bitsandbytes = pytest.importorskip("bitsandbytes")
    # bitsandbytes decays after the update, we and torch before it: without decay they are the same.
    options = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    ours = PagedAdamW([nn.Parameter(torch.ones(1024, 1024, device="cuda"))], 1e-3, state_bits=8, **options)
    copy = nn.Parameter(torch.ones(1024, 1024, device="cuda"))
    theirs = bitsandbytes.optim.AdamW8bit([copy], 1e-3, **options)
    for step in range(1, 4):
        generator = torch.Generator("cuda").manual_seed(step)
        ours.flat_gradient.normal_(generator=generator)
        copy.grad = ours.parameters[0].grad.clone()
        ours.step()
        theirs.step()
        state, saved = theirs.state[copy], ours.state_dict()["tensors"]
        for name, codes in (("exp_avg", state["state1"]), ("exp_avg_sq", state["state2"])):
            differ = (saved[name] != codes.cpu().flatten()).float().mean()
            assert differ < 1e-2, "they approximate divisions, and give tiny values the next code of the same sign"
        difference = (ours.parameters[0] - copy).abs()
        if step == 1:  # later updates differ where a code does
            # They take 1 - 0.999 in fp32, which is off by 1.3e-5 of itself.
            torch.testing.assert_close(saved["exp_avg_absmax"], state["absmax1"].cpu(), rtol=2e-5, atol=0)
            torch.testing.assert_close(saved["exp_avg_sq_absmax"], state["absmax2"].cpu(), rtol=2e-5, atol=0)
            assert difference.max() < 1e-6
        assert difference.mean() < 1e-5
