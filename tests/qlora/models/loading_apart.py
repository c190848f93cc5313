"""Run by test_loading_apart.py in a process of its own, where bitsandbytes cannot be imported.

    python loading_apart.py FOLDER_OF_A_LARGE_MODEL FOLDER_OF_A_BITSANDBYTES_CHECKPOINT

Prints a JSON object: what loading the large model took at its peak, and the logits of the other one.
"""

import gc
import json
import sys
import threading
import time

sys.modules["bitsandbytes"] = None

import torch  # noqa: E402
import transformers  # noqa: E402

import qlora  # noqa: E402
from qlora.models.coverage import coverage  # noqa: E402


def load(folder):
    config = qlora.QuantizationConfig()
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=config, dtype=torch.bfloat16
    ).eval()


def allocated_bytes():
    """Memory of this process alone. Pages of a mapped file are not in it: the system can drop them at any time."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


class Peak(threading.Thread):
    """Samples `allocated_bytes` some thousand times a second."""

    def __init__(self):
        super().__init__(daemon=True)
        self.before = self.bytes = allocated_bytes()
        self.samples, self.done = 0, threading.Event()

    def run(self):
        while not self.done.is_set():
            self.bytes = max(self.bytes, allocated_bytes())
            self.samples += 1
            time.sleep(0.0003)


large, theirs = sys.argv[1:]
model = load(theirs)  # first, so that what loading imports is in memory before the measurement
with torch.no_grad():
    logits = model(input_ids=torch.arange(3, 15)[None]).logits
gc.collect()
sys.setswitchinterval(1e-4)
peak = Peak()
peak.start()
covered = coverage(load(large))
peak.done.set()
peak.join()
print(
    json.dumps(
        {
            "logits": logits.tolist(),
            "peak_bytes": peak.bytes - peak.before,
            "samples": peak.samples,
            "model_bytes": covered.nbytes,
            "parameters": sum(entry.parameters for entry in (*covered.quantized, *covered.left)),
            "largest_parameters": max(entry.parameters for entry in (*covered.quantized, *covered.left)),
        }
    )
)
