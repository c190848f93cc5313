"""The plug-in through which transformers loads a model straight to 4-bit.

    AutoModelForCausalLM.from_pretrained(name, quantization_config=qlora.QuantizationConfig())

Each linear layer's weight is quantized as it is read from its file, so the 16-bit model is never in memory whole.
"""

from typing import Any

import torch
from torch import nn
from transformers.core_model_loading import ConversionOps
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.quantizers.quantizers_utils import get_module_from_name, should_convert_module
from transformers.utils.quantization_config import QuantizationConfigMixin

from qlora.config import QuantizationSettings
from qlora.layers.quantized_linear import QuantizedLinear
from qlora.quantization.weight import quantize

_METHOD = "qlora"


@register_quantization_config(_METHOD)
class QuantizationConfig(QuantizationConfigMixin):
    """What `from_pretrained` takes as ``quantization_config``.

    Args:
        quant_type, block_size, double_quantization: as in `qlora.quantize`.
        skip_modules: names of modules to leave as they are; None leaves the output head (and what is tied to it).

    Raises:
        InputError: a value out of range.
    """

    def __init__(
        self,
        quant_type: str = "nf4",
        block_size: int = 64,
        double_quantization: bool = True,
        skip_modules: list[str] | None = None,
        **kwargs: Any,
    ):
        QuantizationSettings(quant_type, block_size, double_quantization)
        self.quant_method = _METHOD
        self.quant_type = quant_type
        self.block_size = block_size
        self.double_quantization = double_quantization
        self.skip_modules = skip_modules


@register_quantizer(_METHOD)
class QloraQuantizer(HfQuantizer):
    """Swaps `nn.Linear` for `QuantizedLinear` before loading and quantizes each weight as it arrives."""

    requires_calibration = False

    @property
    def quantized_element_size(self) -> float:
        """Bytes a weight takes, for transformers' own planning."""
        return 0.5

    def _process_model_before_weight_loading(self, model, **kwargs):
        config = self.quantization_config
        skip = self.get_modules_to_not_convert(model, config.skip_modules, model._keep_in_fp32_modules)
        for name, module in list(model.named_modules()):
            if type(module) is nn.Linear and should_convert_module(name, skip):
                replacement = QuantizedLinear(
                    module.in_features,
                    module.out_features,
                    module.bias is not None,
                    quant_type=config.quant_type,
                    block_size=config.block_size,
                    double_quantization=config.double_quantization,
                    device="meta",
                    dtype=module.weight.dtype,
                )
                # Until its values arrive the weight has the shape and dtype of the checkpoint's, to which transformers
                # converts what it reads.
                replacement.weight = nn.Parameter(torch.empty_like(module.weight, device="meta"))
                model.set_submodule(name, replacement.requires_grad_(False))
        return model

    def param_needs_quantization(self, model, param_name: str, **kwargs) -> bool:
        """True for the weight of a `QuantizedLinear`."""
        module, name = get_module_from_name(model, param_name)
        return isinstance(module, QuantizedLinear) and name == "weight"

    def get_quantize_ops(self) -> ConversionOps:
        """The operation that transformers runs on each weight it reads."""
        return _QuantizeOnArrival()

    def is_serializable(self, *args, **kwargs) -> bool:
        """Writing quantized checkpoints is not supported yet."""
        return False

    @property
    def is_trainable(self) -> bool:
        """Adapters on the quantized model can be trained."""
        return True


class _QuantizeOnArrival(ConversionOps):
    def convert(self, input_dict, model=None, full_layer_name=None, **kwargs):
        converted = {}
        for name, value in input_dict.items():
            value = value[0] if isinstance(value, list) else value
            module, _ = get_module_from_name(model, name)
            module.quantized_weight = quantize(
                value,
                module.quant_type,
                block_size=module.block_size,
                double_quantization=module.double_quantization,
                name=name,
            )
            module._is_hf_initialized = True
            converted[name] = module.weight
        return converted
