"""Run by test_triton.py in a process of its own: compiles each kernel for a GPU that need not be there and prints the
registers that spill, as the assembler counts them."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import qlora.kernels.dequantize as dequantize
import qlora.kernels.matmul as matmul
import qlora.kernels.matvec as matvec
import qlora.kernels.quantize as quantize

_CONSTANTS = {"absmax_ptr": "*u8", "nested_absmax_ptr": "*fp32", "offset_ptr": "*fp32", "nested_codebook_ptr": "*fp32"}
_FORMAT = {"BLOCK_SIZE": 64, "ABSMAX_BLOCK": 256, "NESTED": True}
_WIDTH = 4096  # in_features of the products

#: Name -> kernel, types of its arguments, compile-time arguments, warps, whether products may be fused with sums.
KERNELS = {
    "dequantize": (
        dequantize._dequantize_4bit,
        {"packed_ptr": "*i32", **_CONSTANTS, "codebook_ptr": "*fp32", "out_ptr": "*bf16", "count": "i32"},
        {**_FORMAT, "CODES": 8, "TILE": dequantize._TILE_WORDS},
        dequantize._WARPS,
        False,
    ),
    "quantize": (
        quantize._quantize_4bit,
        {
            "weights_ptr": "*bf16",
            "table_ptr": "*i32",
            "packed_ptr": "*u8",
            "absmax_ptr": "*fp32",
            "count": "i32",
            "first_tile": "i32",
        },
        {
            "WHOLE": True,
            "CELLS": 32,
            "SPREAD": 11.25,
            "ASCENDING": True,
            "BLOCK_SIZE": 64,
            "TILE_BLOCKS": quantize._TILE_WEIGHTS // 64,
        },
        quantize._WARPS,
        False,
    ),
    "quantize_absmax": (
        quantize._quantize_absmax,
        {
            "absmax_ptr": "*fp32",
            "offset_ptr": "*fp32",
            "grid_ptr": "*u8",
            "codes_ptr": "*u8",
            "nested_absmax_ptr": "*fp32",
            "count": "i32",
        },
        {"BLOCK": 256, "TILE_BLOCKS": 4},
        4,
        False,
    ),
    "few_rows": (
        matmul._few_rows,
        {
            "x_ptr": "*i32",
            "packed_ptr": "*u8",
            **_CONSTANTS,
            "codebook_ptr": "*fp32",
            "out_ptr": "*bf16",
            "rows": "i32",
            "out_features": "i32",
        },
        {
            "DECODE": matmul._decode("nf4", torch.bfloat16),
            "HALF": tl.bfloat16,
            "CHUNKS": _WIDTH // matmul.CHUNK,
            "CHUNKS_PER_BLOCK": 1,
            "ABSMAX_BLOCK": 256,
            "NESTED": True,
            "ROWS": 16,
            "TILE_OUT": matmul._TILE_OUT,
            "SLICES": matmul._SLICES,
            "STEPS": _WIDTH // matmul.CHUNK // matmul._SLICES,
            "STAGES": matmul._STAGES,
        },
        matmul._WARPS,
        True,
    ),
    "one_row": (
        matvec._one_row,
        {
            "fixed_ptr": "*i32",
            "factor_ptr": "*fp32",
            "packed_ptr": "*i32",
            **_CONSTANTS,
            "codebook_ptr": "*fp32",
            "out_ptr": "*bf16",
            "out_features": "i32",
        },
        {
            "DOT": matvec._dot("nf4")[0],
            "WORDS": _WIDTH // 8,
            **_FORMAT,
            "REACH": 1.0,
            "TILE_OUT": matvec._TILE_OUT,
            "TILE_WORDS": matvec._TILE_WORDS,
        },
        matvec._WARPS,
        True,
    ),
    "fix_point": (
        matvec._fix_point,
        {"x_ptr": "*bf16", "fixed_ptr": "*i32", "factor_ptr": "*fp32", "groups": "i32"},
        {"TILE": 32},
        4,
        True,
    ),
}


def main(capability: int) -> None:
    tool = next(Path(triton.__file__).parent.rglob("cuobjdump"))
    spills = {}
    for name, (kernel, signature, constants, warps, fusion) in KERNELS.items():
        # Triton compiles for 16-byte alignment when the arguments have it, as torch's allocations do.
        aligned = {(kernel.arg_names.index(k),): [["tt.divisibility", 16]] for k, v in signature.items() if v[0] == "*"}
        source = ASTSource(kernel, {**signature, **dict.fromkeys(constants, "constexpr")}, constants, aligned)
        options = {"num_warps": warps, "enable_fp_fusion": fusion}
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
