"""The levels of every data type, and how NormalFloat's levels arise. This is their only copy."""

import functools
from statistics import NormalDist

import torch

# Constants name the CPU: models are built under `torch.device("meta")`, where a cached constant must not be born.

# Appendix E of the paper, to the last printed digit; bitsandbytes stores the same sixteen. `normal_float(4)` derives
# them to 2.2e-7, but files must agree to the bit, so the printed values are the ones in force.
NF4_LEVELS = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)

# Sign, two exponent bits, one mantissa bit, in the order of the bit pattern, before division by 12. These are the
# levels of bitsandbytes' "fp4": its smallest magnitude is 0.0625, where IEEE-style E2M1 would have 0.5 * 2.
_FP4_E2M1 = (0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0)
# Sign and three exponent bits: zero and seven powers of two.
_FP4_E3M0 = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)

#: Names that `codebook` understands. "nf2" … "nf8" are NormalFloat with that many bits.
CODEBOOKS = ("nf4", "fp4-e2m1", "fp4-e3m0", "int4", "nf2", "nf3", "nf5", "nf6", "nf7", "nf8")


def normal_float(bits: int) -> torch.Tensor:
    """Derive the 2^bits levels of NormalFloat from the quantiles of N(0, 1).

    With k bits, the positive half takes 2^(k-1) quantiles and the negative half 2^(k-1) - 1, each equally spaced in
    probability between 1/2 and 1 - delta, where delta = (1 / (2 (2^k - 1)) + 1 / (2 · 2^k)) / 2; zero is added once,
    and everything is divided by the largest level, so that the levels span [-1, 1] and hold an exact zero.

    Source: section 3 and Appendix E of the paper. Equation 4 read literally (the mean of neighbouring quantiles of
    2^k + 1) gives an infinite first level and -0.769 for the second, where Appendix E has -0.696; the construction
    here reproduces Appendix E to 2.2e-7.

    Args:
        bits: k, from 2 to 8.

    Returns:
        fp32 tensor of shape (2^bits,), ascending.

    Raises:
        ValueError: bits is outside 2 to 8.
    """
    if not 2 <= bits <= 8:
        raise ValueError(f"NormalFloat is defined here for 2 to 8 bits, got {bits}")
    half = 2 ** (bits - 1)
    delta = (1 / (2 * (2**bits - 1)) + 1 / (2 * 2**bits)) / 2
    positive = _upper_quantiles(half, delta)
    negative = [-level for level in _upper_quantiles(half - 1, delta)]
    levels = sorted([*negative, 0.0, *positive])
    return torch.tensor([level / levels[-1] for level in levels], dtype=torch.float32, device="cpu")


def _upper_quantiles(count: int, delta: float) -> list[float]:
    """`count` quantiles of N(0, 1), equally spaced in probability from 1 - delta down to, but without, 1/2."""
    normal, top = NormalDist(), 1 - delta
    return [normal.inv_cdf(top - i * (top - 0.5) / count) for i in range(count)]


@functools.cache
def codebook(name: str) -> torch.Tensor:
    """The levels of a data type, scaled to [-1, 1], indexed by code.

    NormalFloat ascends with the code. The FP4 types are indexed by their bit pattern (sign in the highest bit), as
    bitsandbytes does. INT4 is two's complement with an offset: code c stands for (c - 8) / 7, so that code 0 (which
    would be -8/7) is never chosen by absmax scaling.

    Args:
        name: one of `CODEBOOKS`.

    Returns:
        fp32 tensor of shape (2^bits,) on the CPU. It is shared: do not write to it.

    Raises:
        ValueError: unknown name.
    """
    if name == "nf4":
        return torch.tensor(NF4_LEVELS, dtype=torch.float32, device="cpu")
    if name == "fp4-e2m1":
        return _signed(_FP4_E2M1)
    if name == "fp4-e3m0":
        return _signed(_FP4_E3M0)
    if name == "int4":
        return (torch.arange(16, dtype=torch.float32, device="cpu") - 8) / 7
    if name in CODEBOOKS:
        return normal_float(int(name[2:]))
    raise ValueError(f"unknown data type {name!r}: expected one of {', '.join(CODEBOOKS)}")


def bits_of(name: str) -> int:
    """Bits of one code of the data type `name`."""
    return codebook(name).numel().bit_length() - 1


@functools.cache
def decision_thresholds(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Where rounding to the nearest level changes its answer.

    Returns:
        (thresholds, order): fp32 (2^bits - 1,), the midpoints between neighbouring levels, ascending; and uint8
        (2^bits,), the code of the i-th smallest level. A value v gets code ``order[number of thresholds < v]``, so a
        tie goes to the lower level.
    """
    levels = codebook(name)
    order = torch.argsort(levels)
    ascending = levels[order]
    return (ascending[:-1] + ascending[1:]) / 2, order.to(torch.uint8)


def _signed(magnitudes: tuple[float, ...]) -> torch.Tensor:
    levels = torch.tensor(magnitudes, dtype=torch.float32, device="cpu")
    levels = levels / levels.max()
    return torch.cat([levels, -levels])


@functools.cache
def dynamic_map(signed: bool = True) -> torch.Tensor:
    """The 8-bit dynamic data type: of the quantized absmax values (the paper's "FP8" for c2) and of 8-bit optimizers.

    One sign bit; the number of leading zeros is a decimal exponent from 0 to -6; the remaining bits are a linear
    fraction: with exponent -6 + i there are 2^i values, the centres of equal parts of [0.1, 1], times that power of
    ten. Without a sign, that bit goes to the fraction, so that there are 2^(i + 1) values. Zero and one are added.

    Source: Dettmers, "8-Bit Approximations for Parallelism in Deep Learning", arXiv 1511.04561, and bitsandbytes'
    ``create_dynamic_map``.

    Args:
        signed: whether there are negative values.

    Returns:
        fp32 tensor of shape (256,), ascending, from -0.992968… or from 0, to 1. It is shared: do not write to it.
    """
    magnitudes: list[float] = []
    for i in range(7):
        edges = torch.linspace(0.1, 1, 2 ** (i if signed else i + 1) + 1, dtype=torch.float32, device="cpu")
        magnitudes += (10.0 ** (i - 6) * ((edges[:-1] + edges[1:]) / 2)).tolist()
    negative = [-m for m in magnitudes] if signed else []
    return torch.tensor(sorted([*magnitudes, *negative, 0.0, 1.0]), dtype=torch.float32, device="cpu")
