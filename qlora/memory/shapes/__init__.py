"""Shapes of models: how many weights, where, and what a layer keeps for its backward pass."""

from qlora.memory.shapes.base import LayerBytes, Pass, Shape, Stack, require_whole
from qlora.memory.shapes.layer_norm import LayerNormShape
from qlora.memory.shapes.llama import LLAMA, SMOLLM2_135M, LlamaShape
from qlora.memory.shapes.mixture import MixtureShape
from qlora.memory.shapes.t5 import T5Shape

__all__ = [
    "LLAMA",
    "SMOLLM2_135M",
    "LayerBytes",
    "LayerNormShape",
    "LlamaShape",
    "MixtureShape",
    "Pass",
    "Shape",
    "Stack",
    "T5Shape",
    "require_whole",
]
