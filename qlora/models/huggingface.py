"""The plug-in through which transformers loads a model straight to 4-bit, and saves it.

    model = AutoModelForCausalLM.from_pretrained(name, quantization_config=qlora.QuantizationConfig())
    model.save_pretrained(folder)

Each linear layer's weight is quantized as it is read from its file, so the 16-bit model is never in memory whole. A
checkpoint that bitsandbytes has quantized to 4 bits is read as it is, without bitsandbytes. What is saved is in
bitsandbytes' format where it has the data type (NF4, and E2M1 as its FP4). `qlora.models.coverage` says what was not
quantized, and why.
"""

import copy
from typing import Any

import torch
from torch import nn
from transformers.core_model_loading import ConversionOps
from transformers.pytorch_utils import Conv1D
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.quantizers.auto import AutoHfQuantizer
from transformers.quantizers.quantizers_utils import get_module_from_name, should_convert_module
from transformers.utils.quantization_config import QuantizationConfigMixin

from qlora.errors import InputError
from qlora.layers.quantized_linear import QuantizedLinear
from qlora.models import conversion
from qlora.models.checkpoint_settings import METHOD, read_settings, write_settings
from qlora.quantization.codebook import CODEBOOKS, bits_of
from qlora.quantization.weight import BLOCK_SIZES

_PROBLEMS_SHOWN = 5


@register_quantization_config(METHOD)
class QuantizationConfig(QuantizationConfigMixin):
    """What `from_pretrained` takes as ``quantization_config``.

    A checkpoint that is quantized already keeps its own data type, block size and skipped modules; those given here are
    for one that is not.

    Args:
        quant_type, block_size, double_quantization: as in `qlora.quantize`.
        skip_modules: names of modules to leave as they are; None leaves the output head. What is tied to the embeddings
            is always left.

    Raises:
        InputError: a value out of range.
    """

    def __init__(
        self,
        quant_type: str = "nf4",
        block_size: int = 64,
        double_quantization: bool = True,
        skip_modules: list[str] | None = None,
    ):
        if quant_type not in CODEBOOKS:
            raise InputError(f"quant_type must be one of {', '.join(CODEBOOKS)}, got {quant_type!r}")
        if block_size not in BLOCK_SIZES:
            raise InputError(f"block_size must be a power of two from 32 to 4096, got {block_size!r}")
        self.quant_method = METHOD
        self.quant_type = quant_type
        self.block_size = block_size
        self.double_quantization = double_quantization
        self.skip_modules = skip_modules
        self.code_storage = torch.uint8  # dtype in which a checkpoint's codes stand; bitsandbytes has others
        self.compute_dtype = "float32"  # written for bitsandbytes

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], return_unused_kwargs: bool = False, **kwargs: Any):
        """Settings of a checkpoint that is quantized already (``quantization_config`` of its config.json).

        Raises:
            InputError: as `checkpoint_settings.read_settings`.
        """
        arguments, storage = read_settings(config_dict)
        config = cls(**arguments)
        config.code_storage = storage
        return (config, kwargs) if return_unused_kwargs else config

    def to_dict(self) -> dict[str, Any]:
        """What config.json holds: bitsandbytes' settings where it has the data type."""
        return write_settings(
            self.quant_type, self.block_size, self.double_quantization, self.skip_modules, self.compute_dtype
        )


@register_quantizer(METHOD)
class QloraQuantizer(HfQuantizer):
    """Swaps `nn.Linear` and GPT-2's `Conv1D` for `QuantizedLinear` before loading, and fills them as weights arrive.

    A Conv1D holds its weight as (in, out). It is quantized transposed, as (out, in), which is also what bitsandbytes
    does and what is saved.
    """

    requires_calibration = False

    def __init__(self, quantization_config: QuantizationConfig, **kwargs: Any):
        # A copy, because loading completes it, and the caller may load another model with the same object.
        super().__init__(copy.deepcopy(quantization_config), **kwargs)
        self._transposed: set[str] = set()
        self._problems: list[str] = []

    @property
    def quantized_element_size(self) -> float:
        """Bytes a quantized weight takes, for transformers' own planning."""
        config = self.quantization_config
        return bits_of(config.quant_type) / 8 + (1 if config.double_quantization else 4) / config.block_size

    def param_element_size(self, model, param_name: str, param: torch.Tensor) -> float:
        """Bytes an element takes; transformers 5.17 asks for this alone."""
        needs = self.param_needs_quantization(model, param_name)
        return self.quantized_element_size if needs else param.element_size()

    def _process_model_before_weight_loading(self, model, checkpoint_files=None, **kwargs):
        config = self.quantization_config
        if self.pre_quantized:
            conversion.check_expert_layout(model, checkpoint_files or [])
        skip = self.get_modules_to_not_convert(model, config.skip_modules, model._keep_in_fp32_modules)
        ties = model.all_tied_weights_keys
        tied = {key.removesuffix(".weight") for key in (*ties.keys(), *ties.values())}
        for name, module in list(model.named_modules()):
            if type(module) not in (nn.Linear, Conv1D) or name in tied or not should_convert_module(name, skip):
                continue
            # Until its values arrive the weight has the shape and dtype of the checkpoint's, to which transformers
            # converts what it reads.
            arriving = torch.empty_like(
                module.weight, device="meta", dtype=config.code_storage if self.pre_quantized else None
            )
            if type(module) is Conv1D:
                self._transposed.add(f"{name}.weight")
            out_features, in_features = arriving.T.shape if type(module) is Conv1D else arriving.shape
            replacement = QuantizedLinear(
                in_features,
                out_features,
                module.bias is not None,
                quant_type=config.quant_type,
                block_size=config.block_size,
                double_quantization=config.double_quantization,
                device="meta",
                dtype=module.weight.dtype,
            )
            replacement.weight = nn.Parameter(arriving, requires_grad=False)
            model.set_submodule(name, replacement.requires_grad_(False))
        return model

    def param_needs_quantization(self, model, param_name: str, **kwargs) -> bool:
        """True for the weight of a `QuantizedLinear`."""
        module, name = get_module_from_name(model, param_name)
        return isinstance(module, QuantizedLinear) and name == "weight"

    def get_quantize_ops(self) -> ConversionOps:
        """The operation that transformers runs on each weight it reads from a checkpoint that is not quantized."""
        return conversion.QuantizeOnArrival(self._transposed, self._problems)

    def get_weight_conversions(self) -> list:
        """How the tensors of a checkpoint that is quantized already come together."""
        return [conversion.quantized_weight_reader(self._problems)] if self.pre_quantized else []

    def get_new_dtype(self, converter, param, dtype: torch.dtype | None) -> torch.dtype | None:
        """None, which is to read a tensor as the file has it, for what `conversion.ReadQuantized` gets."""
        operations = getattr(converter, "operations", ())
        return None if any(isinstance(op, conversion.ReadQuantized) for op in operations) else dtype

    def _process_model_after_weight_loading(self, model, **kwargs):
        layers = {name: module for name, module in model.named_modules() if isinstance(module, QuantizedLinear)}
        reason = (
            "it lacks them, or holds them joined with another layer's"
            if self.pre_quantized
            else "a fresh layer cannot be quantized: name it in skip_modules"
        )
        problems = self._problems or [
            f"{name}.weight: expected its values in the checkpoint, got none ({reason})"
            for name, module in layers.items()
            if module.codebook is None
        ]
        if problems:
            more = len(problems) - _PROBLEMS_SHOWN
            raise ValueError("\n".join(problems[:_PROBLEMS_SHOWN]) + (f"\nand {more} more" if more > 0 else ""))
        # From here on the settings are those of what was loaded, for saving.
        config = self.quantization_config
        for layer in list(layers.values())[:1]:
            config.quant_type, config.block_size = layer.quant_type, layer.block_size
            config.double_quantization = layer.double_quantization
        config.skip_modules = [name for name, module in model.named_modules() if type(module) in (nn.Linear, Conv1D)]
        conversion.drop_conversions_of_quantized_weights(model)
        return model

    def get_state_dict_and_metadata(self, model) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """What `save_pretrained` writes.

        Raises:
            InputError: as `conversion.checkpoint_state`.
        """
        self.quantization_config.compute_dtype = str(model.dtype).removeprefix("torch.")
        return conversion.checkpoint_state(model), {}

    def is_serializable(self, *args, **kwargs) -> bool:
        """`save_pretrained` writes a quantized checkpoint."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Adapters on the quantized model can be trained."""
        return True


def _read_bitsandbytes_checkpoints_when_asked_to() -> None:
    """Let `QuantizationConfig` be given for a checkpoint that bitsandbytes has quantized.

    Transformers ties a checkpoint's format to the class of config that wrote it and offers no other registration, so
    the method that compares the two is wrapped. Calls that do not pass our config reach the original.
    """
    original = AutoHfQuantizer.merge_quantization_configs

    def merge_quantization_configs(quantization_config, quantization_config_from_args):
        if not isinstance(quantization_config_from_args, QuantizationConfig):
            return original(quantization_config, quantization_config_from_args)
        if isinstance(quantization_config, QuantizationConfigMixin):
            quantization_config = quantization_config.to_dict()
        return QuantizationConfig.from_dict(quantization_config)

    AutoHfQuantizer.merge_quantization_configs = staticmethod(merge_quantization_configs)


_read_bitsandbytes_checkpoints_when_asked_to()
