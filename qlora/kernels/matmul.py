"""Triton: products of a few rows with a 4-bit weight that is decoded on the way into the tensor cores."""

import functools

import torch
import triton
import triton.language as tl

from qlora.kernels.lookup import look_up
from qlora.quantization.codebook import codebook
from qlora.quantization.double_quantization import ABSMAX_BLOCK_SIZE

#: Rows of x up to which this beats decoding the whole weight and calling the library's product (measured; see
#: `qlora bench kernels`).
MOST_ROWS = 32
#: Weights that one product of the tensor cores sums before they are scaled: the block size must be a multiple.
CHUNK = 64
_TILE_OUT = 32
_SLICES = 2
_WARPS = 2
_STAGES = 4
# Programs that keep an H200's 132 processors busy; fewer rows of W than that are cut along in_features too.
_PROGRAMS = 1024
_HALVES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


@triton.jit
def _scales(absmax_ptr, nested_absmax_ptr, nested_codebook_ptr, offset, block, NESTED: tl.constexpr, AB: tl.constexpr):
    scale = tl.load(absmax_ptr + block)
    if NESTED:
        level = tl.load(nested_codebook_ptr + scale.to(tl.int32))
        scale = level * tl.load(nested_absmax_ptr + block // AB) + offset
    return scale


@triton.jit
def _few_rows(
    x_ptr,  # 16-bit numbers, read as pairs of one int32
    packed_ptr,
    absmax_ptr,
    nested_absmax_ptr,
    offset_ptr,
    nested_codebook_ptr,
    codebook_ptr,
    out_ptr,
    rows,
    out_features,
    DECODE: tl.constexpr,  # PTX; None: decode by memory look-ups, which the interpreter can do
    HALF: tl.constexpr,
    CHUNKS: tl.constexpr,  # of a row of W
    CHUNKS_PER_BLOCK: tl.constexpr,
    ABSMAX_BLOCK: tl.constexpr,
    NESTED: tl.constexpr,
    ROWS: tl.constexpr,
    TILE_OUT: tl.constexpr,
    SLICES: tl.constexpr,
    STEPS: tl.constexpr,
    STAGES: tl.constexpr,
):
    PAIRS: tl.constexpr = 32  # bytes of a chunk, and pairs of x that meet them
    BLOCKS: tl.constexpr = CHUNKS // CHUNKS_PER_BLOCK
    out = tl.program_id(0) * TILE_OUT + tl.arange(0, TILE_OUT)
    out_row = tl.minimum(out, out_features - 1).to(tl.int64)
    row = tl.arange(0, ROWS)
    pair = tl.arange(0, PAIRS)
    first = tl.program_id(1) * STEPS * SLICES + tl.arange(0, SLICES)  # chunk of each slice
    offset = tl.load(offset_ptr) if NESTED else 0.0
    total = tl.zeros((SLICES, TILE_OUT, ROWS), tl.float32)
    w_ptrs = packed_ptr + (out_row[None, :, None] * CHUNKS + first[:, None, None]) * PAIRS + pair[None, None, :]
    x_ptrs = x_ptr + (row[None, None, :] * CHUNKS + first[:, None, None]) * PAIRS + pair[None, :, None]
    block = out_row[None, :] * BLOCKS + tl.minimum(first, CHUNKS - 1)[:, None] // CHUNKS_PER_BLOCK
    scale = _scales(absmax_ptr, nested_absmax_ptr, nested_codebook_ptr, offset, block, NESTED, ABSMAX_BLOCK)
    for step in tl.range(0, STEPS, num_stages=STAGES):
        chunk = first + step * SLICES
        inside = (chunk < CHUNKS)[:, None, None]
        w = tl.load(w_ptrs + step * SLICES * PAIRS, mask=inside, other=0)  # (SLICES, TILE_OUT, PAIRS)
        x = tl.load(x_ptrs + step * SLICES * PAIRS, mask=inside & (row < rows)[None, None, :], other=0)
        now = scale
        # The next step's constants are fetched before this step's product, which hides their way.
        block = out_row[None, :] * BLOCKS + tl.minimum(chunk + SLICES, CHUNKS - 1)[:, None] // CHUNKS_PER_BLOCK
        scale = _scales(absmax_ptr, nested_absmax_ptr, nested_codebook_ptr, offset, block, NESTED, ABSMAX_BLOCK)
        if DECODE is not None:
            even, odd = tl.inline_asm_elementwise(
                DECODE, "=r,=r,=r,=r,r", [w], dtype=(tl.int16, tl.int16), is_pure=True, pack=4
            )
            even, odd = even.to(HALF, bitcast=True), odd.to(HALF, bitcast=True)
        else:
            even = tl.load(codebook_ptr + (w >> 4)).to(HALF)
            odd = tl.load(codebook_ptr + (w & 15)).to(HALF)
        product = tl.dot(even, x.to(tl.int16).to(HALF, bitcast=True))  # (SLICES, TILE_OUT, ROWS)
        product = tl.dot(odd, (x >> 16).to(tl.int16).to(HALF, bitcast=True), product)
        total += product * now[:, :, None]
    y = tl.sum(total, axis=0)  # (TILE_OUT, ROWS)
    place = out_ptr + (tl.program_id(1) * rows + row[None, :]).to(tl.int64) * out_features + out[:, None]
    tl.store(place, y.to(out_ptr.dtype.element_ty), mask=(row < rows)[None, :] & (out < out_features)[:, None])


@triton.jit
def _sum_parts(parts_ptr, out_ptr, count, PARTS: tl.constexpr, TILE: tl.constexpr):
    index = tl.program_id(0) * TILE + tl.arange(0, TILE)
    place = parts_ptr + tl.arange(0, PARTS)[:, None] * count + index[None, :]
    parts = tl.load(place, mask=(index < count)[None, :], other=0.0)
    tl.store(out_ptr + index, tl.sum(parts, axis=0).to(out_ptr.dtype.element_ty), mask=index < count)


def linear_few_rows(
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
    """y = x · Wᵀ for 1 to `MOST_ROWS` rows; the arguments are those of `ops.quantized_linear`.

    A level is rounded to x's dtype, the sums are fp32, and a sum over 64 weights is multiplied by its absmax in fp32:
    the error is that of rounding the decoded weight to x's dtype, as in the reference. A row of W is summed in a fixed
    order, so results do not change from run to run.

    Bytes that must move: about 0.516 for each weight (double-quantized), x and y.

    Args:
        x: (rows, in_features), fp16 or bf16, contiguous; in_features a multiple of the block size, and the block size
            of `CHUNK` (else the caller decodes the weight).
    """
    rows, in_features = x.shape
    chunks = in_features // CHUNK
    tiles = triton.cdiv(out_features, _TILE_OUT)
    steps = triton.cdiv(chunks, _SLICES)
    parts = min(8, triton.next_power_of_2(max(1, _PROGRAMS // tiles)), triton.next_power_of_2(steps))
    nested = nested_absmax is not None
    y = x.new_empty(rows, out_features)
    out = y if parts == 1 else x.new_empty((parts, rows, out_features), dtype=torch.float32)
    _few_rows[(tiles, parts)](
        x.view(torch.int32),
        packed,
        absmax,
        nested_absmax if nested else absmax,
        offset if nested else absmax,
        nested_codebook if nested else absmax,
        codebook,
        out,
        rows,
        out_features,
        DECODE=None if triton.knobs.runtime.interpret else _decode(quant_type, x.dtype),
        HALF=_HALVES[x.dtype],
        CHUNKS=chunks,
        CHUNKS_PER_BLOCK=block_size // CHUNK,
        ABSMAX_BLOCK=ABSMAX_BLOCK_SIZE,
        NESTED=nested,
        ROWS=max(8, triton.next_power_of_2(rows)),
        TILE_OUT=_TILE_OUT,
        SLICES=_SLICES,
        STEPS=triton.cdiv(steps, parts),
        STAGES=_STAGES,
        num_warps=_WARPS,
    )
    if parts > 1:
        tile = 256
        _sum_parts[(triton.cdiv(y.numel(), tile),)](out, y, y.numel(), PARTS=parts, TILE=tile, num_warps=4)
    return y


@functools.cache
def _decode(quant_type: str, dtype: torch.dtype) -> str:
    """PTX: four bytes of codes -> four 16-bit levels of their high nibbles, and four of their low ones."""
    bits = codebook(quant_type).to(dtype).view(torch.int16).tolist()
    merge = "\n".join(
        # Bytes 1 and 3 of a look-up's result came from high nibbles, bytes 0 and 2 from low ones.
        f"prmt.b32 ${k}, low{k}, high{k}, 0x7351;\nprmt.b32 ${k + 2}, low{k}, high{k}, 0x6240;"
        for k in range(2)
    )
    decode = look_up("$4", [b & 255 for b in bits], [b >> 8 & 255 for b in bits])
    return f"{{ .reg .b32 low<2>, high<2>;\n{decode}\n{merge}\n}}"
