"""Triton: 4-bit codes to weights, the nested constants fused in."""

import torch
import triton
import triton.language as tl

from qlora.quantization.double_quantization import ABSMAX_BLOCK_SIZE

_LEVELS = tl.constexpr(16)
# Codes in a 32-bit word. One word a thread makes the loads and the 16-byte stores of a warp contiguous.
_CODES_PER_WORD = 8
_TILE_WORDS = 256
_WARPS = 2


@triton.jit
def _dequantize_4bit(
    packed_ptr,
    absmax_ptr,
    nested_absmax_ptr,
    offset_ptr,
    nested_codebook_ptr,
    codebook_ptr,
    out_ptr,
    count,
    BLOCK_SIZE: tl.constexpr,
    ABSMAX_BLOCK: tl.constexpr,
    NESTED: tl.constexpr,
    CODES: tl.constexpr,  # codes in one loaded unit: 8 in a 32-bit word, 2 in a byte
    TILE: tl.constexpr,  # units of one program
):
    # Shared memory answers all threads of a warp at once; sixteen look-ups in global memory would not.
    levels = tl.load(codebook_ptr + tl.arange(0, _LEVELS))
    unit = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)  # (TILE,)
    inside = unit * CODES < count
    # Codes are read once and weights are not read here: neither should push other data out of the cache.
    bits = tl.load(packed_ptr + unit, mask=inside, other=0, eviction_policy="evict_first").to(tl.int32)
    block = unit // (BLOCK_SIZE // CODES)
    if NESTED:
        level = tl.load(nested_codebook_ptr + tl.load(absmax_ptr + block, mask=inside, other=0).to(tl.int32))
        scale = level * tl.load(nested_absmax_ptr + block // ABSMAX_BLOCK, mask=inside, other=0.0)
        scale += tl.load(offset_ptr)
    else:
        scale = tl.load(absmax_ptr + block, mask=inside, other=0.0)
    place = tl.arange(0, CODES)
    # The first code of each byte is its high nibble: shifts 4, 0, 12, 8, …
    codes = (bits[:, None] >> ((place * 4) ^ 4)[None, :]) & 15  # (TILE, CODES)
    weights = tl.reshape(tl.gather(levels, tl.reshape(codes, (TILE * CODES,)), 0), (TILE, CODES)) * scale[:, None]
    index = unit[:, None] * CODES + place[None, :]
    tl.store(out_ptr + index, weights.to(out_ptr.dtype.element_ty), mask=index < count, cache_modifier=".cs")


def dequantize_4bit(
    packed: torch.Tensor,
    absmax: torch.Tensor,
    nested_absmax: torch.Tensor | None,
    offset: torch.Tensor | None,
    nested_codebook: torch.Tensor | None,
    codebook: torch.Tensor,
    block_size: int,
    out: torch.Tensor,
) -> torch.Tensor:
    """Decode into `out`; the arguments are those of `ops.dequantize` for a codebook of sixteen levels.

    Bytes that must move: 1/2 + 1/64 (nested: 1 byte and a 256th of 4 for each block) a weight in, the dtype's size out.
    The products are rounded as in the reference (no fused multiply-add), so the results are equal to the bit.

    Args:
        out: contiguous, of the result's shape and dtype, on the device of `packed`.

    Returns:
        `out`.
    """
    count = out.numel()
    if not count:
        return out
    nested = nested_absmax is not None
    if packed.numel() % 4 == 0 and packed.data_ptr() % 4 == 0:
        packed, codes = packed.view(torch.int32), _CODES_PER_WORD
    else:
        codes = 2
    grid = (triton.cdiv(count, _TILE_WORDS * codes),)
    _dequantize_4bit[grid](
        packed,
        absmax,
        nested_absmax if nested else absmax,
        offset if nested else absmax,
        nested_codebook if nested else absmax,
        codebook,
        out,
        count,
        BLOCK_SIZE=block_size,
        ABSMAX_BLOCK=ABSMAX_BLOCK_SIZE,
        NESTED=nested,
        CODES=codes,
        TILE=_TILE_WORDS,
        num_warps=_WARPS,
        enable_fp_fusion=False,
    )
    return out
