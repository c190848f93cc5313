"""Optimizer state in 8 bits: the dynamic data type in blocks of 256, as bitsandbytes stores it."""

import functools

import torch

from qlora.quantization.codebook import dynamic_map

STATE_BLOCK_SIZE = 256


@functools.cache
def dynamic_thresholds(signed: bool) -> torch.Tensor:
    """fp32 (255,): the midpoints between neighbouring levels of `dynamic_map(signed)`, ascending. A tie goes to the
    lower level. It is shared: do not write to it."""
    levels = dynamic_map(signed)
    return (levels[:-1] + levels[1:]) / 2


def quantize_dynamic(values: torch.Tensor, signed: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale each block of 256 by its largest magnitude and take the nearest level of the 8-bit dynamic data type.

    c = argmin_i |dynamic_map[i] - v / absmax| (Dettmers et al., "8-bit Optimizers via Block-wise Quantization", arXiv
    2110.02861, section 2). Codes and absmax equal those of bitsandbytes' plain implementation of `quantize_blockwise`.
    Its compiled one for the CPU first rounds to 65536 even points over [-1, 1], zero not among them, which makes every
    squared gradient at least 1.5e-5 of its block's largest; its CUDA optimizer does not do that, nor do we.

    Args:
        values: fp32 (n,), n a multiple of 256.
        signed: whether the data type has negative values; exp_avg needs them, exp_avg_sq does not.

    Returns:
        codes: uint8 (n,). All of a block of zeros are 0, so that memory set to zero is a state of zeros.
        absmax: fp32 (n / 256,).
    """
    blocks = values.view(-1, STATE_BLOCK_SIZE)
    absmax = blocks.abs().amax(dim=1) if values.numel() else values.new_empty(0)
    scaled = (blocks * (1.0 / absmax)[:, None]).nan_to_num_(-1.0).clamp_(-1, 1)  # a block of zeros is 0 · inf = NaN
    return torch.bucketize(scaled, dynamic_thresholds(signed).to(values.device)).to(torch.uint8).flatten(), absmax


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
