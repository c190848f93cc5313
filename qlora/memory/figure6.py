"""The paper's Figure 6 from a formula: what is exact, what is fitted, what stays unexplained.

The figure (page 26) shows the memory of finetuning LLaMA with QLoRA in MiB, which it calls MB: batch 1, up to 512
tokens, r = 64. Its numbers are passed in, so that the library does not depend on the repository's ``papers`` folder.

Derived here, not said in the paper:

* Adapters = 2 B · r · 18 h · L, exact on all four sizes. 18 h is four square projections (4 · 2 h) and a feed-forward
  part of two matrices of width 4 h (2 · 5 h). LLaMA's own feed-forward part has three matrices (SwiGLU), which
  `LlamaShape.adapter_parameters` counts; that is about 6 % more.
* Weight gradient = the adapters again, which agrees with the height of its unlabelled bar.
* Optimizer = 8 B a weight (Adam, two fp32 states), exact on all four sizes.
* Input gradient = 27 h · 512 tokens · 2 B of one layer, the one that checkpointing recomputes. The bars are not
  labelled; 27 is the likeliest factor by their heights, not the only one, and at 65B it is 3 % below the bar.
* Model = bits · linear weights + 2 B · (embedding, head, norms) + one constant, fitted. It comes closest without double
  quantization (4.5 bits), although the text describes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from qlora.memory.shapes import LLAMA, LlamaShape

MIB = 2**20
RANK = 64
SEQUENCE_LENGTH = 512
#: Bits a weight: 4 and fp32 absmax of 64 weights; the same with double quantization (section 3 of the paper).
BITS_PLAIN = 4 + 32 / 64
BITS_DOUBLE_QUANTIZED = 4 + 8 / 64 + 32 / (64 * 256)
#: From the bottom of the figure's bars to the top.
COMPONENTS = ("model", "adapters", "weight_gradient", "optimizer", "input_gradient")

#: model -> component -> MiB
Figure = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class OverheadFit:
    """The constant that brings the model's bytes closest to the figure's bars, and how close that is.

    Args:
        bits: bits a linear weight that were assumed.
        overhead_mib: the constant.
        deviation: model -> (formula - paper) / paper.
    """

    bits: float
    overhead_mib: float
    deviation: dict[str, float]

    @property
    def largest_deviation(self) -> float:
        """Of the four sizes, as a share without sign."""
        return max(map(abs, self.deviation.values()))


def adapters_mib(shape: LlamaShape) -> float:
    """2 B · r · 18 h · L with r = 64, in MiB; Figure 6's adapters to the last printed digit."""
    return 2 * RANK * 18 * shape.hidden_size * shape.layers / MIB


def optimizer_mib(shape: LlamaShape) -> float:
    """8 B · r · 18 h · L with r = 64, in MiB; Figure 6's optimizer to the last printed digit."""
    return 4 * adapters_mib(shape)


def input_gradient_mib(shape: LlamaShape) -> float:
    """27 h · 512 · 2 B of one layer, in MiB."""
    return 27 * shape.hidden_size * SEQUENCE_LENGTH * 2 / MIB


def weights_mib(shape: LlamaShape, bits: float) -> float:
    """bits / 8 · linear weights + 2 B · (embedding, head, norms), in MiB, without overhead."""
    return (shape.linear_parameters * bits / 8 + shape.unquantized_parameters * 2) / MIB


def fit_overhead(paper: Figure, bits: float = BITS_PLAIN) -> OverheadFit:
    """The one constant c for all sizes with the least sum of squared relative errors.

    c = Σ (p - w) / p² / Σ 1 / p², where p is the figure's model bar and w is `weights_mib`.

    Args:
        paper: model -> component -> MiB; "model" is read of each of `LLAMA`.
        bits: bits a linear weight.
    """
    bars = {name: paper[name]["model"] for name in LLAMA}
    weights = {name: weights_mib(shape, bits) for name, shape in LLAMA.items()}
    overhead = sum((bar - weights[name]) / bar**2 for name, bar in bars.items()) / sum(
        1 / bar**2 for bar in bars.values()
    )
    return OverheadFit(bits, overhead, {name: (weights[name] + overhead) / bars[name] - 1 for name in LLAMA})


def recreate(paper: Figure) -> dict[str, dict[str, float]]:
    """Figure 6 from the formulas of this module.

    Args:
        paper: the figure's own numbers; only the overhead in "model" is fitted to them.

    Returns:
        model -> component -> MiB, models and components in the figure's order.
    """
    overhead = fit_overhead(paper).overhead_mib
    return {
        name: {
            "model": weights_mib(shape, BITS_PLAIN) + overhead,
            "adapters": adapters_mib(shape),
            "weight_gradient": adapters_mib(shape),
            "optimizer": optimizer_mib(shape),
            "input_gradient": input_gradient_mib(shape),
        }
        for name, shape in LLAMA.items()
    }
