"""Against what was measured on a GPU: the estimate of today."""

import json
from importlib.resources import files

import pytest

from qlora.bench.programs import Program
from qlora.bench.step import estimated_bytes
from qlora.memory.model_config import NAMED_SHAPES

MODELS = ("llama-7b", "llama-13b")


@pytest.mark.parametrize("model", MODELS)
def test_the_estimate_is_within_five_percent_of_what_the_allocator_held(model):
    lines = (files("qlora.bench") / "results" / f"nvidia_h200_step_{model}.jsonl").read_text().splitlines()
    conditions, *rows = map(json.loads, lines)
    conditions = conditions["conditions"]
    programs = {program.name: program for program in (Program("qlora"), Program("qlora", checkpointing=True))}
    compared = [row for row in rows if row["program"] in programs]
    assert {(row["batch"], row["tokens"]) for row in compared} == {(1, 512), (4, 1024), (16, 512)}
    assert len(compared) == 6
    for row in compared:
        estimated = estimated_bytes(
            NAMED_SHAPES[model],
            programs[row["program"]],
            r=conditions["r"],
            dtype=conditions["dtype"],
            size=(row["batch"], row["tokens"]),
        )
        assert estimated == pytest.approx(row["peak_bytes"], rel=0.05), row
