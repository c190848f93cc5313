"""Triton: the product of one row with a 4-bit weight (decoding a language model token by token).

One row leaves the tensor cores nothing to do, and decoding to 16 bit costs more than the bytes take. So the product
runs in integers: the levels are 16-bit fixed-point numbers, and so is x, with a factor for each 32 of its elements.
Both are cut into a high and a low signed byte; a four-way byte product sums what the byte-permute look-ups yield, with
no number put together in between:

    x · level = 2¹⁶ · x_high · level_high + 2⁸ · (x_high · level_low + x_low · level_high)

What is dropped (low times low), and rounding x, is below 2⁻¹⁵ of the largest element of 32: less than the rounding of a
weight to 16 bit, 2⁻⁹ of it for bf16, in the plain product.
"""

import functools

import torch
import triton
import triton.language as tl

from qlora.kernels.lookup import look_up
from qlora.quantization.codebook import codebook
from qlora.quantization.double_quantization import ABSMAX_BLOCK_SIZE

#: Elements of x that share a factor; in_features must be a multiple.
GROUP = 32
# The largest number whose high byte, after rounding to the nearest multiple of 256, fits a signed byte.
_LARGEST = 127 * 256 + 127
_SCALE = tl.constexpr(float(_LARGEST))
_FACTOR = tl.constexpr(256.0 / _LARGEST**2)
_SMALLEST = tl.constexpr(1e-30)
_TILE_OUT = 8
_TILE_WORDS = 256
_WARPS = 4
_LOAD_FOUR = tl.constexpr("ld.global.nc.v4.b32 {$0, $1, $2, $3}, [$4];")


@triton.jit
def _bytes_of_four(values):
    """(…, 4) -> int32 (…,): low bytes in the order in which look-ups yield codes (1, 0, 3, 2)."""
    shift = (tl.arange(0, 4) ^ 1) * 8
    return tl.sum((values & 255) << shift[None, None, :], axis=2)


@triton.jit
def _fix_point(x_ptr, fixed_ptr, factor_ptr, groups, TILE: tl.constexpr):
    """For each 8 elements four words (high 0–3, high 4–7, low 0–3, low 4–7); for each 32 a factor."""
    group = tl.program_id(0) * TILE + tl.arange(0, TILE)
    inside = group < groups
    x = tl.load(x_ptr + group[:, None] * 32 + tl.arange(0, 32)[None, :], mask=inside[:, None], other=0).to(tl.float32)
    smallest = tl.full((TILE,), _SMALLEST, tl.float32)
    largest = tl.maximum(tl.max(tl.abs(x), axis=1), smallest)  # of all zeros: any factor will do
    scaled = x * (tl.full((TILE,), _SCALE, tl.float32) / largest)[:, None]
    rounded = (scaled + tl.where(scaled < 0, -0.5, 0.5)).to(tl.int32)
    high = (rounded + 128) >> 8
    low = rounded - high * 256
    high = _bytes_of_four(tl.reshape(high, (TILE, 8, 4)))  # (TILE, 8)
    low = _bytes_of_four(tl.reshape(low, (TILE, 8, 4)))
    word = group[:, None] * 8 + tl.arange(0, 8)[None, :]
    place = fixed_ptr + word // 2 * 4 + word % 2
    tl.store(place, high, mask=inside[:, None])
    tl.store(place + 2, low, mask=inside[:, None])
    # Zero times infinity or NaN is NaN, which no integer carries: the factor does.
    tl.store(factor_ptr + group, largest * _FACTOR + tl.sum(x * 0.0, axis=1), mask=inside)


@triton.jit
def _byte(word, PLACE: tl.constexpr):
    """Signed byte of the element PLACE of four, from a word of `_bytes_of_four`."""
    return (word << (24 - 8 * (PLACE ^ 1))) >> 24


@triton.jit
def _one_row(
    fixed_ptr,
    factor_ptr,
    packed_ptr,  # int32
    absmax_ptr,
    nested_absmax_ptr,
    offset_ptr,
    nested_codebook_ptr,
    codebook_ptr,
    out_ptr,
    out_features,
    DOT: tl.constexpr,  # PTX; None: the same sums in plain operations, which the interpreter can do
    WORDS: tl.constexpr,  # in a row of W, eight codes each
    BLOCK_SIZE: tl.constexpr,
    ABSMAX_BLOCK: tl.constexpr,
    NESTED: tl.constexpr,
    REACH: tl.constexpr,  # largest level
    TILE_OUT: tl.constexpr,
    TILE_WORDS: tl.constexpr,
):
    GROUPS: tl.constexpr = TILE_WORDS // 4
    STEPS: tl.constexpr = (WORDS + TILE_WORDS - 1) // TILE_WORDS
    EVEN: tl.constexpr = WORDS % TILE_WORDS == 0
    out = tl.program_id(0) * TILE_OUT + tl.arange(0, TILE_OUT)
    row = tl.minimum(out, out_features - 1).to(tl.int64)[:, None]
    offset = tl.load(offset_ptr) if NESTED else 0.0
    total = tl.zeros((TILE_OUT, GROUPS), tl.float32)
    word = tl.arange(0, TILE_WORDS)
    group = tl.arange(0, GROUPS)
    if EVEN:
        following = tl.load(packed_ptr + row * WORDS + word[None, :])
    else:
        following = tl.load(packed_ptr + row * WORDS + word[None, :], mask=(word < WORDS)[None, :], other=0)
    for step in tl.range(0, STEPS, num_stages=1):
        bits = following  # (TILE_OUT, TILE_WORDS)
        here = step * GROUPS + group
        block = row * (WORDS * 8 // BLOCK_SIZE) + (tl.minimum(here, WORDS // 4 - 1) * 32 // BLOCK_SIZE)[None, :]
        scale = tl.load(absmax_ptr + block)
        if NESTED:
            nested = tl.load(nested_absmax_ptr + block // ABSMAX_BLOCK)
        # The next codes are fetched before these are used; the last step fetches some again.
        if EVEN:
            after = tl.minimum(step + 1, STEPS - 1) * TILE_WORDS + word
            following = tl.load(packed_ptr + row * WORDS + after[None, :])
            factor = tl.load(factor_ptr + here)
        else:
            after = (step + 1) * TILE_WORDS + word
            following = tl.load(packed_ptr + row * WORDS + after[None, :], mask=(after < WORDS)[None, :], other=0)
            factor = tl.load(factor_ptr + here, mask=here * 4 < WORDS, other=0.0)
        place = tl.minimum(step * TILE_WORDS + word, WORDS - 1)
        if DOT is not None:
            address = fixed_ptr.to(tl.int64) + place.to(tl.int64) * 16
            high0, high1, low0, low1 = tl.inline_asm_elementwise(
                _LOAD_FOUR, "=r,=r,=r,=r,l", [address], dtype=(tl.int32,) * 4, is_pure=True, pack=1
            )
            sums = tl.inline_asm_elementwise(
                DOT,
                "=r,r,r,r,r,r",
                [bits, high0[None, :], high1[None, :], low0[None, :], low1[None, :]],
                dtype=tl.int32,
                is_pure=True,
                pack=1,
            )
        else:
            sums = tl.zeros((TILE_OUT, TILE_WORDS), tl.int32)
            for code in tl.static_range(8):
                level = tl.load(codebook_ptr + ((bits >> ((code * 4) ^ 4)) & 15)) * (_SCALE / REACH)
                level = (level + tl.where(level < 0, -0.5, 0.5)).to(tl.int32)
                level_high = (level + 128) >> 8
                x_high = _byte(tl.load(fixed_ptr + place * 4 + code // 4), code % 4)
                x_low = _byte(tl.load(fixed_ptr + place * 4 + 2 + code // 4), code % 4)
                sums += x_high[None, :] * level + x_low[None, :] * level_high
        if NESTED:
            scale = tl.load(nested_codebook_ptr + scale.to(tl.int32)) * nested + offset
        sums = tl.sum(tl.reshape(sums, (TILE_OUT, GROUPS, 4)), axis=2)
        total += sums.to(tl.float32) * (factor * REACH)[None, :] * scale
    tl.store(out_ptr + out, tl.sum(total, axis=1).to(out_ptr.dtype.element_ty), mask=out < out_features)


def linear_one_row(
    x: torch.Tensor,
    packed: torch.Tensor,
    absmax: torch.Tensor,
    nested_absmax: torch.Tensor | None,
    offset: torch.Tensor | None,
    nested_codebook: torch.Tensor | None,
    codebook: torch.Tensor,
    block_size: int,
    out_features: int,
    quant_type: str,
) -> torch.Tensor:
    """y = x · Wᵀ for one row; the arguments are those of `ops.quantized_linear`.

    Integer sums are exact and the fp32 sums run in a fixed order: results do not change from run to run.

    Bytes that must move: about 0.516 for each weight (double-quantized), x and y.

    Args:
        x: (1, in_features), fp16 or bf16, contiguous; in_features a multiple of `GROUP` and of the block size (else the
            caller decodes the weight).
    """
    in_features = x.shape[1]
    words, groups = in_features // 8, in_features // GROUP
    fixed = x.new_empty(4 * words, dtype=torch.int32)
    factor = x.new_empty(groups, dtype=torch.float32)
    tile = 32
    _fix_point[(triton.cdiv(groups, tile),)](x, fixed, factor, groups, TILE=tile, num_warps=4)
    nested = nested_absmax is not None
    dot, reach = _dot(quant_type)
    y = x.new_empty(1, out_features)
    _one_row[(triton.cdiv(out_features, _TILE_OUT),)](
        fixed,
        factor,
        packed.view(torch.int32),
        absmax,
        nested_absmax if nested else absmax,
        offset if nested else absmax,
        nested_codebook if nested else absmax,
        codebook,
        y,
        out_features,
        DOT=None if triton.knobs.runtime.interpret else dot,
        WORDS=words,
        BLOCK_SIZE=block_size,
        ABSMAX_BLOCK=ABSMAX_BLOCK_SIZE,
        NESTED=nested,
        REACH=reach,
        TILE_OUT=_TILE_OUT,
        TILE_WORDS=_TILE_WORDS,
        num_warps=_WARPS,
    )
    return y


@functools.cache
def _dot(quant_type: str) -> tuple[str, float]:
    """PTX, and the largest level (8/7 for INT4), which the fixed-point levels are divided by:

    $0 = 256 · Σ x_high · level_high + Σ (x_high · level_low + x_low · level_high) over the eight codes of $1, with x's
    high bytes in $2 and $3 and its low ones in $4 and $5.
    """
    levels = codebook(quant_type).tolist()
    reach = max(map(abs, levels))
    levels = [round(level / reach * _LARGEST) for level in levels]
    high = [(level + 128) >> 8 for level in levels]
    low = [level - 256 * h for level, h in zip(levels, high, strict=True)]
    instructions = f"""{{ .reg .b32 low<2>, high<2>, coarse, fine;
{look_up("$1", low, high)}
dp4a.s32.s32 coarse, high0, $2, 0;
dp4a.s32.s32 coarse, high1, $3, coarse;
dp4a.s32.s32 fine, low0, $2, 0;
dp4a.s32.s32 fine, low1, $3, fine;
dp4a.s32.s32 fine, high0, $4, fine;
dp4a.s32.s32 fine, high1, $5, fine;
mad.lo.s32 $0, coarse, 256, fine;
}}"""
    return instructions, reach
