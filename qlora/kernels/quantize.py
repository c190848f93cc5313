"""Triton: weights to 4-bit codes, and absmax values to 8-bit codes."""

import functools

import torch
import triton
import triton.language as tl

from qlora.quantization.double_quantization import ABSMAX_BLOCK_SIZE, grid_codes

_TILE_WEIGHTS = 2048
_WARPS = 4
_SMALLEST_ABSMAX = tl.constexpr(1e-38)  # below the smallest normal fp32: a bare constant would become fp64


@triton.jit
def _quantize_4bit(
    weights_ptr,
    thresholds_ptr,
    codes_ptr,
    packed_ptr,
    absmax_ptr,
    count,
    CELLS: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    TILE_BLOCKS: tl.constexpr,
):
    first = tl.program_id(0).to(tl.int64) * TILE_BLOCKS
    # Offsets inside the tile are 32-bit; 64-bit arithmetic for each weight would cost more than the rounding.
    left = tl.minimum(count - first * BLOCK_SIZE, TILE_BLOCKS * BLOCK_SIZE).to(tl.int32)
    block = tl.arange(0, TILE_BLOCKS)
    index = block[:, None] * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[None, :]  # (TILE_BLOCKS, BLOCK_SIZE)
    weights = tl.load(weights_ptr + first * BLOCK_SIZE + index, mask=index < left, other=0.0).to(tl.float32)
    absmax = tl.max(tl.abs(weights), axis=1)  # (TILE_BLOCKS,)
    divisor = tl.maximum(absmax, tl.full((TILE_BLOCKS,), _SMALLEST_ABSMAX, tl.float32))
    reciprocal = tl.div_rn(tl.full((TILE_BLOCKS,), 1.0, tl.float32), divisor)
    if left % BLOCK_SIZE != 0:
        # bitsandbytes divides in a last, shorter block, and multiplies by the reciprocal in all others.
        short = block == left // BLOCK_SIZE
        divided = tl.div_rn(weights, tl.broadcast_to(divisor[:, None], (TILE_BLOCKS, BLOCK_SIZE)))
        scaled = tl.where(short[:, None], divided, weights * reciprocal[:, None])
        absmax = tl.where(short, divisor, absmax)
    else:
        scaled = weights * reciprocal[:, None]
    scaled = tl.minimum(tl.maximum(scaled, -1.0), 1.0)
    # A cell holds one threshold at most, so one comparison decides between the cell's two codes.
    cell = ((scaled + 1.0) * (CELLS / 2)).to(tl.int32)
    pair = tl.load(codes_ptr + cell)
    codes = tl.where(scaled > tl.load(thresholds_ptr + cell), pair >> 4, pair & 15)
    high, low = tl.split(tl.reshape(codes, (TILE_BLOCKS, BLOCK_SIZE // 2, 2)))
    byte = block[:, None] * (BLOCK_SIZE // 2) + tl.arange(0, BLOCK_SIZE // 2)[None, :]
    packed = ((high << 4) | low).to(tl.uint8)
    tl.store(packed_ptr + first * (BLOCK_SIZE // 2) + byte, packed, mask=byte * 2 < left)
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
    if count:
        cells, in_cell, codes = _cells(tuple(thresholds.tolist()), tuple(order.tolist()), weights.device)
        tile_blocks = max(1, _TILE_WEIGHTS // block_size)
        _quantize_4bit[(triton.cdiv(absmax.numel(), tile_blocks),)](
            weights,
            in_cell,
            codes,
            packed,
            absmax,
            count,
            CELLS=cells,
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
) -> tuple[int, torch.Tensor, torch.Tensor]:
    """Cut [-1, 1] into equal cells that hold one threshold at most.

    Returns:
        Number of cells; fp32 (cells + 1,), the threshold inside each cell, or infinity; int32 (cells + 1,), the code
        below it in the low four bits and the code above it in the next four. The last entry is for the value 1 itself.

    Raises:
        ValueError: two thresholds are too close, or one lies on the border of a cell, where rounding could matter.
    """
    inside = [t for t in thresholds if abs(t) <= 1]
    below_all = sum(t < -1 for t in thresholds)
    # Odd numbers of cells, because thresholds such as 0 and 0.75 would lie on the borders of even ones.
    for cells in range(15, 4096, 2):
        places = [int((t + 1) * cells / 2) for t in inside]
        margins = [abs((t + 1) * cells / 2 - round((t + 1) * cells / 2)) for t in inside]
        if len(set(places)) == len(places) and min(margins) > 1e-3:
            break
    else:
        raise ValueError(f"no grid of up to 4095 cells separates the thresholds {thresholds}")
    ranks = [below_all + sum(p < cell for p in places) for cell in range(cells + 1)]
    last = len(order) - 1
    codes = [order[rank] | order[min(rank + 1, last)] << 4 for rank in ranks]
    in_cell = torch.full((cells + 1,), float("inf"))
    in_cell[places] = torch.tensor(inside)
    return cells, in_cell.to(device), torch.tensor(codes, dtype=torch.int32).to(device)
