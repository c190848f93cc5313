"""A linear layer whose frozen weight is stored quantized."""

import torch
from torch import nn

from qlora.kernels import ops
from qlora.quantization import packing
from qlora.quantization.codebook import bits_of
from qlora.quantization.weight import QuantizedWeight, check_format, quantize

_CONSTANTS = ("absmax", "nested_absmax", "offset", "nested_codebook", "codebook")


class QuantizedLinear(nn.Module):
    """y = x · dequantize(W)ᵀ + bias (equation 5 of the paper, without the adapter).

    W is decoded to x's dtype for the product and never kept decoded. No gradient reaches W; the gradient for x decodes
    it again.

    Args:
        in_features, out_features, bias: as in `nn.Linear`.
        quant_type, block_size, double_quantization: as in `qlora.quantize`.
        device, dtype: of the bias, and of the codes' storage.

    Raises:
        ValueError: unknown data type or block size.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        quant_type: str = "nf4",
        block_size: int = 64,
        double_quantization: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        check_format(quant_type, block_size, "weight")
        self.in_features = in_features
        self.out_features = out_features
        self.quant_type = quant_type
        self.block_size = block_size
        self.double_quantization = double_quantization
        self.weight_dtype = dtype or torch.get_default_dtype()
        stored = packing.packed_bytes(in_features * out_features, bits_of(quant_type))
        self.weight = nn.Parameter(torch.empty(stored, dtype=torch.uint8, device=device), requires_grad=False)
        for name in _CONSTANTS:
            self.register_buffer(name, None)
        self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None

    @classmethod
    def from_linear(
        cls,
        linear: nn.Linear,
        quant_type: str = "nf4",
        *,
        block_size: int = 64,
        double_quantization: bool = True,
        name: str = "weight",
    ) -> "QuantizedLinear":
        """Quantize an `nn.Linear`; its bias is shared, not copied.

        Raises:
            ValueError: not an `nn.Linear`, or as `qlora.quantize` does; `name` is what the message calls the weight.
        """
        if not isinstance(linear, nn.Linear):
            raise ValueError(f"{name}: expected a torch.nn.Linear to quantize, got {type(linear).__name__}")
        module = cls(
            linear.in_features,
            linear.out_features,
            bias=False,
            quant_type=quant_type,
            block_size=block_size,
            double_quantization=double_quantization,
            dtype=linear.weight.dtype,
        )
        module.bias = linear.bias
        module.quantized_weight = quantize(
            linear.weight.data, quant_type, block_size=block_size, double_quantization=double_quantization, name=name
        )
        return module

    @property
    def quantized_weight(self) -> QuantizedWeight:
        """The weight with its constants, as a view of this module's tensors.

        Raises:
            ValueError: when read before a weight was set or loaded, and when set to a weight of another shape.
        """
        if self.absmax is None:
            raise ValueError(
                f"QuantizedLinear({self.in_features}, {self.out_features}) holds no weight yet: set `quantized_weight`"
            )
        return QuantizedWeight(
            codes=self.weight,
            **{name: getattr(self, name) for name in _CONSTANTS},
            quant_type=self.quant_type,
            block_size=self.block_size,
            shape=torch.Size((self.out_features, self.in_features)),
            dtype=self.weight_dtype,
        )

    @quantized_weight.setter
    def quantized_weight(self, value: QuantizedWeight) -> None:
        expected = (self.out_features, self.in_features)
        if tuple(value.shape) != expected:
            raise ValueError(f"expected a weight of shape {expected}, got {tuple(value.shape)}")
        self.weight = nn.Parameter(value.codes, requires_grad=False)
        self.quant_type, self.block_size = value.quant_type, value.block_size
        self.double_quantization, self.weight_dtype = value.double_quantization, value.dtype
        for name in _CONSTANTS:
            setattr(self, name, getattr(value, name))

    def _apply(self, fn, recurse=True):
        # `module.to(torch.bfloat16)` and the like convert what is not quantized, but must not round the constants.
        before = {name: getattr(self, name) for name in _CONSTANTS}
        super()._apply(fn, recurse)
        for name, constant in before.items():
            moved = getattr(self, name)
            if constant is not None and moved.dtype != constant.dtype:
                setattr(self, name, constant.to(moved.device))
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (…, in_features) -> (…, out_features), in x's dtype.

        Raises:
            ValueError: as `check_input`.
        """
        check_input(x, self)
        stored = self.quantized_weight.tensors()
        y = ops.quantized_linear(x, *stored, self.block_size, self.out_features, self.quant_type)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"quant_type={self.quant_type}, block_size={self.block_size}, "
            f"double_quantization={self.double_quantization}"
        )


def check_input(x: torch.Tensor, layer: nn.Module) -> None:
    """Refuse what a linear layer cannot be applied to, in the same words for every kind of layer.

    Args:
        x: should be (…, layer.in_features), floating, on the device of `layer.weight`.

    Raises:
        ValueError: it is not.
    """
    if not x.dim() or x.shape[-1] != layer.in_features or not x.is_floating_point():
        expected = f"floating numbers (…, {layer.in_features})"
        raise ValueError(f"x: expected {expected}, got {x.dtype} {tuple(x.shape)}")
    if x.device != layer.weight.device:
        raise ValueError(f"x: expected it on the weight's device {layer.weight.device}, got {x.device}")
