"""The adapter for lm-eval: with that package where it is installed, else with its documented request objects."""

import importlib.util
import sys
import types
from dataclasses import dataclass

import pytest
import torch

from qlora.errors import InputError

INSTALLED = importlib.util.find_spec("lm_eval") is not None


@dataclass
class Request:
    """The part of ``lm_eval.api.instance.Instance`` that models are given: ``args``."""

    args: tuple


@pytest.fixture
def adapter(monkeypatch):
    if not INSTALLED:
        package, api, module = (types.ModuleType(n) for n in ("lm_eval", "lm_eval.api", "lm_eval.api.model"))
        module.LM = type("LM", (), {})
        for part in (package, api, module):
            monkeypatch.setitem(sys.modules, part.__name__, part)
    # What was imported with the stand-in must not stay for others.
    monkeypatch.delitem(sys.modules, "qlora.evaluation.lm_eval_adapter", raising=False)
    from qlora.evaluation import lm_eval_adapter

    yield lm_eval_adapter.QuantizedLM
    sys.modules.pop("qlora.evaluation.lm_eval_adapter", None)


def test_loglikelihood(guesser, adapter, brute_force):
    model, tokenizer = guesser
    texts = [("A page is", " a range"), ("", "states"), ("Q: which?\nA:", " B")]
    got = adapter(model, tokenizer, batch_size=2).loglikelihood([Request(text) for text in texts])
    for (context, continuation), (value, greedy) in zip(texts, got, strict=True):
        start = tokenizer(context).input_ids or [tokenizer.bos_token_id]
        assert value == pytest.approx(brute_force(model, start, tokenizer(continuation).input_ids), rel=1e-5)
        assert greedy is False


def test_a_long_context_loses_its_beginning(guesser, adapter, brute_force):
    model, tokenizer = guesser
    context = "word " * 300 + "end"
    ((value, _),) = adapter(model, tokenizer).loglikelihood([Request((context, " of it"))])
    after = tokenizer(" of it").input_ids
    start = tokenizer(context).input_ids[-(257 - len(after)) :]
    assert len(start) + len(after) == 257, "256 are read, and the last one is only predicted"
    assert value == pytest.approx(brute_force(model, start, after), rel=1e-5)
    with pytest.raises(InputError, match="takes 256"):
        adapter(model, tokenizer).loglikelihood([Request(("a", " word" * 300))])


def test_rolling_predicts_every_token_once(guesser, adapter, brute_force):
    model, tokenizer = guesser
    text = "pages come and pages go. " * 60
    ids = tokenizer(text).input_ids
    assert len(ids) > 256, "it must take more than one pass"
    whole = [tokenizer.bos_token_id, *ids]
    cut = 257
    expected = brute_force(model, whole[:1], whole[1:cut])
    expected += brute_force(model, whole[len(whole) - 257 : cut], whole[cut:])
    short = brute_force(model, whole[:1], whole[1:4])
    got = adapter(model, tokenizer).loglikelihood_rolling([Request((text,)), Request((tokenizer.decode(ids[:3]),))])
    assert got == pytest.approx([expected, short], rel=1e-5)


def test_generate_until(guesser, adapter):
    model, tokenizer = guesser
    prompt = tokenizer("Pages leave", return_tensors="pt").input_ids
    with torch.no_grad():
        plain = model.generate(prompt, max_new_tokens=12, do_sample=False)[0, prompt.shape[1] :]
    text = tokenizer.decode(plain, skip_special_tokens=True)
    mark = text[len(text) // 2 :][:3]
    assert mark.strip()
    settings = (
        {"max_gen_toks": 12},
        {"max_gen_toks": 12, "until": [mark, "never there"]},
        {"max_gen_toks": 2, "until": "x"},
    )
    whole, stopped, short = adapter(model, tokenizer).generate_until([Request(("Pages leave", s)) for s in settings])
    assert whole == text
    assert stopped == text.split(mark)[0] != text
    assert text.startswith(short) and len(short) < len(text)
    with pytest.raises(ValueError, match="greedy"):
        adapter(model, tokenizer).generate_until([Request(("a", {"do_sample": True, "temperature": 0.7}))])


@pytest.mark.skipif(not INSTALLED, reason="lm-eval is an extra that is not installed")
def test_the_packages_own_evaluation_runs(guesser, adapter, tmp_path):
    import lm_eval

    (tmp_path / "rows.jsonl").write_text('{"q": "Which?", "a": 0}\n{"q": "What?", "a": 1}\n')
    (tmp_path / "task.yaml").write_text(
        "task: tiny\ndataset_path: json\ntest_split: test\noutput_type: multiple_choice\n"
        f"dataset_kwargs: {{data_files: {{test: {tmp_path / 'rows.jsonl'}}}}}\n"
        "doc_to_text: '{{q}}'\ndoc_to_target: a\ndoc_to_choice: ['yes', 'no']\n"
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    found = lm_eval.simple_evaluate(model=adapter(*guesser), tasks=["tiny"], task_manager=manager, bootstrap_iters=0)
    assert found["results"]["tiny"]["acc,none"] in (0.0, 0.5, 1.0)
    assert len(found["samples"]["tiny"]) == 2
