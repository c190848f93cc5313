import io
import json

import pytest

from qlora.cli import main
from qlora.config import from_mapping
from qlora.data.batches import in_order
from qlora.data.encoding import Encoded
from qlora.data.preview import Preview, first_batch, print_batch, rows_of
from qlora.errors import InputError

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
    shown = first_batch(from_mapping(fields), lambda: chat_tokenizer)
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
    (row,) = first_batch(from_mapping(fields), lambda: chat_tokenizer).rows
    assert row.samples == 3 and {p.sample for p in row.pieces} == {0, 1, 2}


def printed(shown, **options):
    from rich.console import Console

    stream = io.StringIO()
    print_batch(shown, Console(file=stream, width=200, **options))
    return stream.getvalue()


def test_marks_without_a_terminal_and_colours_on_one(written, chat_tokenizer):
    fields, _ = written(packing=True)
    shown = first_batch(from_mapping(fields), lambda: chat_tokenizer)
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
    assert "\x1b" not in printed(Preview(rows_of(batch, Words()), 1, 1, 2, 1, ()))


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


def test_the_file_is_read_before_the_tokenizer(written):
    fields, _ = written(path="none.jsonl")
    with pytest.raises(InputError, match="There is no instruction file"):
        first_batch(from_mapping(fields), lambda: pytest.fail("the tokenizer was loaded"))


def test_another_task_is_refused():
    config = from_mapping({"model": {"task": "seq2seq"}})
    with pytest.raises(InputError, match=r"shows what model.task causal learns; this is seq2seq"):
        first_batch(config, lambda: None)
