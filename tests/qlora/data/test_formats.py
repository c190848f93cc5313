import json

import pytest

from qlora.config import DataConfig
from qlora.data.formats import FORMATS, PACKAGED_QUESTIONS, read_samples
from qlora.data.samples import Conversation, Message, PlainText
from qlora.errors import InputError


def written(tmp_path, *rows, name="a.jsonl"):
    file = tmp_path / name
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return file


def spoken(sample):
    return [(m.role, m.content) for m in sample.messages]


def turns(*pairs, keys=("role", "content")):
    return [dict(zip(keys, pair, strict=True)) for pair in pairs]


def test_the_packaged_file_has_at_least_200_pairs():
    assert len(read_samples(PACKAGED_QUESTIONS)) >= 200


def test_the_configuration_allows_every_format_and_no_other():
    for name in ("auto", *FORMATS):
        assert DataConfig(format=name).format == name
    with pytest.raises(InputError, match=r"data\.format must be one of auto, messages"):
        DataConfig(format="csv")


def test_alpaca(tmp_path):
    file = written(
        tmp_path,
        {"instruction": "Say hi", "output": " hi ", "text": "Say hi hi"},
        "",
        {"instruction": "Translate", "input": "Haus", "output": "house"},
    )
    samples = read_samples(file)
    assert [spoken(s) for s in samples] == [
        [("user", "Say hi"), ("assistant", "hi")],
        [("user", "Translate\n\nHaus"), ("assistant", "house")],
    ]
    assert [s.where for s in samples] == [f"{file}, line 1", f"{file}, line 3"]


def test_prompt_and_completion(tmp_path):
    assert [spoken(s) for s in read_samples(written(tmp_path, {"prompt": "2+2?", "completion": "4"}))] == [
        [("user", "2+2?"), ("assistant", "4")]
    ]


def test_plain_text(tmp_path):
    file = written(tmp_path, {"text": "Once upon a time.", "source": "me"})
    assert read_samples(file) == [PlainText("Once upon a time.", f"{file}, line 1")]


@pytest.mark.parametrize(
    ("field", "keys", "roles"),
    [
        ("messages", ("role", "content"), ("system", "user", "assistant")),
        ("messages", ("role", "content"), ("system", "prompter", "assistant")),
        ("conversations", ("from", "value"), ("system", "human", "gpt")),
        ("conversations", ("role", "content"), ("system", "user", "assistant")),
    ],
)
def test_conversations_of_several_turns(tmp_path, field, keys, roles):
    system, user, assistant = roles
    talk = turns(
        (system, "Be kind."), (user, " Hi "), (assistant, "Hello"), (user, "Bye"), (assistant, "Bye!"), keys=keys
    )
    sample = read_samples(written(tmp_path, {field: talk, "prompt": "Hi", "completion": "not this"}))[0]
    assert spoken(sample) == [
        ("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"), ("assistant", "Bye!"),
    ]  # fmt: skip


def test_the_same_samples_from_every_kind_of_file(tmp_path):
    rows = [{"prompt": 'Say "hi", twice\n', "completion": "hi, hi"}, {"prompt": "Straße?", "completion": "street"}]
    expected = [spoken(s) for s in read_samples(written(tmp_path, *rows))]
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "lines.json").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "a.csv").write_text('prompt,completion\n"Say ""hi"", twice\n","hi, hi"\nStraße?,street\n', "utf-8")
    for name in ("a.json", "lines.json", "a.csv"):
        assert [spoken(s) for s in read_samples(tmp_path / name)] == expected, name


def test_conversations_in_csv_are_json_texts(tmp_path):
    cell = json.dumps(turns(("user", "Hi"), ("assistant", "Hello"))).replace('"', '""')
    (tmp_path / "a.csv").write_text(f'messages\n"{cell}"\n')
    assert spoken(read_samples(tmp_path / "a.csv")[0]) == [("user", "Hi"), ("assistant", "Hello")]


def test_a_named_format_decides_where_several_fit(tmp_path):
    file = written(tmp_path, {"instruction": "a", "output": "b", "text": "a b"})
    assert isinstance(read_samples(file)[0], Conversation)
    assert read_samples(file, "text")[0].text == "a b"
    with pytest.raises(InputError, match=r"line 1 has no field 'messages', but instruction, output, text"):
        read_samples(file, "messages")


def test_a_row_of_another_form_is_refused_and_not_guessed(tmp_path):
    file = written(tmp_path, {"prompt": "a", "completion": "b"}, {"text": "c"})
    with pytest.raises(InputError, match=r"line 2 has no field 'prompt', but text: expected .*, as in line 1"):
        read_samples(file)


GOOD = ("user", "Hi")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "a", "answer": "b"}, "line 1 has the keys question, answer: expected"),
        ({}, "line 1 has the keys nothing"),
        ({"prompt": "a", "completion": " "}, "line 1, field 'completion' is empty"),
        ({"prompt": 3, "completion": "b"}, "line 1, field 'prompt': expected a text, got '3'"),
        ({"instruction": "a", "input": None, "output": "b"}, "line 1, field 'input': expected a text, got 'None'"),
        ({"text": "\ud800"}, "line 1, field 'text' holds half of a character"),
        ({"messages": "Hi"}, "line 1, field 'messages' is a text that is not JSON"),
        ({"messages": []}, "line 1, field 'messages': expected a list of messages, got '[]'"),
        ({"messages": ["Hi"]}, "line 1, field 'messages[0]': expected an object, got 'Hi'"),
        ({"messages": [{"role": "user"}]}, "line 1, field 'messages[0]' has no 'content', but role"),
        ({"messages": turns(GOOD, ("tool", "x"))}, "field 'messages[1].role': expected one of system, user, human"),
        ({"messages": turns(GOOD, ([], "x"))}, "field 'messages[1].role': expected one of"),
        ({"messages": turns(GOOD, ("assistant", ""))}, "line 1, field 'messages[1].content' is empty"),
        ({"messages": turns(GOOD, ("assistant", ["x"]))}, "field 'messages[1].content': expected a text"),
        ({"messages": turns(GOOD)}, "line 1, field 'messages' has no message of the assistant"),
        ({"messages": turns(GOOD, GOOD)}, "field 'messages[1]': two messages in a row are the user's"),
        ({"messages": turns(GOOD, ("system", "x"))}, "field 'messages[1]': a system message stands first"),
        ({"conversations": [{"from": "human"}]}, "field 'conversations[0]' has no 'value', but from"),
    ],
)
def test_a_malformed_row_is_named_with_line_and_field(tmp_path, row, message):
    with pytest.raises(InputError) as caught:
        read_samples(written(tmp_path, row))
    assert message in str(caught.value) and "a.jsonl" in str(caught.value)


def test_an_empty_file_and_a_folder_are_named(tmp_path):
    for text in ("", "\n \n"):
        with pytest.raises(InputError, match=r"a\.jsonl is empty: expected samples of the form"):
            read_samples(written(tmp_path, text))
    with pytest.raises(InputError, match="cannot be read: it is a folder"):
        read_samples(tmp_path)
    with pytest.raises(InputError, match="There is no instruction file"):
        read_samples(tmp_path / "none.jsonl")


TREE = [
    {"message_id": "q", "parent_id": None, "role": "prompter", "text": "Hi", "rank": None},
    {"message_id": "bad", "parent_id": "q", "role": "assistant", "text": "Go away", "rank": 1},
    {"message_id": "good", "parent_id": "q", "role": "assistant", "text": "Hello", "rank": 0},
    {"message_id": "gone", "parent_id": "q", "role": "assistant", "text": "Spam", "rank": -1, "deleted": True},
    {"message_id": "more", "parent_id": "good", "role": "prompter", "text": "Tell me more", "rank": 0},
    {"message_id": "lonely", "parent_id": None, "role": "prompter", "text": "Anybody?", "rank": None},
]


def test_message_trees_give_the_best_reply_at_every_level(tmp_path):
    for rows in (TREE, TREE[::-1]):
        samples = read_samples(written(tmp_path, *rows))
        assert [s.messages for s in samples] == [(Message("user", "Hi"), Message("assistant", "Hello"))]
    more = {"message_id": "end", "parent_id": "more", "role": "assistant", "text": "Gladly", "rank": None}
    (sample,) = read_samples(written(tmp_path, *TREE, more))
    assert [m.content for m in sample.messages] == ["Hi", "Hello", "Tell me more", "Gladly"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"message_id": "q"}, "line 7, field 'message_id': 'q' is that of"),
        ({"role": "moderator"}, "line 7, field 'role': expected prompter or assistant, got 'moderator'"),
        ({"parent_id": "nobody"}, "line 7, field 'parent_id': there is no message 'nobody'"),
        ({"text": ""}, "line 7, field 'text' is empty"),
    ],
)
def test_a_damaged_message_tree_is_named(tmp_path, change, message):
    row = {"message_id": "n", "parent_id": "q", "role": "assistant", "text": "x", "rank": 3} | change
    with pytest.raises(InputError) as caught:
        read_samples(written(tmp_path, *TREE, row))
    assert message in str(caught.value)
