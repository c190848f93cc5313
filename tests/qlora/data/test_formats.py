import pytest

from qlora.data.formats import PACKAGED_QUESTIONS, read_samples
from qlora.errors import InputError


def test_the_packaged_file_has_at_least_200_pairs():
    assert len(read_samples(PACKAGED_QUESTIONS)) >= 200


def test_alpaca_and_completion_forms(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text(
        '{"instruction": "Say hi", "output": " hi "}\n\n'
        '{"instruction": "Translate", "input": "Haus", "output": "house"}\n'
        '{"prompt": "2+2?", "completion": "4"}\n'
    )
    samples = read_samples(file)
    assert [(s.prompt, s.completion, s.line) for s in samples] == [
        ("Say hi", "hi", 1),
        ("Translate\n\nHaus", "house", 3),
        ("2+2?", "4", 4),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: expected one JSON object a line"),
        ("\n \n", "is empty"),
        ('{"prompt": "a", "completion": "b"}\n{"prompt": "a"', r"line 2 is not JSON"),
        ("[1, 2]", "line 1 is not an object"),
        ('{"question": "a", "answer": "b"}', "line 1 has the keys question, answer: expected"),
        ("{}", "line 1 has the keys nothing"),
        ('{"prompt": "a", "completion": ""}', "line 1 has no answer in words"),
        ('{"prompt": 3, "completion": "b"}', "line 1 has no question in words: expected a text, got 3"),
        ('{"instruction": "a", "input": null, "output": "b"}', "line 1 has no input in words"),
    ],
)
def test_a_malformed_file_names_the_line(tmp_path, text, message):
    file = tmp_path / "a.jsonl"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_samples(file)
    assert message in str(caught.value) and "a.jsonl" in str(caught.value)


def test_missing_folder_and_binary_files_are_named(tmp_path):
    with pytest.raises(InputError, match="There is no instruction file"):
        read_samples(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        read_samples(tmp_path)
    (tmp_path / "b.jsonl").write_bytes(b"\x80\x81")
    with pytest.raises(InputError, match="not UTF-8"):
        read_samples(tmp_path / "b.jsonl")
