"""The optimizer's operator and its kernel, without a GPU: interpreted, and compiled for GPUs that are not there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qlora.kernels.adamw_op import STATE_BLOCK_BYTES, adamw

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
SETTINGS = (1e-2, 0.9, 0.999, 1e-8, 0.0, 1)


def run(script: str, *arguments: str, **environment: str) -> str:
    pytest.importorskip("triton", reason="triton is for Linux only")
    command = [sys.executable, str(HERE / script), *arguments]
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def page(blocks, bits):
    return torch.zeros(blocks * STATE_BLOCK_BYTES[bits], dtype=torch.uint8)


def test_the_kernel_equals_the_reference_under_the_interpreter():
    assert run("adamw_interpreted.py", TRITON_INTERPRET="1") == "12 steps equal\n"


@pytest.mark.parametrize("capability", ["80", "90"])
def test_the_kernel_compiles_ahead_of_time_without_spilling(capability, tmp_path):
    reported = json.loads(run("adamw_compiled.py", capability, TRITON_CACHE_DIR=str(tmp_path)))
    assert set(reported) == {"adamw_32bit_fp32", "adamw_32bit_bf16", "adamw_8bit_fp32", "adamw_8bit_bf16"}
    for name, usage in reported.items():
        assert usage["stack_bytes"] == 0, f"{name} spills: {usage}"
        assert 0 < usage["registers"] <= 64, f"{name}: fewer than 1024 threads fit an SM: {usage}"


@pytest.mark.parametrize("bits", [32, 8])
def test_the_operator_passes_torchs_own_check(bits):
    parameters, gradient = torch.randn(512), torch.randn(512)
    torch.library.opcheck(adamw, (parameters, gradient, [page(1, bits), page(1, bits)], [0, 256], bits, *SETTINGS))


@pytest.mark.parametrize(
    ("pages", "starts", "bits", "message"),
    [
        ([page(1, 32)], [0], 16, "state_bits: expected 32 or 8, got 16"),
        ([page(1, 32)], [0, 256], 32, "starts: expected one for each of 1 pages, got 2"),
        ([page(1, 32)[:-1]], [0], 32, "2047 bytes from parameter 0 on are not the state of whole blocks"),
        ([page(2, 8)], [256], 8, "1040 bytes from parameter 256 on"),
        ([page(1, 8)], [-256], 8, "from parameter -256 on"),
        ([page(1, 8)], [100], 8, "from parameter 100 on"),
        ([page(1, 8).view(torch.int8)], [0], 8, "expected uint8 on cpu, got torch.int8"),
    ],
)
def test_pages_that_do_not_fit_are_refused(pages, starts, bits, message):
    with pytest.raises(ValueError, match=message):
        adamw(torch.zeros(512), torch.zeros(512), pages, starts, bits, *SETTINGS)


def test_parameters_that_are_not_whole_blocks_are_refused():
    with pytest.raises(ValueError, match=r"n a multiple of 256, got \(100,\)"):
        adamw(torch.zeros(100), torch.zeros(100), [], [], 32, *SETTINGS)
