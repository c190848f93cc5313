"""Run by test_triton.py in a process of its own, with TRITON_INTERPRET=1: the Triton kernels against the reference."""

import torch

import qlora
from qlora.kernels import ops
from qlora.kernels.dequantize import dequantize_4bit
from qlora.kernels.quantize import quantize_4bit, quantize_absmax
from qlora.quantization.codebook import decision_thresholds

# Rows and columns that fit no tile, one row, one column, none, and one weight. Larger ones run in tests/gpu: the
# interpreter takes about 8 ms for each program of a grid.
SHAPES = ((37, 101), (1, 64), (64, 1), (33, 31), (0, 4), (1, 1))
CASES = (
    ("nf4", torch.float32, 64),
    ("nf4", torch.float16, 64),
    ("nf4", torch.float32, 4096),
    ("fp4-e2m1", torch.float32, 64),
    ("fp4-e3m0", torch.float32, 64),
    ("int4", torch.float32, 32),
)


def main() -> None:
    for shape in SHAPES:
        for name, dtype, block_size in CASES:
            where = f"{name}, {shape}, {dtype}, blocks of {block_size}"
            weights = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
            thresholds, order = decision_thresholds(name)
            codes, absmax = ops.quantize(weights, thresholds, order, block_size)
            triton_codes, triton_absmax = quantize_4bit(weights, thresholds, order, block_size)
            assert torch.equal(codes, triton_codes), where
            assert torch.equal(absmax, triton_absmax), where
            for a, b in zip(ops.quantize_absmax(absmax), quantize_absmax(absmax), strict=True):
                assert torch.equal(a, b), where
            for nested in (False, True):
                quantized = qlora.quantize(weights, name, block_size=block_size, double_quantization=nested)
                out = torch.full(shape, float("nan"), dtype=dtype)
                dequantize_4bit(*quantized.tensors(), block_size, out)
                assert torch.equal(out, quantized.dequantize()), where
    print(f"{len(SHAPES) * len(CASES)} cases equal")


if __name__ == "__main__":
    main()
