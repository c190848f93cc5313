"""Blockwise quantization in plain PyTorch: the readable reference that every kernel is tested against."""

import functools

import torch

from qlora.quantization import packing

# bitsandbytes' floor for the divisor, so that an all-zero block scales to zeros instead of NaN.
_SMALLEST_ABSMAX = 1e-38

# Weights the CPU decodes at a time. The look-up needs memory of the result's size and more. Up to here it gets the same
# pages again; beyond it the system clears new ones for each call, which takes longer than the decoding. The value is
# a multiple of every block size, and of 8 codes.
_SLICE = 1 << 20


def quantize_blockwise(
    weights: torch.Tensor, thresholds: torch.Tensor, order: torch.Tensor, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale each block by its largest magnitude and round to the nearest level.

    q = argmin_i |codebook[i] - w / absmax|, absmax = max |w| over the block (equation 1 of the paper with a block of
    weights for X, section 2). As in bitsandbytes, the scaling multiplies by the reciprocal in whole blocks and divides
    in a last, shorter one; the difference is one rounding, and files agree to the bit because of it.

    Args:
        weights: (n,), any floating dtype.
        thresholds, order: from `codebook.decision_thresholds`, on the same device.
        block_size: weights that share one absmax.

    Returns:
        codes: uint8 (n,), not packed.
        absmax: fp32 (ceil(n / block_size),). An all-zero whole block has 0; an all-zero last block has 1e-38.
    """
    values = weights.float()
    whole = values.numel() // block_size * block_size
    blocks = values[:whole].view(-1, block_size)
    absmax = blocks.abs().amax(dim=1) if whole else values.new_empty(0)
    scaled = (blocks * (1.0 / absmax.clamp(min=_SMALLEST_ABSMAX))[:, None]).flatten()
    if whole < values.numel():
        last = values[whole:]
        last_absmax = last.abs().max().clamp(min=_SMALLEST_ABSMAX)
        absmax = torch.cat([absmax, last_absmax[None]])
        scaled = torch.cat([scaled, last / last_absmax])
    return order.index_select(0, rank_among(thresholds, scaled.clamp_(-1, 1))), absmax


def rank_among(thresholds: torch.Tensor, scaled: torch.Tensor) -> torch.Tensor:
    """How many thresholds lie below each number: what `torch.bucketize` returns, on a CPU in a fifth of its time.

    Instead of a search, one look into bins so fine that none holds two thresholds: numbers of a bin are above all
    thresholds of the bins before it, and above the bin's own or not.

    Args:
        thresholds: fp32 (levels - 1,), ascending.
        scaled: fp32 (n,), from -1 to 1.

    Returns:
        int32 (n,).
    """
    bins = _bins(tuple(thresholds.tolist())) if scaled.device.type == "cpu" else None
    if bins is None:
        return torch.bucketize(scaled, thresholds, out_int32=True)
    below, own = bins
    places = _bin_of(scaled)
    return below.index_select(0, places).add_(own.index_select(0, places) < scaled)


_BINS = 4096


def _bin_of(scaled: torch.Tensor) -> torch.Tensor:
    # Thresholds may lie beyond ±1; NaN, which `quantize` refuses afterwards, must have a bin too.
    return scaled.add(1).mul_(_BINS / 2).nan_to_num_(0.0).clamp_(0, _BINS).int()


@functools.lru_cache(maxsize=32)
def _bins(thresholds: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor] | None:
    """For each bin the number of thresholds in those before it (int32), and its own threshold or infinity (fp32); None
    where one would hold two. A threshold's bin is found as a number's is, so rounding cannot part them."""
    values = torch.tensor(thresholds, dtype=torch.float32)
    places = _bin_of(values)
    held = torch.bincount(places, minlength=_BINS + 1)
    if held.max() > 1:
        return None
    own = torch.full((_BINS + 1,), float("inf")).index_copy_(0, places.long(), values)
    return (held.cumsum(0) - held).int(), own


def dequantize_blockwise(
    packed: torch.Tensor,
    absmax: torch.Tensor,
    codebook: torch.Tensor,
    block_size: int,
    count: int,
    dtype: torch.dtype,
) -> torch.Tensor:
    """w = codebook[q] · absmax, computed in fp32 and rounded once to `dtype` (equation 2 of the paper).

    Four-bit codes are looked up a byte at a time: a table of the 256 possible pairs, each pair read as one 64-bit
    word, is about nine times as fast on a CPU as one look-up a weight.

    Args:
        packed: uint8, from `packing.pack`.
        absmax: fp32 (ceil(count / block_size),).
        codebook: fp32 (2^bits,).
        block_size: weights that share one absmax.
        count: number of weights.
        dtype: of the result.

    Returns:
        (count,) in `dtype`.
    """
    bits = codebook.numel().bit_length() - 1
    if count > _SLICE and packed.device.type == "cpu":
        weights = torch.empty(count, dtype=dtype)
        for start in range(0, count, _SLICE):
            stop = min(start + _SLICE, count)
            codes = packed[start * bits // 8 : -(-stop * bits // 8)]
            scales = absmax[start // block_size : -(-stop // block_size)]
            weights[start:stop] = dequantize_blockwise(codes, scales, codebook, block_size, stop - start, dtype)
        return weights
    if bits == 4:
        pairs = torch.cartesian_prod(codebook, codebook)  # (256, 2): high nibble first
        levels = pairs.view(torch.int64).flatten().index_select(0, packed.int()).view(torch.float32)[:count]
    else:
        levels = codebook.index_select(0, packing.unpack(packed, bits, count).int())
    whole = count // block_size * block_size
    # In place: a second tensor of this size would cost a CPU more in page faults than the products do.
    if whole == count:
        return levels.view(-1, block_size).mul_(absmax[:, None]).flatten().to(dtype)
    return levels.mul_(absmax.repeat_interleave(block_size)[:count]).to(dtype)
