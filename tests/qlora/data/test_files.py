import json
import pickle
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qlora.data.files import read_rows
from qlora.errors import InputError


def rows_of(file, content: bytes | str):
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return [(row.line, row.fields) for row in read_rows(file)]


def test_lines_are_counted_as_an_editor_does(tmp_path):
    # U+2028 and U+0085 may stand in a JSON text, and str.splitlines would split there.
    separators = json.dumps({"text": "a\u2028b\x85c"}, ensure_ascii=False)
    assert "\u2028" in separators and "\x85" in separators, "else this proves nothing"
    content = f'{separators}\r\n\n{{"text": "d"}}'
    assert rows_of(tmp_path / "a.jsonl", content) == [(1, {"text": "a\u2028b\x85c"}), (3, {"text": "d"})]
    assert rows_of(tmp_path / "a.json", '[\n {"a": 1},\n\n {"a":\n 2} ,{"a": 3}\n]\n') == [
        (2, {"a": 1}), (4, {"a": 2}), (5, {"a": 3}),
    ]  # fmt: skip
    assert rows_of(tmp_path / "a.csv", 'a,b\r\n"1\n2",3\r\n\r\n4,5') == [
        (2, {"a": "1\n2", "b": "3"}),
        (5, {"a": "4", "b": "5"}),
    ]


@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl", '{"a": "ü"}'), ("a.json", '[{"a": "ü"}]'), ("a.csv", "a\nü")]
)
def test_a_byte_order_mark_is_no_content(tmp_path, name, content):
    assert rows_of(tmp_path / name, b"\xef\xbb\xbf" + content.encode())[0][1] == {"a": "ü"}


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=3), max_size=4), st.integers(0, 2))
def test_json_lists_read_back(tmp_path_factory, values, indent):
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_text(json.dumps(values, indent=indent or None, ensure_ascii=bool(indent % 2)), "utf-8")
    assert [row.fields for row in read_rows(file)] == values


def test_a_large_cell_is_read(tmp_path):
    assert rows_of(tmp_path / "a.csv", "text\n" + "x" * 300_000)[0][1] == {"text": "x" * 300_000}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": 1', "line 2 is not JSON (Expecting ',' delimiter at column 8)"),
        ("a.jsonl", "[1, 2]", "line 1 is not an object with named fields"),
        ("a.jsonl", '{"a": ' + "[" * 100_000, "line 1 is not JSON"),
        ("a.jsonl", '{"a": ' + "1" * 5000 + "}", "line 1 is not JSON"),
        ("a.jsonl", b'{"a": 1}\n\x80\x81', "is not UTF-8 text (line 2)"),
        ("a.json", "[\n{}\n{}]", "line 3 is not JSON (a comma or ] is missing)"),
        ("a.json", "[\n{},\n{", "line 3 is not JSON"),
        ("a.json", "[", "line 1 is not JSON"),
        ("a.json", "[\n 3]", "line 2 is not an object"),
        ("a.json", "[{}]\n[]", "line 2 has more after the list"),
        ("a.json", b"[{\n\xff}]", "is not UTF-8 text (line 2)"),
        ("a.csv", "a,b,a\n1,2,3", "line 1 names the column 'a' twice"),
        ("a.csv", "a,,b\n1,2,3", "line 1 names no column 2"),
        ("a.csv", "a,b\n1,2\n\n3", "line 4 has 1 columns, but the header names 2"),
        ("a.csv", "a,b\n1,2,3", "line 2 has 3 columns, but the header names 2"),
        ("a.csv", 'a,b\n1,"2', "line 2 is not CSV"),
        ("a.csv", b"a,b\n1,\xff", "is not UTF-8 text"),
        ("a.txt", "hello", "has none of the suffixes .jsonl, .json, .csv, .parquet"),
        ("a", "hello", "has none of the suffixes"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, name, content, message):
    with pytest.raises(InputError) as caught:
        rows_of(tmp_path / name, content)
    assert message in str(caught.value) and str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".pt", ".PTH", ".bin"])
def test_pickle_files_are_refused_unread(tmp_path, suffix):
    class Bomb:
        def __reduce__(self):
            return exec, ("raise SystemExit('the pickle was run')",)

    with pytest.raises(InputError, match="is a pickle file, which can run code"):
        rows_of(tmp_path / f"a{suffix}", pickle.dumps(Bomb()))


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'qlora\[parquet\]'"):
        rows_of(tmp_path / "a.parquet", b"PAR1")
    with pytest.raises(InputError, match="There is no instruction file"):
        list(read_rows(tmp_path / "none.parquet"))


def test_parquet(tmp_path):
    import pyarrow
    from pyarrow import parquet

    rows = [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}] * 3
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    read = list(read_rows(tmp_path / "a.parquet"))
    assert [row.fields for row in read] == rows and read[2].where.endswith("a.parquet, row 3")
    whole = (tmp_path / "a.parquet").read_bytes()
    for damaged in (b"not parquet", whole[: len(whole) // 2], b""):
        with pytest.raises(InputError, match=r"cannot be read as Parquet after row 0"):
            rows_of(tmp_path / "b.parquet", damaged)
