"""Codes of 2 to 8 bits packed into bytes, the first code in the highest bits."""

import torch


def packed_bytes(count: int, bits: int) -> int:
    """Bytes that `count` codes of `bits` bits take: ceil(count · bits / 8)."""
    return -(-count * bits // 8)


def pack(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Pack codes into bytes; for 4 bits the first code of a pair is the high nibble, as bitsandbytes stores it.

    Args:
        codes: uint8 (n,), each below 2^bits.
        bits: 1 to 8.

    Returns:
        uint8 (ceil(n · bits / 8),); missing codes at the end are zero bits.
    """
    if bits == 8:
        return codes.clone()
    if bits == 4:
        if codes.numel() % 2:
            codes = torch.nn.functional.pad(codes, (0, 1))
        return (codes[::2] << 4) | codes[1::2]
    shifts = torch.arange(bits - 1, -1, -1, dtype=torch.uint8, device=codes.device)
    stream = ((codes[:, None] >> shifts) & 1).flatten()  # (n * bits,)
    stream = torch.nn.functional.pad(stream, (0, -stream.numel() % 8)).view(-1, 8)
    return (stream << torch.arange(7, -1, -1, dtype=torch.uint8, device=codes.device)).sum(1, dtype=torch.uint8)


def unpack(packed: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """Undo `pack`.

    Args:
        packed: uint8 (at least ceil(count · bits / 8),).
        bits: 1 to 8.
        count: how many codes to return.

    Returns:
        uint8 (count,).
    """
    if bits == 8:
        return packed[:count].clone()
    if bits == 4:
        return torch.stack([packed >> 4, packed & 15], dim=1).flatten()[:count]
    stream = (packed[:, None] >> torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)) & 1  # (bytes, 8)
    digits = stream.flatten()[: count * bits].view(count, bits)
    shifts = torch.arange(bits - 1, -1, -1, dtype=torch.uint8, device=packed.device)
    return (digits << shifts).sum(1, dtype=torch.uint8)
