"""The configuration of a run: frozen dataclasses that check themselves when built; YAML in and out."""

from qlora.config.files import from_mapping, load, to_mapping, to_yaml, with_changes
from qlora.config.settings import (
    BLOCK_SIZES,
    AdapterConfig,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    QuantizationSettings,
    RunConfig,
    TrainingConfig,
    fits_pattern,
)

__all__ = [
    "BLOCK_SIZES",
    "AdapterConfig",
    "DataConfig",
    "ModelConfig",
    "OptimizerConfig",
    "QuantizationSettings",
    "RunConfig",
    "TrainingConfig",
    "fits_pattern",
    "from_mapping",
    "load",
    "to_mapping",
    "to_yaml",
    "with_changes",
]
