"""Run by test_triton.py in a process of its own: compiles each kernel for a GPU that need not be there and prints the
registers that spill, as the assembler counts them."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from qlora.kernels.dequantize import _TILE_WORDS, _dequantize_4bit
from qlora.kernels.quantize import _TILE_WEIGHTS, _quantize_4bit, _quantize_absmax

_DEQUANTIZE = {
    "packed_ptr": "*i32",
    "absmax_ptr": "*u8",
    "nested_absmax_ptr": "*fp32",
    "offset_ptr": "*fp32",
    "nested_codebook_ptr": "*fp32",
    "codebook_ptr": "*fp32",
    "out_ptr": "*bf16",
    "count": "i32",
}
_QUANTIZE = {
    "weights_ptr": "*bf16",
    "thresholds_ptr": "*fp32",
    "codes_ptr": "*i32",
    "packed_ptr": "*u8",
    "absmax_ptr": "*fp32",
    "count": "i32",
}
_ABSMAX = {
    "absmax_ptr": "*fp32",
    "offset_ptr": "*fp32",
    "grid_ptr": "*u8",
    "codes_ptr": "*u8",
    "nested_absmax_ptr": "*fp32",
    "count": "i32",
}
KERNELS = {
    "dequantize": (
        _dequantize_4bit,
        _DEQUANTIZE,
        {"BLOCK_SIZE": 64, "ABSMAX_BLOCK": 256, "NESTED": True, "CODES": 8, "TILE": _TILE_WORDS},
    ),
    "quantize": (_quantize_4bit, _QUANTIZE, {"CELLS": 23, "BLOCK_SIZE": 64, "TILE_BLOCKS": _TILE_WEIGHTS // 64}),
    "quantize_absmax": (_quantize_absmax, _ABSMAX, {"BLOCK": 256, "TILE_BLOCKS": 4}),
}


def main(capability: int) -> None:
    tool = next(Path(triton.__file__).parent.rglob("cuobjdump"))
    spills = {}
    for name, (kernel, signature, constants) in KERNELS.items():
        source = ASTSource(kernel, {**signature, **dict.fromkeys(constants, "constexpr")}, constants)
        options = {"num_warps": 4, "enable_fp_fusion": False}
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(compiled.asm["cubin"])
            file.flush()
            report = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
        fields = dict(part.split(":", 1) for part in report.split() if part.count(":") == 1)
        spills[name] = {"registers": int(fields["REG"]), "stack_bytes": int(fields["STACK"])}
    print(json.dumps(spills))


if __name__ == "__main__":
    main(int(sys.argv[1]))
