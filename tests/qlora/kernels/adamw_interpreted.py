"""Run by test_adamw.py in a process of its own, with TRITON_INTERPRET=1: the optimizer's kernel against its reference.

bf16 is left to tests/gpu, because the interpreter rounds it wrongly."""

import torch

from qlora.kernels.adamw import adamw_pages
from qlora.kernels.adamw_op import STATE_BLOCK_BYTES, adamw, state_views

BLOCKS = (5, 5, 2)  # of each page: programs of four blocks end inside a page


def pages(bits):
    return [torch.zeros(blocks * STATE_BLOCK_BYTES[bits], dtype=torch.uint8) for blocks in BLOCKS]


def main() -> None:
    starts = [0, 5 * 256, 10 * 256]
    for bits in (32, 8):
        for dtype in (torch.float32, torch.float16):
            generator = torch.Generator().manual_seed(0)
            expected = torch.randn(12 * 256, generator=generator).to(dtype)
            ours = expected.clone()
            expected_pages, our_pages = pages(bits), pages(bits)
            for step in (1, 2, 3):
                gradient = torch.randn(expected.shape, generator=generator)
                gradient *= torch.rand(expected.shape, generator=generator) ** 4
                gradient[256:512] = 0.0
                gradient = gradient.to(dtype)
                settings = (bits, 1e-2, 0.9, 0.999, 1e-8, 0.1, step)
                before = expected.clone()
                adamw(expected, gradient, expected_pages, starts, *settings)
                adamw_pages(ours, gradient, our_pages, starts, *settings)
                where = f"{bits} bits, {dtype}, step {step}"
                # torch fuses products with sums on some CPUs; where a mean cancels, that is more than its last bit.
                update = (expected - before).abs().max().item()
                torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-5 * update)
                for a, b in zip(our_pages, expected_pages, strict=True):
                    for part, (x, y) in enumerate(zip(state_views(a, bits), state_views(b, bits), strict=True)):
                        if x.dtype == torch.uint8:
                            assert torch.equal(x, y), f"{where}: codes {part}"
                        else:
                            torch.testing.assert_close(x, y, rtol=2e-6, atol=2e-7 * y.abs().max().item())
                assert not torch.equal(expected, before), "else nothing was tested"
    # A page alone is updated as it is among others, and no other is touched.
    before = ours.clone()
    adamw_pages(ours, gradient, our_pages[1:2], starts[1:2], *settings)
    assert torch.equal(ours[:1280], before[:1280]) and torch.equal(ours[2560:], before[2560:])
    assert not torch.equal(ours[1280:2560], before[1280:2560])
    print("12 steps equal")


if __name__ == "__main__":
    main()
