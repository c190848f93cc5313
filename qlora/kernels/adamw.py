"""Triton: one AdamW step of any number of pages in one launch."""

import functools

import torch
import triton
import triton.language as tl

from qlora.kernels.adamw_op import STATE_BLOCK_BYTES
from qlora.quantization.codebook import dynamic_map
from qlora.quantization.dynamic_blockwise import (
    CELLS,
    DROPPED_BITS,
    FIRST_CELL,
    STATE_BLOCK_SIZE,
    rounding_cells,
)

_WARPS = 4
# Blocks of 256 parameters in one program.
_TILE_BLOCKS = {32: 4, 8: 4}

_DROPPED_BITS = tl.constexpr(DROPPED_BITS)
_FIRST_CELL = tl.constexpr(FIRST_CELL)
_CELLS = tl.constexpr(CELLS)


@triton.jit
def _decode(codes_ptr, absmax_ptr, levels_ptr, index, inside, block, exists):
    codes = tl.load(codes_ptr + index, mask=inside, other=0).to(tl.int32)
    absmax = tl.load(absmax_ptr + block, mask=exists, other=0.0)
    return tl.load(levels_ptr + codes) * absmax[:, None]


@triton.jit
def _encode(
    values, codes_ptr, absmax_ptr, thresholds_ptr, below_ptr, index, inside, block, exists, TILE_BLOCKS: tl.constexpr
):
    absmax = tl.max(tl.abs(values), axis=1)  # (TILE_BLOCKS,)
    zero = absmax == 0.0
    divisor = tl.where(zero, tl.full((TILE_BLOCKS,), 1.0, tl.float32), absmax)
    scaled = values * tl.div_rn(tl.full((TILE_BLOCKS,), 1.0, tl.float32), divisor)[:, None]
    scaled = tl.minimum(tl.maximum(scaled, -1.0), 1.0)
    cell = (tl.abs(scaled).to(tl.int32, bitcast=True) >> _DROPPED_BITS) - _FIRST_CELL
    cell = tl.maximum(cell, 0) + tl.where(scaled < 0.0, _CELLS, 0)
    codes = tl.load(below_ptr + cell).to(tl.int32) + (scaled > tl.load(thresholds_ptr + cell)).to(tl.int32)
    tl.store(codes_ptr + index, tl.where(zero[:, None], 0, codes).to(tl.uint8), mask=inside)
    tl.store(absmax_ptr + block, absmax, mask=exists)


@triton.jit
def _adamw(
    parameters_ptr,
    gradient_ptr,
    pages_ptr,  # for each page: its address, its first parameter, its blocks
    levels_ptr,  # of the signed, then of the unsigned data type; the two tables below likewise
    thresholds_ptr,
    below_ptr,
    tiles,  # programs for one page
    decay,
    mean_weight,
    beta2,
    square_weight,
    step_size,
    root_correction,
    eps,
    STATE_BITS: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE_BLOCKS: tl.constexpr,
):
    program = tl.program_id(0)
    entry = pages_ptr + (program // tiles) * 3
    address = tl.load(entry)
    start = tl.multiple_of(tl.load(entry + 1), BLOCK)
    count = tl.multiple_of((tl.load(entry + 2) * BLOCK).to(tl.int32), BLOCK)
    block = (program % tiles) * TILE_BLOCKS + tl.arange(0, TILE_BLOCKS)  # (TILE_BLOCKS,), of the page
    exists = block * BLOCK < count
    index = block[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]  # (TILE_BLOCKS, BLOCK)
    inside = index < count
    parameter = tl.load(parameters_ptr + start + index, mask=inside, other=0.0)
    gradient = tl.load(gradient_ptr + start + index, mask=inside, other=0.0).to(tl.float32)
    if STATE_BITS == 32:
        mean_ptr = tl.multiple_of(address.to(tl.pointer_type(tl.float32)), 16)
        square_ptr = tl.multiple_of(mean_ptr + count, 16)
        mean = tl.load(mean_ptr + index, mask=inside, other=0.0)
        square = tl.load(square_ptr + index, mask=inside, other=0.0)
    else:
        mean_ptr = tl.multiple_of(address.to(tl.pointer_type(tl.uint8)), 16)
        square_ptr = tl.multiple_of(mean_ptr + count, 16)
        mean_absmax_ptr = (address + 2 * count).to(tl.pointer_type(tl.float32))
        square_absmax_ptr = mean_absmax_ptr + count // BLOCK
        mean = _decode(mean_ptr, mean_absmax_ptr, levels_ptr, index, inside, block, exists)
        square = _decode(square_ptr, square_absmax_ptr, levels_ptr + 256, index, inside, block, exists)
    mean += (gradient - mean) * mean_weight
    square = square * beta2 + square_weight * gradient * gradient
    denominator = tl.div_rn(tl.sqrt_rn(square), tl.zeros_like(square) + root_correction) + eps
    updated = parameter.to(tl.float32) * decay - step_size * tl.div_rn(mean, denominator)
    tl.store(parameters_ptr + start + index, updated.to(parameters_ptr.dtype.element_ty), mask=inside)
    if STATE_BITS == 32:
        tl.store(mean_ptr + index, mean, mask=inside)
        tl.store(square_ptr + index, square, mask=inside)
    else:
        _encode(mean, mean_ptr, mean_absmax_ptr, thresholds_ptr, below_ptr, index, inside, block, exists, TILE_BLOCKS)
        thresholds_ptr += 2 * _CELLS
        below_ptr += 2 * _CELLS
        _encode(
            square, square_ptr, square_absmax_ptr, thresholds_ptr, below_ptr, index, inside, block, exists, TILE_BLOCKS
        )


def adamw_pages(
    parameters: torch.Tensor,
    gradient: torch.Tensor,
    pages: list[torch.Tensor],
    starts: list[int],
    state_bits: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
) -> None:
    """`adamw_op.adamw_reference` as one launch, however many pages there are.

    The launch reads the pages' addresses from a small table on the device, which is made again only when other pages
    are updated than before. Bytes that must move for a parameter: 16 of state with 32 bits, 4.06 with 8, its gradient
    once and itself twice.

    Args: those of `adamw_op.adamw_reference`, which the caller has checked.
    """
    if not pages:
        return
    blocks = tuple(page.numel() // STATE_BLOCK_BYTES[state_bits] for page in pages)
    tiles = triton.cdiv(max(blocks), _TILE_BLOCKS[state_bits])
    table = _table(tuple(page.data_ptr() for page in pages), tuple(starts), blocks, parameters.device)
    _adamw[(tiles * len(pages),)](
        parameters,
        gradient,
        table,
        *_data_types(parameters.device),
        tiles,
        1 - learning_rate * weight_decay,
        1 - beta1,
        beta2,
        1 - beta2,
        learning_rate / (1 - beta1**step),
        (1 - beta2**step) ** 0.5,
        eps,
        STATE_BITS=state_bits,
        BLOCK=STATE_BLOCK_SIZE,
        TILE_BLOCKS=_TILE_BLOCKS[state_bits],
        num_warps=_WARPS,
        enable_fp_fusion=False,
    )


@functools.lru_cache(maxsize=64)
def _table(addresses: tuple[int, ...], starts: tuple[int, ...], blocks: tuple[int, ...], device: torch.device):
    """int64 (pages, 3) on `device`."""
    table = torch.tensor(list(zip(addresses, starts, blocks, strict=True)), dtype=torch.int64)
    # From memory that is not pinned, the copy would wait for all that the device has still to do.
    return table.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else table


@functools.cache
def _data_types(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The levels of the signed and of the unsigned data type, fp32 (512,), and their `rounding_cells`, on `device`."""
    thresholds, below = zip(*(rounding_cells(signed) for signed in (True, False)), strict=True)
    levels = torch.cat([dynamic_map(True), dynamic_map(False)])
    return levels.to(device), torch.cat(thresholds).to(device), torch.cat(below).to(device)
