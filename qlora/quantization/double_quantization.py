"""Double quantization (bitsandbytes says "nested"): the absmax values are themselves quantized, to 8 bits."""

import functools

import torch

from qlora.quantization.codebook import dynamic_map

ABSMAX_BLOCK_SIZE = 256
_GRID = 65535


@functools.cache
def grid_codes() -> torch.Tensor:
    """uint8 (65536,): the code of the level nearest to each point of an even grid over [-1, 1].

    bitsandbytes rounds to this grid before it looks for the nearest level, so levels that are closer to zero than the
    grid is fine (±5.5e-7 to ±2.3e-5) are never used. We do the same: the codes in a file must not depend on who wrote
    it, and the error this adds is below 1.6e-5 of a block's range.
    """
    levels = dynamic_map()
    points = torch.arange(_GRID + 1, dtype=torch.float32, device="cpu") / _GRID * 2 - 1
    return torch.bucketize(points, (levels[:-1] + levels[1:]) / 2).to(torch.uint8)


def quantize_absmax(absmax: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Subtract the mean and quantize to the 8-bit dynamic data type in blocks of 256.

    c2 - mean(c2) ≈ dynamic_map[codes] · nested_absmax. This takes the cost of the constants from 32 / 64 = 0.5 bits a
    parameter to 8 / 64 + 32 / (64 · 256) = 0.127 bits (section 3 of the paper).

    Args:
        absmax: fp32 (n,), not negative.

    Returns:
        codes: uint8 (n,).
        nested_absmax: fp32 (ceil(n / 256),).
        offset: fp32 (), the mean. It may differ in the last bits from a mean summed in another order.
    """
    offset = absmax.mean() if absmax.numel() else absmax.new_zeros(())
    centred = absmax - offset
    padded = torch.nn.functional.pad(centred, (0, -centred.numel() % ABSMAX_BLOCK_SIZE)).view(-1, ABSMAX_BLOCK_SIZE)
    nested_absmax = padded.abs().amax(dim=1) if padded.numel() else absmax.new_empty(0)
    scaled = (padded * (1.0 / nested_absmax)[:, None]).clamp(-1, 1)
    # A block whose values all equal the mean scales to 0 · inf = NaN; bitsandbytes stores code 0 for it, and
    # nested_absmax = 0 makes any code decode to the offset.
    points = ((scaled + 1) * 0.5 * _GRID + 0.5).nan_to_num(0.0).to(torch.int64)
    codes = grid_codes().to(absmax.device)[points].flatten()[: absmax.numel()]
    return codes, nested_absmax, offset


def dequantize_absmax(
    codes: torch.Tensor, nested_absmax: torch.Tensor, offset: torch.Tensor, nested_codebook: torch.Tensor
) -> torch.Tensor:
    """Undo `quantize_absmax`: absmax = nested_codebook[codes] · nested_absmax + offset.

    Args:
        codes: uint8 (n,).
        nested_absmax: fp32 (ceil(n / 256),).
        offset: fp32 ().
        nested_codebook: fp32 (256,), `codebook.dynamic_map` unless a file brought its own.

    Returns:
        fp32 (n,).
    """
    levels = nested_codebook.index_select(0, codes.int())
    scales = nested_absmax.repeat_interleave(ABSMAX_BLOCK_SIZE)[: codes.numel()]
    return levels * scales + offset
