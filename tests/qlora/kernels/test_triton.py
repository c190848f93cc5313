"""The Triton kernels without a GPU: run by Triton's interpreter, and compiled for GPUs that are not there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is for Linux only")
HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]


def run(script: str, *arguments: str, **environment: str) -> str:
    # TRITON_INTERPRET is read when triton is imported, so each way of running needs a process of its own.
    command = [sys.executable, str(HERE / script), *arguments]
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_kernels_equal_the_reference_under_the_interpreter():
    assert run("interpreted.py", TRITON_INTERPRET="1") == "36 cases equal, 5 products right\n"


@pytest.mark.parametrize("capability", ["80", "90"])
def test_kernels_compile_ahead_of_time_without_spilling(capability, tmp_path):
    reported = json.loads(run("compiled.py", capability, TRITON_CACHE_DIR=str(tmp_path)))
    assert {"dequantize", "quantize", "quantize_absmax", "few_rows", "one_row", "fix_point"} <= set(reported)
    for name, usage in reported.items():
        assert usage["stack_bytes"] == 0, f"{name} spills: {usage}"
        assert 0 < usage["registers"] <= 255, usage
