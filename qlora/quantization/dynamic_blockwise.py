"""Optimizer state in 8 bits: the dynamic data type in blocks of 256, as bitsandbytes stores it."""

import functools

import torch

from qlora.quantization.codebook import dynamic_map

STATE_BLOCK_SIZE = 256

# The bits of a float but the last 16 (sign, exponent, seven bits of the mantissa) name its cell; all magnitudes below
# 2^-24 share one, which makes 3073 up to 1. Neighbouring levels are further apart than a cell is wide.
DROPPED_BITS = 16
FIRST_CELL = (127 - 24) << 7
CELLS = (24 << 7) + 1


@functools.cache
def rounding_cells(signed: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the nearest level changes, by cell: one look-up and one comparison find it, a search would take eight.

    Returns:
        thresholds: fp32 (2 · CELLS,), the midpoint of two levels that lies in the cell, or infinity; first the cells of
            positive values, then those of negative ones.
        below: uint8 (2 · CELLS,), the code of the cell's values up to its threshold; the next code is that of those
            above it. A tie goes to the lower level. Both are shared: do not write to them.

    Raises:
        ValueError: two midpoints lie in one cell.
    """
    levels = dynamic_map(signed)
    midpoints = (levels[:-1] + levels[1:]) / 2
    edges = torch.arange(FIRST_CELL, FIRST_CELL + CELLS + 1, dtype=torch.int32, device="cpu") << DROPPED_BITS
    edges = edges.view(torch.float32)
    edges[0] = 0.0
    thresholds, below = [], []
    for low, high, right in ((edges[:-1], edges[1:], False), (-edges[1:], -edges[:-1], True)):
        # Values of a positive cell are in [low, high), those of a negative one in (low, high].
        under, upto = (torch.bucketize(edge.contiguous(), midpoints, right=right) for edge in (low, high))
        if (upto - under).max() > 1:
            raise ValueError("two midpoints of the 8-bit dynamic data type lie in one cell")
        thresholds.append(torch.where(upto > under, midpoints[under.clamp(max=254)], float("inf")))
        below.append(under.to(torch.uint8))
    return torch.cat(thresholds), torch.cat(below)


def quantize_dynamic(values: torch.Tensor, signed: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale each block of 256 by its largest magnitude and take the nearest level of the 8-bit dynamic data type.

    c = argmin_i |dynamic_map[i] - v / absmax| (Dettmers et al., "8-bit Optimizers via Block-wise Quantization", arXiv
    2110.02861, section 2). Codes and absmax are those of bitsandbytes' plain implementation of `quantize_blockwise`,
    but for values in the middle of two levels, which rounding decides (7 of 41 million). Its compiled one for the CPU
    first rounds to 65536 even points over [-1, 1], zero not among them, which makes every squared gradient at least
    1.5e-5 of its block's largest; its CUDA optimizer does not do that, nor do we.

    Args:
        values: fp32 (n,), n a multiple of 256.
        signed: whether the data type has negative values; exp_avg needs them, exp_avg_sq does not.

    Returns:
        codes: uint8 (n,). All of a block of zeros are 0, so that memory set to zero is a state of zeros.
        absmax: fp32 (n / 256,).
    """
    blocks = values.view(-1, STATE_BLOCK_SIZE)
    absmax = blocks.abs().amax(dim=1) if values.numel() else values.new_empty(0)
    scaled = (blocks * (1.0 / absmax)[:, None]).nan_to_num_(-1.0).clamp_(-1, 1).flatten()  # zeros are 0 · inf = NaN
    thresholds, below = (table.to(values.device) for table in rounding_cells(signed))
    bits = scaled.view(torch.int32)
    cell = ((bits & 0x7FFFFFFF) >> DROPPED_BITS).sub_(FIRST_CELL).clamp_(min=0).add_((bits < 0).int(), alpha=CELLS)
    return below.index_select(0, cell).add_(scaled > thresholds.index_select(0, cell)), absmax


def dequantize_dynamic(codes: torch.Tensor, absmax: torch.Tensor, signed: bool) -> torch.Tensor:
    """Undo `quantize_dynamic`: v = dynamic_map[c] · absmax.

    Args:
        codes: uint8 (n,), n a multiple of 256.
        absmax: fp32 (n / 256,).
        signed: as when the codes were made.

    Returns:
        fp32 (n,).
    """
    levels = dynamic_map(signed).to(codes.device).index_select(0, codes.int())
    return levels.view(-1, STATE_BLOCK_SIZE).mul_(absmax[:, None]).flatten()
