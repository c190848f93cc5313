import json

from qlora import cli


def test_a_step_is_timed_beside_pefts(tiny_model, capsys):
    assert cli.main(["bench", "step", "--model", str(tiny_model), "--tokens", "8", "--rounds", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["program"].split()[0] for row in found["rows"]] == ["qlora", "qlora,", "PEFT"]
    assert all(0 < row["least"] <= row["median"] for row in found["rows"])
    assert found["conditions"]["tokens"] == 8
    assert cli.main(["bench", "step", "--model", str(tiny_model), "--tokens", "8", "--rounds", "1"]) == 0
    assert "ratio" in capsys.readouterr().out
    assert cli.main(["bench", "step", "--rounds", "0"]) == 2
    assert "must be 1 or more" in capsys.readouterr().err
