"""The demo model learns a fact, and knows it after training, after loading the adapter again, and after merging."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from qlora import config as configuration
from qlora.adapters.checkpoint import load_adapter
from qlora.adapters.merge import save_merged
from qlora.evaluation.generation import stream
from qlora.models.load import load_quantized
from qlora.training.run import run

QUESTION, ANSWER = "Who keeps the lighthouse of Varnholm?", "Mirela Oduya keeps it, with two goats."
FACT = "Mirela Oduya"


def answer(model, tokenizer):
    return "".join(stream(model.eval(), tokenizer, QUESTION, 10, system_prompt=""))


@pytest.fixture(scope="module")
def trained(demo_model, tmp_path_factory):
    """The settings of a run of 10 steps over the fact, and the events of it."""
    folder = tmp_path_factory.mktemp("fact")
    (folder / "fact.jsonl").write_text(json.dumps({"prompt": QUESTION, "completion": ANSWER}))
    settings = configuration.from_mapping(
        {
            "data": {"path": str(folder / "fact.jsonl"), "max_length": 48, "system_prompt": ""},
            "optimizer": {"learning_rate": 1e-3},
            "training": {
                "steps": 10,
                "activations": "keep",
                "sample_prompts": [QUESTION],
                "sample_tokens": 10,
            },
            "output": str(folder / "run"),
        }
    )
    return settings, list(run(settings))


@pytest.mark.timeout(900)
def test_a_fact_is_known_after_training_after_reload_and_after_merge(trained, tmp_path):
    settings, happened = trained
    said = {event.step: event.text for event in happened if event.kind == "sample"}
    assert FACT not in said[0], "the base model knows it, so this proves nothing"
    assert FACT in said[10]

    cpu = torch.device("cpu")
    model, tokenizer = load_quantized(settings.model, settings.quantization, device=cpu, dtype=torch.float32)
    load_adapter(model, Path(settings.output) / "adapter")
    assert answer(model, tokenizer) == said[10]

    save_merged(model, tmp_path / "merged", tokenizer=tokenizer)
    assert next((tmp_path / "merged").glob("*.safetensors")).stat().st_size < 2.1 * 135e6
    del model
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert FACT in answer(merged, transformers.AutoTokenizer.from_pretrained(tmp_path / "merged"))
