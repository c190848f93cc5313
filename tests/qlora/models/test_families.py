"""The model families of the paper, and those that people use: each learns one batch by heart, in 4 bit."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers

import qlora
from qlora import config as configuration
from qlora.adapters.attach import adapted_layers, adapters_disabled
from qlora.adapters.checkpoint import load_adapter
from qlora.errors import InputError
from qlora.models.coverage import coverage
from qlora.models.load import load_quantized
from qlora.training.run import resume, run

# The usual 0.02 would make logits so small that no adapter could raise one of 49152 far above the others.
SHAPE = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.2}
LLAMA_LIKE = {**SHAPE, "intermediate_size": 96, "num_key_value_heads": 2, "max_position_embeddings": 66}
T5 = {
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 96,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
    "dropout_rate": 0.0,
}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
# Family -> its config in transformers, with the linear layers of one model of two blocks that get an adapter.
FAMILIES = {
    "llama": ("LlamaConfig", LLAMA_LIKE, 14),
    "mistral": ("MistralConfig", {**LLAMA_LIKE, "head_dim": 16}, 14),
    "qwen": ("Qwen2Config", LLAMA_LIKE, 14),
    "opt": (
        "OPTConfig",
        {**SHAPE, "init_std": 0.2, "ffn_dim": 96, "word_embed_proj_dim": 32, "max_position_embeddings": 66},
        14,
    ),
    "bloom": ("BloomConfig", {"hidden_size": 64, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}, 8),
    "gpt-neox": ("GPTNeoXConfig", {**SHAPE, "intermediate_size": 96, "max_position_embeddings": 66}, 8),
    "t5": ("T5Config", T5, 32),
    "roberta": ("RobertaConfig", {**SHAPE, "intermediate_size": 96, "max_position_embeddings": 66, **NO_DROPOUT}, 12),
    "llama classifier": ("LlamaConfig", LLAMA_LIKE, 14),
}
CAUSAL = [name for name in FAMILIES if name not in ("t5", "roberta", "llama classifier")]
LABELS = ("weather", "food")
ROWS = {
    "causal": [{"prompt": "What is a page?", "completion": "A range of optimizer state."}] * 2,
    "seq2seq": [
        {"prompt": "translate: the house", "completion": "das Haus"},
        {"prompt": "translate: the small garden behind it", "completion": "der kleine Garten dahinter"},
    ],
    "classification": [{"text": "rain all day, and then some more", "label": "weather"}, {"text": "soup", "label": 1}],
}


def task_of(name):
    return {"t5": "seq2seq", "roberta": "classification", "llama classifier": "classification"}.get(name, "causal")


def auto_class(name):
    return {"seq2seq": transformers.AutoModelForSeq2SeqLM}.get(task_of(name), transformers.AutoModelForCausalLM)


@pytest.fixture(scope="module")
def settings(demo_model, tmp_path_factory):
    """name -> the configuration of a run on a small random model of that family."""

    def make(name, **training):
        kind, shape, _ = FAMILIES[name]
        tmp_path = tmp_path_factory.mktemp(name.replace(" ", "-"))
        folder = tmp_path / "model"
        folder.mkdir()
        for file in demo_model.iterdir():
            if file.name.startswith(("tokenizer", "special_tokens", "chat_template", "vocab", "merges")):
                shutil.copy(file, folder)
        demo = transformers.AutoConfig.from_pretrained(demo_model)
        tokens = {key: getattr(demo, key) for key in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")}
        torch.manual_seed(0)
        config = getattr(transformers, kind)(**{**tokens, **shape})
        auto = transformers.AutoModelForMaskedLM if name == "roberta" else auto_class(name)
        auto.from_config(config).save_pretrained(folder)
        task = task_of(name)
        (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, ROWS[task])))
        return configuration.from_mapping(
            {
                "model": {"name": str(folder), "task": task, "labels": LABELS if task == "classification" else ()},
                "data": {"path": str(tmp_path / "data.jsonl"), "max_length": 48, "system_prompt": ""},
                "optimizer": {"learning_rate": 1e-2},
                "training": {"steps": 12, "batch_size": 2, **training},
                "output": str(tmp_path / "run"),
            }
        )

    return make


@pytest.fixture(scope="module")
def learnt(settings):
    """name -> the configuration and the events of a run that is done."""
    done = {}

    def make(name):
        if name not in done:
            configured = settings(name)
            done[name] = configured, list(run(configured))
        return done[name]

    return make


def batch_loss(model, tokenizer, settings):
    """The model's own loss of the whole data, by transformers."""
    rows = ROWS[settings.model.task]
    if settings.model.task == "classification":
        inputs = tokenizer([row["text"] for row in rows], return_tensors="pt", padding=True)
        return model(**inputs, labels=torch.tensor([0, 1])).loss.item()
    inputs = tokenizer([row["prompt"] for row in rows], return_tensors="pt", padding=True)
    targets = [[*tokenizer(row["completion"]).input_ids, tokenizer.eos_token_id] for row in rows]
    labels = torch.full((2, max(map(len, targets))), -100)
    for row, target in zip(labels, targets, strict=True):
        row[: len(target)] = torch.tensor(target)
    return model(**inputs, labels=labels).loss.item()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_learns_a_batch_by_heart(learnt, name):
    settings, happened = learnt(name)
    steps = [event for event in happened if event.kind == "step"]
    assert happened[-1].outcome == "finished" and len(steps) == 12
    losses = [step.loss for step in steps]
    assert losses[-1] < 0.4 * losses[0], losses

    cpu, fp32 = torch.device("cpu"), torch.float32
    torch.manual_seed(settings.training.seed)  # of a classifier's head
    model, tokenizer = load_quantized(settings.model, settings.quantization, device=cpu, dtype=fp32)
    quantized = sum(isinstance(m, qlora.QuantizedLinear) for m in model.modules())
    load_adapter(model, Path(settings.output) / "adapter")
    layers = dict(adapted_layers(model))
    assert len(layers) == FAMILIES[name][2] and sum(isinstance(m.base, qlora.QuantizedLinear) for m in layers.values())
    # T5's definition keeps `wo` in full precision, and says so.
    assert len(layers) - quantized == (4 if name == "t5" else 0)
    assert all(entry.reason == "the model's definition asks for full precision" for entry in coverage(model).unexpected)
    if name not in CAUSAL:
        with torch.no_grad():
            reloaded = batch_loss(model, tokenizer, settings)
            with adapters_disabled(model):
                untrained = batch_loss(model, tokenizer, settings)
        assert untrained == pytest.approx(losses[0], rel=1e-4)
        assert reloaded < losses[-1] + 1e-3


@pytest.mark.parametrize("name", ["t5", "roberta"])
def test_accumulation_equals_the_large_batch(settings, name):
    settings = settings(name, steps=1)
    large = [event for event in run(settings) if event.kind == "step"]
    small = {"batch_size": 1, "accumulation": 2}
    fields = configuration.to_mapping(settings)
    fields |= {"training": fields["training"] | small, "output": settings.output + "-small"}
    small = [event for event in run(configuration.from_mapping(fields)) if event.kind == "step"]
    assert large[0].tokens == small[0].tokens and large[0].trained_tokens == small[0].trained_tokens > 1
    for a, b in zip(large, small, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=1e-5) and b.gradient_norm == pytest.approx(a.gradient_norm, rel=1e-4)


@pytest.mark.parametrize("name", ["t5", "roberta"])
def test_a_task_is_evaluated_and_resumed_to_the_bit(settings, name):
    fields = configuration.to_mapping(settings(name, steps=4, checkpoint_steps=1, batch_size=1))
    fields["adapter"]["dropout"] = 0.2
    fields["data"]["evaluation_path"], fields["training"]["evaluation_steps"] = fields["data"]["path"], 2
    whole = figures(run(configuration.from_mapping(fields)))
    assert len(whole) == 6, "expected four steps and two evaluations"
    fields["output"] += "-interrupted"
    parts, stream = {}, run(configuration.from_mapping(fields))
    for event in stream:
        parts |= figures([event])
        if event.kind == "checkpoint" and event.step == 3:
            break
    stream.close()
    parts |= figures(resume(Path(fields["output"])))
    assert parts == whole


def figures(stream):
    return {(event.kind, event.step): event.loss for event in stream if event.kind in ("step", "evaluation")}


@pytest.mark.parametrize("name", ["t5", "roberta"])
def test_peft_loads_what_a_task_trained(learnt, name):
    peft = pytest.importorskip("peft")
    settings, _ = learnt(name)
    cpu, fp32 = torch.device("cpu"), torch.float32
    folder = Path(settings.output) / "adapter"
    losses = []
    for theirs in (False, True):
        torch.manual_seed(0)
        model, tokenizer = load_quantized(settings.model, settings.quantization, device=cpu, dtype=fp32)
        dequantize(model)
        with torch.no_grad():
            before = batch_loss(model, tokenizer, settings)
        if theirs:
            model = peft.PeftModel.from_pretrained(model, folder).eval()
        else:
            load_adapter(model, folder)
        with torch.no_grad():
            losses.append(batch_loss(model, tokenizer, settings))
    assert losses[0] < 0.5 * before, "else the adapter has no effect, and this proves nothing"
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def dequantize(model):
    """Plain linear layers in the place of quantized ones, which PEFT does not know."""
    for name, module in list(model.named_modules()):
        if isinstance(module, qlora.QuantizedLinear):
            linear = torch.nn.Linear(module.in_features, module.out_features, bias=module.bias is not None)
            linear.weight.data = module.quantized_weight.dequantize(torch.float32)
            if module.bias is not None:
                linear.bias.data = module.bias.data
            model.set_submodule(name, linear)
    model.is_quantized = False
    del model.config.quantization_config


def test_samples_longer_than_the_positions_of_roberta_are_refused(settings):
    settings = settings("roberta")
    fields = configuration.to_mapping(settings)
    fields["data"]["max_length"] = 65
    with pytest.raises(InputError, match=r"data.max_length is 65, but the model takes at most"):
        list(run(configuration.from_mapping(fields)))
