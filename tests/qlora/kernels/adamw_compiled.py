"""Run by test_adamw.py in a process of its own: compiles the optimizer's kernel ahead of time, as compiled.py does for
the others."""

import itertools
import sys

import compiled

from qlora.kernels.adamw import _TILE_BLOCKS, _WARPS, _adamw

_ARGUMENTS = {
    "pages_ptr": "*i64",
    "levels_ptr": "*fp32",
    "thresholds_ptr": "*fp32",
    "below_ptr": "*u8",
    "tiles": "i32",
    **dict.fromkeys(
        ("decay", "mean_weight", "beta2", "square_weight", "step_size", "root_correction", "eps"),
        "fp32",
    ),
}

if __name__ == "__main__":
    compiled.KERNELS = {
        f"adamw_{bits}bit_{dtype}": (
            _adamw,
            {"parameters_ptr": f"*{dtype}", "gradient_ptr": f"*{dtype}", **_ARGUMENTS},
            {"STATE_BITS": bits, "BLOCK": 256, "TILE_BLOCKS": _TILE_BLOCKS[bits]},
            _WARPS,
            False,
        )
        for bits, dtype in itertools.product((32, 8), ("fp32", "bf16"))
    }
    compiled.main(int(sys.argv[1]))
