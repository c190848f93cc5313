"""Triton: weights to 4-bit codes, and absmax values to 8-bit codes."""

import functools
import itertools
import math

import torch
import triton
import triton.language as tl

from qlora.quantization.double_quantization import ABSMAX_BLOCK_SIZE, grid_codes

# One warp a program: the threads of a block then talk by shuffles alone, without barriers.
_TILE_WEIGHTS = 1024
_WARPS = 1
_SMALLEST_ABSMAX = tl.constexpr(1e-38)  # below the smallest normal fp32: a bare constant would become fp64
# 1.5 · 2²³: added to a number below 2²², its last bits become the number rounded to an integer.
_ROUNDER = tl.constexpr(12582912.0)


@triton.jit
def _larger(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _quantize_4bit(
    weights_ptr,
    table_ptr,
    packed_ptr,
    absmax_ptr,
    count,
    first_tile,
    WHOLE: tl.constexpr,  # every tile is: without masks the loads and stores are 16 bytes wide
    CELLS: tl.constexpr,
    SPREAD: tl.constexpr,
    ASCENDING: tl.constexpr,  # a larger level has a larger code, so the code above a threshold is the next one
    BLOCK_SIZE: tl.constexpr,
    TILE_BLOCKS: tl.constexpr,
):
    first = (first_tile + tl.program_id(0)).to(tl.int64) * TILE_BLOCKS
    block = tl.arange(0, TILE_BLOCKS)
    # Offsets inside the tile are 32-bit; 64-bit arithmetic for each weight would cost more than the rounding.
    index = block[:, None] * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[None, :]  # (TILE_BLOCKS, BLOCK_SIZE)
    byte = block[:, None] * (BLOCK_SIZE // 2) + tl.arange(0, BLOCK_SIZE // 2)[None, :]
    weights_ptr += first * BLOCK_SIZE
    packed_ptr += first * (BLOCK_SIZE // 2)
    if WHOLE:
        weights = tl.load(weights_ptr + index).to(tl.float32)
    else:
        left = (count - first * BLOCK_SIZE).to(tl.int32)
        weights = tl.load(weights_ptr + index, mask=index < left, other=0.0).to(tl.float32)
    absmax = tl.reduce(tl.abs(weights), 1, _larger)  # (TILE_BLOCKS,)
    smallest = tl.full((TILE_BLOCKS,), _SMALLEST_ABSMAX, tl.float32)
    divisor = tl.maximum(absmax, smallest)
    scaled = weights * tl.div_rn(tl.full((TILE_BLOCKS,), 1.0, tl.float32), divisor)[:, None]
    if not WHOLE:
        # bitsandbytes divides in a last, shorter block, and multiplies by the reciprocal in all others.
        short = (block == left // BLOCK_SIZE) & (left % BLOCK_SIZE != 0)
        divided = tl.div_rn(weights, tl.broadcast_to(divisor[:, None], (TILE_BLOCKS, BLOCK_SIZE)))
        scaled = tl.where(short[:, None], divided, scaled)
        absmax = tl.where(short, _larger(absmax, smallest), absmax)
    # A cell holds one threshold at most, so one comparison decides between the cell's two codes. Whatever the number,
    # NaN too, the cell is one of the table.
    spread = tl.full((TILE_BLOCKS, BLOCK_SIZE), SPREAD, tl.float32)
    rounder = tl.full((TILE_BLOCKS, BLOCK_SIZE), _ROUNDER, tl.float32)
    cell = tl.fma(scaled, spread, rounder).to(tl.int32, bitcast=True) & (CELLS - 1)
    if CELLS <= 32:
        # One entry for each thread of a warp: looking up is one exchange between threads.
        lane = tl.arange(0, CELLS)
        flat = tl.reshape(cell, (TILE_BLOCKS * BLOCK_SIZE,))
        threshold = tl.reshape(tl.gather(tl.load(table_ptr + lane), flat, 0), (TILE_BLOCKS, BLOCK_SIZE))
        pair = tl.reshape(tl.gather(tl.load(table_ptr + CELLS + lane), flat, 0), (TILE_BLOCKS, BLOCK_SIZE))
    else:
        threshold = tl.load(table_ptr + cell)
        pair = tl.load(table_ptr + CELLS + cell)
    # The sign of the difference is the comparison.
    below = (threshold.to(tl.float32, bitcast=True) - scaled).to(tl.int32, bitcast=True) >> 31  # -1 or 0
    codes = pair - below if ASCENDING else (pair >> (below & 4)) & 15
    high, low = tl.split(tl.reshape(codes, (TILE_BLOCKS, BLOCK_SIZE // 2, 2)))
    packed = (high * 16 + low).to(tl.uint8)
    if WHOLE:
        tl.store(packed_ptr + byte, packed)
        tl.store(absmax_ptr + first + block, absmax)
    else:
        tl.store(packed_ptr + byte, packed, mask=byte * 2 < left)
        tl.store(absmax_ptr + first + block, absmax, mask=block * BLOCK_SIZE < left)


@triton.jit
def _quantize_absmax(
    absmax_ptr,
    offset_ptr,
    grid_ptr,
    codes_ptr,
    nested_absmax_ptr,
    count,
    BLOCK: tl.constexpr,
    TILE_BLOCKS: tl.constexpr,
):
    block = tl.program_id(0).to(tl.int64) * TILE_BLOCKS + tl.arange(0, TILE_BLOCKS)
    index = block[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]  # (TILE_BLOCKS, BLOCK)
    inside = index < count
    offset = tl.load(offset_ptr)
    centred = tl.where(inside, tl.load(absmax_ptr + index, mask=inside, other=0.0) - offset, 0.0)
    nested_absmax = tl.max(tl.abs(centred), axis=1)
    constant = nested_absmax == 0.0  # every value equals the mean; any code decodes to it, bitsandbytes stores 0
    divisor = tl.where(constant, tl.full((TILE_BLOCKS,), 1.0, tl.float32), nested_absmax)
    scaled = centred * tl.div_rn(tl.full((TILE_BLOCKS,), 1.0, tl.float32), divisor)[:, None]
    scaled = tl.minimum(tl.maximum(scaled, -1.0), 1.0)
    point = ((scaled + 1.0) * 0.5 * 65535 + 0.5).to(tl.int32)
    codes = tl.where(constant[:, None], 0, tl.load(grid_ptr + point).to(tl.int32))
    tl.store(codes_ptr + index, codes.to(tl.uint8), mask=inside)
    tl.store(nested_absmax_ptr + block, nested_absmax, mask=block * BLOCK < count)


def quantize_4bit(
    weights: torch.Tensor, thresholds: torch.Tensor, order: torch.Tensor, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`ops.quantize` for sixteen levels, with the same roundings as the reference.

    Args:
        weights: contiguous, floating.
        thresholds, order, block_size: as in `ops.quantize`; the first two on the CPU, so that nothing waits for the
            device.
    """
    count = weights.numel()
    packed = weights.new_empty((count + 1) // 2, dtype=torch.uint8)
    absmax = weights.new_empty(-(-count // block_size), dtype=torch.float32)
    cells, spread, ascending, table = _cells(tuple(thresholds.tolist()), tuple(order.tolist()), weights.device)
    tile_blocks = max(1, _TILE_WEIGHTS // block_size)
    whole, rest = divmod(count, tile_blocks * block_size)
    # A program of its own for what is left: masks and the short block's division would cost the others registers.
    for first_tile, tiles in ((0, whole), (whole, int(rest > 0))):
        if tiles:
            _quantize_4bit[(tiles,)](
                weights,
                table,
                packed,
                absmax,
                count,
                first_tile,
                WHOLE=first_tile < whole,
                CELLS=cells,
                SPREAD=spread,
                ASCENDING=ascending,
                BLOCK_SIZE=block_size,
                TILE_BLOCKS=tile_blocks,
                num_warps=_WARPS,
                enable_fp_fusion=False,
            )
    return packed, absmax


def quantize_absmax(absmax: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`double_quantization.quantize_absmax` in one pass after the mean."""
    count = absmax.numel()
    offset = absmax.mean() if count else absmax.new_zeros(())
    codes = torch.empty_like(absmax, dtype=torch.uint8)
    nested_absmax = absmax.new_empty(-(-count // ABSMAX_BLOCK_SIZE))
    if count:
        tile_blocks = 4
        _quantize_absmax[(triton.cdiv(nested_absmax.numel(), tile_blocks),)](
            absmax,
            offset,
            _grid(absmax.device),
            codes,
            nested_absmax,
            count,
            BLOCK=ABSMAX_BLOCK_SIZE,
            TILE_BLOCKS=tile_blocks,
            num_warps=4,
            enable_fp_fusion=False,
        )
    return codes, nested_absmax, offset


@functools.cache
def _grid(device: torch.device) -> torch.Tensor:
    return grid_codes().to(device)


@functools.cache
def _cells(
    thresholds: tuple[float, ...], order: tuple[int, ...], device: torch.device
) -> tuple[int, float, bool, torch.Tensor]:
    """Cut [-1, 1] into cells round(spread · x) that hold one threshold at most.

    Returns:
        Number of cells, a power of two; `spread`; whether codes ascend with the levels; int32 (2 · cells,), indexed by
        the cell's last bits (negative cells come last): the bits of the fp32 threshold inside each cell, or of
        infinity, then the code below it, and, where codes do not ascend, the code above it in the next four bits.

    Raises:
        ValueError: two thresholds are too close, or one lies on the border of a cell, where rounding could matter.
    """
    inside = [t for t in thresholds if abs(t) <= 1]
    below_all = sum(t < -1 for t in thresholds)
    # 32 cells fit the lanes of a warp. A spread below cells / 2 - 1 keeps what rounds to slightly beyond ±1 inside.
    for cells, k in itertools.product((32, 64, 128, 256, 512, 1024, 2048, 4096), range(60)):
        spread = cells / 4 * (1 + k / 70)
        places = [math.floor(t * spread + 0.5) for t in inside]
        margins = [abs(t * spread + 0.5 - round(t * spread + 0.5)) for t in (*inside, 1.0)]
        if len(set(places)) == len(places) and min(margins) > 1e-2:
            break
    else:
        raise ValueError(f"no grid of up to 4096 cells separates the thresholds {thresholds}")
    spread = torch.tensor(spread).item()  # as the kernel has it, in fp32
    last = len(order) - 1
    ascending = order == tuple(range(len(order)))
    in_cell = torch.full((cells,), float("inf"))
    codes = torch.empty(cells, dtype=torch.int32)
    for cell in range(-cells // 2, cells // 2):
        rank = below_all + sum(place < cell for place in places)
        codes[cell] = order[rank] if ascending else order[rank] | order[min(rank + 1, last)] << 4
    in_cell[places] = torch.tensor(inside)
    return cells, spread, ascending, torch.cat([in_cell.view(torch.int32), codes]).to(device)
