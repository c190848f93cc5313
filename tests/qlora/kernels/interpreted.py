"""Run by test_triton.py in a process of its own, with TRITON_INTERPRET=1: the Triton kernels against the reference."""

import torch

import qlora
from qlora.kernels import ops
from qlora.kernels.dequantize import dequantize_4bit
from qlora.kernels.matmul import linear_few_rows
from qlora.kernels.matvec import linear_one_row
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


# Data type, shape of the weight, block size, double quantization, rows: in_features that fill no tile, rows of W that
# fill none, one step and many, parts of a row of W on programs of their own.
PRODUCTS = (
    ("nf4", (19, 256), 64, True, 1),
    ("nf4", (5, 2112), 64, True, 9),
    ("nf4", (7, 512), 128, False, 3),
    ("fp4-e2m1", (5, 576), 64, False, 1),
    ("int4", (5, 576), 64, True, 2),
)


def check_products() -> None:
    for name, shape, block_size, nested, rows in PRODUCTS:
        random = torch.Generator().manual_seed(0)
        weight = torch.randn(shape, generator=random, dtype=torch.float16)
        weight = qlora.quantize(weight, name, block_size=block_size, double_quantization=nested)
        x = torch.randn(rows, shape[1], generator=random, dtype=torch.float16)
        x[:, 3] = 40  # one element much larger than the others, as language models have them
        exact = x.double() @ weight.dequantize(torch.float32).double().T
        plain = (x.float() @ weight.dequantize(torch.float16).float().T).half()
        allowed = 2 * (plain - exact).norm() / exact.norm()
        assert allowed < 1e-3, "the plain product is wrong, so this proves nothing"
        for product in [linear_few_rows, linear_one_row][: 2 if rows == 1 else 1]:
            y = product(x, *weight.tensors(), block_size, shape[0], name)
            error = (y - exact).norm() / exact.norm()
            assert error <= allowed, f"{product.__name__}, {name}, {shape}, {rows} rows: {error} > {allowed}"
        if rows == 1:
            for bad in (float("nan"), float("inf")):
                x[0, 40] = bad
                y = linear_one_row(x, *weight.tensors(), block_size, shape[0], name)
                assert not torch.isfinite(y).any(), f"{bad} in x was lost"


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
    check_products()
    print(f"{len(SHAPES) * len(CASES)} cases equal, {len(PRODUCTS)} products right")


if __name__ == "__main__":
    main()
