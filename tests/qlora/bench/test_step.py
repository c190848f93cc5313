import json

import torch

from qlora import cli
from qlora.bench.random_llama import random_llama, unquantized_layer
from qlora.layers.quantized_linear import QuantizedLinear
from qlora.memory.shapes import LlamaShape


def test_a_step_is_timed_beside_pefts(tiny_model, capsys):
    assert cli.main(["bench", "step", "--model", str(tiny_model), "--sizes", "1x8,2x4", "--rounds", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = ["qlora", "qlora, checkpointing", "PEFT, unquantized"]
    assert [(row["program"], row["batch"], row["tokens"]) for row in found["rows"]] == [
        *((name, 1, 8) for name in names),
        *((name, 2, 4) for name in names),
    ]
    assert all(0 < row["least"] <= row["median"] for row in found["rows"])
    assert [row["estimated_bytes"] is not None for row in found["rows"][:3]] == [True, True, False]
    assert found["conditions"]["weights"] == "real"
    only = ["bench", "step", "--model", str(tiny_model), "--sizes", "1x8", "--rounds", "1", "--only", "PEFT"]
    assert cli.main(only) == 0
    assert "1x8" in (out := capsys.readouterr().out) and "qlora" not in out


def test_numbers_and_programs_that_are_not_there_are_refused(capsys):
    for wrong in (["--rounds", "0"], ["--sizes", "512"], ["--sizes", "1x0"]):
        assert cli.main(["bench", "step", *wrong]) == 2
        assert "--sizes must be like 1x512,4x1024" in capsys.readouterr().err
    assert cli.main(["bench", "step", "--only", "nobody"]) == 2
    assert "fits none of the programs: qlora; qlora, checkpointing; PEFT" in capsys.readouterr().err


def test_a_random_model_has_the_shape_and_runs():
    shape = LlamaShape("odd", 96, 2, 6, 100, vocabulary_size=50, key_value_heads=2)
    for layer_of in (None, unquantized_layer):
        options = {} if layer_of is None else {"layer_of": layer_of}
        model = random_llama(shape, torch.device("cpu"), torch.float32, **options)
        linears = [m for m in model.modules() if isinstance(m, QuantizedLinear)]
        assert len(linears) == (14 if layer_of is None else 0)
        assert not any(p.is_meta or p.requires_grad for p in model.parameters())
        logits = model(input_ids=torch.arange(5)[None]).logits
        assert logits.shape == (1, 5, 50) and logits.isfinite().all()
    assert sum(p.numel() for p in model.parameters()) == shape.parameters
