"""Whether memory suffices is said before anything is loaded: refused, too close to say, fine, or not known."""

import dataclasses
import json
import re
from types import SimpleNamespace

import pytest
import torch

from qlora import config as configuration
from qlora.errors import InputError
from qlora.memory.budget import Fit, run_options
from qlora.memory.model_config import shape_of
from qlora.training import preflight

CPU, FP32 = torch.device("cpu"), torch.float32
MIB = 2**20


@pytest.fixture
def settings(tiny_model):
    def make(budget_mib=None, **sections):
        fields = {
            "model": {"name": str(tiny_model)},
            "data": {"max_length": 200},
            "training": {"batch_size": 4, "loss_chunk_tokens": 4},
            "optimizer": {"device_budget_mib": budget_mib},
        }
        for name, section in sections.items():
            fields[name] = fields.get(name, {}) | section
        return configuration.from_mapping(fields)

    return make


@pytest.fixture
def needed_mib(settings):
    """What the largest batch of these settings is estimated to take."""

    def estimated(config=None, **options):
        config = config or settings()
        rows, tokens = config.training.batch_size, config.data.max_length
        types = {"compute_dtype": "float32", "adapter_dtype": "float32"}
        batch = run_options(config, rows=rows, tokens=tokens, **types, **options)
        return Fit(config, shape_of(config.model.name), batch, 1).result.peak_bytes_paged_out / MIB

    return estimated


def check(config, device=CPU, **options):
    return preflight.check_budget(config, device, FP32, **options)


def test_enough_memory_is_not_spoken_of(settings, needed_mib):
    assert check(settings(needed_mib() / 0.94)) == []
    assert check(settings()) == [], "a CPU without a budget has no end"


def test_too_much_is_refused_with_what_helps(settings, needed_mib):
    config = settings(needed_mib() / 1.06)
    with pytest.raises(InputError) as raised:
        check(config)
    message = str(raised.value)
    assert re.fullmatch(
        r"A batch of 4 x 200 tokens needs about \S+ MiB on the device with all optimizer pages out "
        r"\([a-z ]+ \S+ MiB, [a-z ]+ \S+ MiB, [a-z ]+ \S+ MiB\), and "
        r"optimizer.device_budget_mib allows \S+ MiB. What helps, in this order: shorten data.max_length \(to \d+ is "
        r"enough\); lower training.batch_size \(to 3 is enough\) and raise training.accumulation; lower adapter.r.*\.",
        message,
    ), message
    sizes = [float(size.replace(",", "")) for size in re.findall(r"(\S+) MiB[,)]", message)]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == 3


def test_each_remedy_that_is_enough_is_enough(settings, needed_mib):
    """And one token more is not."""
    config = settings(needed_mib(checkpointed_layers=0) / 1.2)
    with pytest.raises(InputError) as raised:
        check(config, checkpointed_layers=0)
    tokens = int(re.search(r"shorten data.max_length \(to (\d+) is enough\)", str(raised.value)).group(1))
    rows = int(re.search(r"training.batch_size \(to (\d+) is enough\)", str(raised.value)).group(1))
    for change, fits in (
        ({"data": {"max_length": tokens}}, True),
        ({"data": {"max_length": tokens + 1}}, False),
        ({"training": {"batch_size": rows}}, True),
        ({"training": {"batch_size": rows + 1}}, False),
    ):
        changed = settings(config.optimizer.device_budget_mib, **change)
        assert (needed_mib(changed, checkpointed_layers=0) <= config.optimizer.device_budget_mib) is fits, change


def test_checkpointing_helps_where_activations_are_kept(settings, needed_mib):
    kept, less = needed_mib(checkpointed_layers=0), needed_mib()
    assert kept > 1.2 * less, "else this proves nothing"
    with pytest.raises(InputError, match=r"; set training.activations to checkpoint \(is enough\); lower adapter.r"):
        check(settings(kept / 1.1), checkpointed_layers=0)
    with pytest.raises(InputError, match=r"; set training.activations to checkpoint; lower adapter.r"):
        check(settings(less / 1.1), checkpointed_layers=0)


def test_a_shorter_chunk_helps_where_logits_are_most(settings, needed_mib):
    config = settings(training={"loss_chunk_tokens": 512})
    with pytest.raises(
        InputError, match=r"\(logits .*order: lower training.loss_chunk_tokens \(to \d+ is enough\); shor"
    ):
        check(settings(needed_mib(config) / 1.1, training={"loss_chunk_tokens": 512}))


def test_offloading_helps_on_a_gpu(settings, needed_mib, monkeypatch):
    memory = SimpleNamespace(total_memory=int(needed_mib() * MIB / 1.06))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)
    gpu = torch.device("cuda")
    with pytest.raises(InputError, match=r"and the GPU has \S+ MiB. .*; set training.activations to offload"):
        check(settings(), gpu)
    with pytest.raises(InputError) as raised:
        check(settings(), gpu, offloaded=True)
    assert "training.activations" not in str(raised.value), "nothing is left to change there"
    memory.total_memory *= 2
    assert check(settings(), gpu) == []
    with pytest.raises(InputError, match="device_budget_mib allows"):
        check(settings(needed_mib() / 1.06), gpu)


@pytest.mark.parametrize("share", [0.96, 1.04])
def test_what_is_too_close_is_a_notice(settings, needed_mib, share):
    (notice,) = check(settings(needed_mib() / share))
    assert re.search(r"MiB: too close to say whether it fits. Should it not, in this order: shorten data", notice)


def test_weights_that_are_too_large_alone(settings):
    with pytest.raises(InputError, match="this order: take a smaller model or a larger device, because the weights"):
        check(settings(0.01))


def test_the_rows_that_really_come_count(settings, needed_mib):
    config = settings(needed_mib() / 1.06)
    assert check(config, longest=100) == []
    packed = settings(
        config.optimizer.device_budget_mib, data={"max_length": 50, "packing": True, "packed_length": 200}
    )
    with pytest.raises(InputError, match=r"4 x 200 tokens .* shorten data.max_length and data.packed_length \(to"):
        check(packed)


def test_rank_and_layers_of_the_adapter_count(settings, needed_mib):
    small = {"r": 1, "target_modules": ["q_proj"]}
    adapters = {"r": 64, "rank_pattern": {"down_proj": 512}}
    assert needed_mib(settings(adapter=small)) < needed_mib() < needed_mib(settings(adapter=adapters))
    with pytest.raises(InputError) as raised:
        check(settings(needed_mib(settings(adapter=small)) / 1.06, adapter=small))
    assert "adapter.r" not in str(raised.value), "it cannot be lower"


def test_a_family_that_is_not_known(settings, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    unknown = settings(1, model={"name": str(tmp_path)})
    (notice,) = check(unknown)
    assert notice.startswith("Whether memory suffices was not estimated: ") and "'mamba'" in notice


def test_without_a_budget_no_hub_is_asked(settings, monkeypatch):
    monkeypatch.setattr("qlora.hub.reachable", lambda: pytest.fail("the hub was asked"))
    assert check(dataclasses.replace(settings(), model=configuration.ModelConfig("someone/never-fetched"))) == []


def test_a_source_and_its_target_are_limited_each(settings, small_model):
    _, folder = small_model("t5")
    pairs = settings(0.5, model={"name": str(folder), "task": "seq2seq"})
    with pytest.raises(InputError, match=r"A batch of 4 x 200 tokens needs"):
        check(pairs, longest=390)
