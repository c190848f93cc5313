import io
import json

import pytest

from qlora.cli import main
from qlora.commands.preview import of_run
from qlora.config import from_mapping
from qlora.data.batches import in_order
from qlora.data.encoding import Encoded
from qlora.data.preview import Preview, print_batch, rows_of

ROWS = [
    {"prompt": "What is NF4?", "completion": "A data type."},
    {"prompt": "Why?", "completion": "It is [dense] near zero."},
    {"prompt": "How many levels?", "completion": "Sixteen."},
]


@pytest.fixture
def written(tmp_path, demo_model):
    def write(rows=ROWS, **data):
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
        fields = {
            "model": {"name": str(demo_model)},
            "data": {"path": str(tmp_path / "a.jsonl"), "system_prompt": "", **data},
            "training": {"batch_size": 3},
        }
        (tmp_path / "run.yaml").write_text(json.dumps(fields))  # JSON is YAML
        return fields, str(tmp_path / "run.yaml")

    return write


def test_the_pieces_are_the_batch(written, chat_tokenizer):
    fields, _ = written()
    shown = of_run(from_mapping(fields))
    assert len(shown.rows) == 3 and shown.samples == 3 and shown.batches_per_epoch == 1
    learnt = {"".join(p.text for p in row.pieces if p.trained) for row in shown.rows}
    assert learnt == {row["completion"] + chat_tokenizer.eos_token for row in ROWS}
    for row in shown.rows:
        assert row.tokens == sum(p.tokens for p in row.pieces)
        assert row.trained_tokens == sum(p.tokens for p in row.pieces if p.trained)
        assert "".join(p.text for p in row.pieces).startswith("<|im_start|>system")
    assert len({row.tokens + row.padding_tokens for row in shown.rows}) == 1
    assert shown.tokens_per_epoch == sum(row.tokens for row in shown.rows)


def test_packed_samples_are_told_apart(written, chat_tokenizer):
    fields, _ = written(packing=True)
    (row,) = of_run(from_mapping(fields)).rows
    assert row.samples == 3 and {p.sample for p in row.pieces} == {0, 1, 2}


def printed(shown, **options):
    from rich.console import Console

    stream = io.StringIO()
    print_batch(shown, Console(file=stream, width=200, **options))
    return stream.getvalue()


def test_marks_without_a_terminal_and_colours_on_one(written, chat_tokenizer):
    fields, _ = written(packing=True)
    shown = of_run(from_mapping(fields))
    plain = printed(shown)
    assert "⟦It is [dense] near zero.<|im_end|>⟧" in plain and "\x1b" not in plain
    assert "--- sample 3 of the row ---" in plain and "between ⟦ and ⟧" in plain
    coloured = printed(shown, force_terminal=True, color_system="standard", no_color=False)
    assert "\x1b[1;4;32mIt is [dense] near zero.<|im_end|>\x1b[0m" in coloured and "⟦" not in coloured


def test_data_does_not_steer_the_terminal():
    class Words:
        """A tokenizer that decodes to an escape sequence; the demo model's knows no such character."""

        def decode(self, tokens, **_):
            return "\x1b[2J" * len(tokens)

    (batch,) = in_order([Encoded([1, 2], [-100, 2])], 1, 0)
    assert "\x1b" not in printed(Preview("causal", rows_of(batch, Words()), 1, 1, 2, 1, ()))


def test_the_command_prints_text_and_json(written, capsys):
    _, file = written(max_length=24)
    assert main(["preview", file]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1 of 3 samples were cut at data.max_length = 24 tokens.") and "⟦Sixteen.<|im_end|>⟧" in out
    assert main(["preview", file, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["rows"]) == shown["samples"] and shown["rows"][0]["pieces"][0]["trained"] is False


def test_the_command_names_bad_input(written, tmp_path, capsys):
    _, file = written(rows=[*ROWS, {"prompt": "x", "completion": ""}])
    assert main(["preview", file]) == 2
    assert "a.jsonl, line 4, field 'completion' is empty" in capsys.readouterr().err
    assert main(["preview", str(tmp_path / "none.yaml")]) == 2


def test_the_file_is_read_before_the_tokenizer(written, capsys):
    fields, file = written(path="none.jsonl")
    fields["model"] = {"name": "./none"}
    with open(file, "w") as stream:
        json.dump(fields, stream)
    assert main(["preview", file]) == 2
    assert "There is no instruction file none.jsonl" in capsys.readouterr().err


def test_it_is_the_batch_that_training_begins_with(written):
    """Held-out samples are not in it, and the order is that of the run's seed."""
    from qlora.training.setup import prepare

    rows = [{"prompt": f"What is {n}?", "completion": f"Number {n}."} for n in range(12)]
    fields, _ = written(rows=rows, evaluation_share=0.5)
    fields["training"] |= {"evaluation_steps": 1, "seed": 3, "batch_size": 2}
    config = from_mapping(fields)
    shown = of_run(config)
    assert shown.samples == 6, "expected half of them to be held out"
    prepared = prepare(config, lambda happening: None)
    assert rows_of(next(prepared.batches), prepared.tokenizer) == shown.rows


def test_other_values_are_taken_as_in_train(written, capsys):
    _, file = written()
    assert main(["preview", file, "--json", "--set", "training.batch_size=1"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 1
    assert main(["preview", file, "--set", "training.batchsize=1"]) == 2
    assert "did you mean 'batch_size'" in capsys.readouterr().err


def test_a_source_is_shown_with_its_target(written, tiny_model):
    fields, _ = written()
    fields |= {"model": {"name": str(tiny_model), "task": "seq2seq"}}
    del fields["data"]["system_prompt"]
    shown = of_run(from_mapping(fields))
    assert shown.task == "seq2seq" and len(shown.rows) == 3
    texts = {tuple((piece.text, piece.trained) for piece in row.pieces) for row in shown.rows}
    assert ("Why?", False) in {pair[0] for pair in texts}
    assert {pair[1] for pair in texts} == {(f"{row['completion']}<|im_end|>", True) for row in ROWS}
    assert shown.trained_tokens_per_epoch == sum(row.trained_tokens for row in shown.rows) < shown.tokens_per_epoch
    assert shown.tokens_per_epoch == sum(row.tokens for row in shown.rows)
    # Sources are padded to the longest source, targets to the longest target.
    assert len({row.tokens + row.padding_tokens for row in shown.rows}) == 1
    said = printed(shown)
    assert "Why?\n--- target ---\n⟦It is [dense] near zero.<|im_end|>⟧" in said and "% of the" in said


def test_a_text_is_shown_with_its_class(written, tiny_model, capsys):
    rows = [{"text": "rain all day", "label": "weather"}, {"text": "soup", "label": 1}]
    fields, file = written(rows=rows)
    fields |= {"model": {"name": str(tiny_model), "task": "classification", "labels": ["weather", "food"]}}
    with open(file, "w") as stream:
        json.dump(fields, stream)
    assert main(["preview", file, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    pieces = {tuple((p["text"], p["trained"]) for p in row["pieces"]) for row in shown["rows"]}
    assert pieces == {(("rain all day", False), ("weather", True)), (("soup", False), ("food", True))}
    assert shown["task"] == "classification" and shown["trained_tokens_per_epoch"] == 0
    assert shown["tokens_per_epoch"] == sum(row["tokens"] for row in shown["rows"])
    assert main(["preview", file]) == 0
    said = capsys.readouterr().out
    assert "soup\n--- class ---\n⟦food⟧" in said and "the classes of 2 texts of" in said and "the class trained" in said
