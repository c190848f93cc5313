"""In a process of its own: the memory that loading takes at its peak, and loading without bitsandbytes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def theirs(small_model, tmp_path_factory):
    """(a small model quantized by bitsandbytes, the folder it is saved in)"""
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    auto, folder = small_model("llama")
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    model = auto.from_pretrained(folder, quantization_config=settings, dtype=torch.bfloat16)
    saved = tmp_path_factory.mktemp("bitsandbytes")
    model.save_pretrained(saved)
    return model, saved


@pytest.fixture(scope="module")
def apart(theirs, tmp_path_factory):
    """What loading_apart.py prints."""
    from transformers import LlamaConfig, LlamaForCausalLM

    # Few and large layers, so that what Python itself takes stays far below the 5 % of the bar; the largest tensors
    # are quantized ones. In float16, so that nothing can be used where the file is mapped: all is converted.
    shape = LlamaConfig(
        hidden_size=1536, intermediate_size=4096, num_hidden_layers=2, num_attention_heads=12, vocab_size=512
    )
    folder = tmp_path_factory.mktemp("large")
    torch.set_default_dtype(torch.float16)
    try:
        LlamaForCausalLM(shape).save_pretrained(folder, max_shard_size="40MB")
    finally:
        torch.set_default_dtype(torch.float32)
    assert len(list(folder.glob("*.safetensors"))) > 1, "expected several shards, else this proves less"
    script = Path(__file__).with_name("loading_apart.py")
    # glibc keeps freed blocks below this size for later, which would be counted; so they are given back.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(folder), str(theirs[1])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=250)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_peak_while_loading_is_the_quantized_model_and_one_tensor(apart):
    largest_bytes = 2 * apart["largest_parameters"]
    bar = 1.05 * (apart["model_bytes"] + largest_bytes)
    assert apart["samples"] > 200, "too few samples to have seen the peak"
    assert bar < 0.5 * 2 * apart["parameters"], "else the 16-bit model would fit under the bar"
    assert apart["model_bytes"] < apart["peak_bytes"] <= bar


def test_a_bitsandbytes_checkpoint_loads_without_bitsandbytes(apart, theirs):
    model, _ = theirs
    with torch.no_grad():
        expected = model(input_ids=torch.arange(3, 15)[None]).logits
    torch.testing.assert_close(torch.tensor(apart["logits"]), expected.float(), rtol=0, atol=2**-6)
