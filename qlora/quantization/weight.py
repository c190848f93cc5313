"""A quantized weight: packed codes and their constants, and the public `quantize`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from qlora.kernels import dispatch, ops
from qlora.quantization import codebook as codebooks
from qlora.quantization import double_quantization, packing

#: Weights that may share one absmax. 64 is the paper's choice (section 3).
BLOCK_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)

# Weights the reference quantizes at a time. Its scratch memory is some 14 bytes a weight, so without slices a tensor
# would take seven times its own size while it is quantized. A multiple of every block size, and of 8 codes.
_SLICE = 1 << 16


@dataclass(frozen=True)
class QuantizedWeight:
    """Codes, constants and what is needed to decode them.

    Attributes:
        codes: uint8 (ceil(numel · bits / 8),), packed, first weight in the high bits.
        absmax: fp32 (blocks,), or uint8 (blocks,) when double-quantized.
        nested_absmax, offset, nested_codebook: constants of the second quantization, or None.
        codebook: fp32 (2^bits,). Shared between weights, so not counted in `nbytes`.
        quant_type: name of the data type, one of `codebook.CODEBOOKS`.
        block_size: weights that share one absmax.
        shape, dtype: of the weight before quantization.
    """

    codes: torch.Tensor
    absmax: torch.Tensor
    nested_absmax: torch.Tensor | None
    offset: torch.Tensor | None
    nested_codebook: torch.Tensor | None
    codebook: torch.Tensor
    quant_type: str
    block_size: int
    shape: torch.Size
    dtype: torch.dtype

    @property
    def double_quantization(self) -> bool:
        """Whether the absmax values are quantized too."""
        return self.nested_absmax is not None

    @property
    def nbytes(self) -> int:
        """Bytes stored for this weight: codes, absmax, nested absmax and offset."""
        tensors = (self.codes, self.absmax, self.nested_absmax, self.offset)
        return sum(t.nbytes for t in tensors if t is not None)

    @property
    def bits_per_parameter(self) -> float:
        """8 · nbytes / parameters: 4.127 for NF4 in blocks of 64 with double quantization, 4.5 without."""
        return 8 * self.nbytes / max(1, self.shape.numel())

    def dequantize(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Decode to `dtype` (default: the weight's dtype before quantization), shape `self.shape`."""
        return ops.dequantize(*self.tensors(), self.block_size, self.shape, dtype or self.dtype)

    def double_quantized(self) -> "QuantizedWeight":
        """The weight with its absmax values quantized to 8 bits, `self` where they are already; codes are shared."""
        if self.double_quantization:
            return self
        absmax, nested_absmax, offset = ops.quantize_absmax(self.absmax)
        nested_codebook = codebooks.dynamic_map().to(self.absmax.device)
        return replace(self, absmax=absmax, nested_absmax=nested_absmax, offset=offset, nested_codebook=nested_codebook)

    def to_bitsandbytes(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors under the keys of a bitsandbytes checkpoint; see `bitsandbytes_format.to_bitsandbytes`."""
        from qlora.quantization.bitsandbytes_format import to_bitsandbytes

        return to_bitsandbytes(self, name)

    @staticmethod
    def from_bitsandbytes(state: Mapping[str, torch.Tensor], name: str) -> "QuantizedWeight":
        """A weight of a bitsandbytes checkpoint; see `bitsandbytes_format.from_bitsandbytes`."""
        from qlora.quantization.bitsandbytes_format import from_bitsandbytes

        return from_bitsandbytes(state, name)

    def tensors(self) -> tuple[torch.Tensor | None, ...]:
        """The six tensors in the order in which the operators of `kernels.ops` take them."""
        return self.codes, self.absmax, self.nested_absmax, self.offset, self.nested_codebook, self.codebook

    def unpacked_codes(self) -> torch.Tensor:
        """uint8 (numel,): one code a weight."""
        bits = self.codebook.numel().bit_length() - 1
        return packing.unpack(self.codes, bits, self.shape.numel())

    def absmax_values(self) -> torch.Tensor:
        """fp32 (blocks,): the absmax that decoding uses, after undoing double quantization."""
        if not self.double_quantization:
            return self.absmax
        return double_quantization.dequantize_absmax(self.absmax, self.nested_absmax, self.offset, self.nested_codebook)


def quantize(
    weights: torch.Tensor,
    quant_type: str = "nf4",
    *,
    block_size: int = 64,
    double_quantization: bool = True,
    name: str = "weights",
) -> QuantizedWeight:
    """Quantize a tensor in blocks (section 3 of the paper); bit-compatible with bitsandbytes for NF4 and its FP4.

    Args:
        weights: fp32, fp16 or bf16, any shape; a non-contiguous tensor is read in its logical order.
        quant_type: "nf4", "fp4-e2m1", "fp4-e3m0", "int4", or "nf2" … "nf8".
        block_size: weights that share one absmax: a power of two from 32 to 4096.
        double_quantization: quantize the absmax values too.
        name: what to call the tensor in an error.

    Returns:
        A `QuantizedWeight` on the device of `weights`.

    Raises:
        ValueError: unknown data type or block size; not a dense tensor of 16- or 32-bit floats that are at hand; NaN or
            infinity in `weights`.
    """
    check_format(quant_type, block_size, name)
    if not isinstance(weights, torch.Tensor):
        raise ValueError(f"{name}: expected a tensor, got {type(weights).__name__}")
    if weights.layout != torch.strided or weights.is_meta:
        got = "a tensor without values, on the meta device" if weights.is_meta else weights.layout
        raise ValueError(f"{name}: expected a dense tensor, got {got}")
    if weights.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"{name}: expected float32, float16 or bfloat16, got {weights.dtype}")
    thresholds, order = codebooks.decision_thresholds(quant_type)
    codes, absmax = _quantize_in_slices(weights.detach(), thresholds, order, block_size)
    if not torch.isfinite(absmax).all():  # NaN and infinity reach their block's absmax
        bad = (~torch.isfinite(weights)).sum().item()
        raise ValueError(f"{name}: expected finite numbers, got {bad} NaN or infinite of {weights.numel()}")
    plain = QuantizedWeight(
        codes=codes,
        absmax=absmax,
        nested_absmax=None,
        offset=None,
        nested_codebook=None,
        codebook=codebooks.codebook(quant_type).to(weights.device),
        quant_type=quant_type,
        block_size=block_size,
        shape=weights.shape,
        dtype=weights.dtype,
    )
    return plain.double_quantized() if double_quantization else plain


def check_format(quant_type: str, block_size: int, name: str) -> None:
    """Refuse a data type or block size that does not exist.

    Args:
        quant_type, block_size: as in `quantize`.
        name: what to call the tensor in the error.

    Raises:
        ValueError: there is no such data type or block size.
    """
    if quant_type not in codebooks.CODEBOOKS:
        raise ValueError(f"{name}: quant_type must be one of {', '.join(codebooks.CODEBOOKS)}, got {quant_type!r}")
    if not isinstance(block_size, int) or block_size not in BLOCK_SIZES:
        raise ValueError(f"{name}: block_size must be a power of two from 32 to 4096, got {block_size!r}")


def _quantize_in_slices(
    weights: torch.Tensor, thresholds: torch.Tensor, order: torch.Tensor, block_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`ops.quantize`, a few whole blocks at a time where all at once would need much memory beside the result.

    That is on the CPU, whose reference keeps intermediate values, and for a transposed tensor, whose contiguous copy
    would be as large as itself. The kernels need no slices.
    """
    if weights.is_contiguous() and weights.device.type != "cpu":
        return ops.quantize(weights, thresholds, order, block_size)
    rows = weights.flatten() if weights.is_contiguous() else weights
    count, bits = weights.numel(), order.numel().bit_length() - 1
    row = count // max(1, rows.shape[0])
    together = math.lcm(block_size, 8) // math.gcd(math.lcm(block_size, 8), max(1, row))  # rows that fill whole blocks
    step = max(1, _SLICE // max(1, row * together)) * together
    if step >= rows.shape[0]:
        return ops.quantize(rows.contiguous(), thresholds, order, block_size)
    codes = torch.empty(packing.packed_bytes(count, bits), dtype=torch.uint8, device=weights.device)
    absmax = torch.empty(-(-count // block_size), dtype=torch.float32, device=weights.device)
    for start in range(0, rows.shape[0], step):
        part, part_absmax = ops.quantize(rows[start : start + step].contiguous(), thresholds, order, block_size)
        first_byte, first_block = start * row * bits // 8, start * row // block_size
        codes[first_byte : first_byte + part.numel()] = part
        absmax[first_block : first_block + part_absmax.numel()] = part_absmax
    return codes, absmax


dispatch.register()
