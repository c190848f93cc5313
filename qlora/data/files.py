"""Rows of data files (JSONL, JSON, CSV, Parquet), each with the place where it stands."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qlora.errors import InputError

_PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib")
# A cell may hold a whole document; the csv module stops at 128 KiB unless told otherwise.
_LARGEST_CELL_CHARACTERS = 2**27


@dataclass(frozen=True)
class Row:
    """One record of a file.

    Attributes:
        fields: by name. A CSV file has texts alone.
        where: the file and the line (of a Parquet file the row, from 1), as errors name it.
        line: that number.
    """

    fields: dict[str, Any]
    where: str
    line: int


def read_rows(file: Path) -> Iterator[Row]:
    """Read a data file; its suffix says of which kind it is.

    JSONL holds one object a line, and empty lines are passed over; JSON holds a list of objects (a ``.json`` file with
    one object a line is read as JSONL, as files on the hub often are); CSV has a header line, commas and double
    quotes; Parquet needs pyarrow. All text is UTF-8, with or without a byte order mark.

    Args:
        file: with the suffix .jsonl, .json, .csv or .parquet.

    Yields:
        The rows in their order.

    Raises:
        InputError: the file is missing or cannot be read, is of another kind (pickle files are refused because loading
            one runs its code), or is damaged; the line is named.
    """
    suffix = file.suffix.lower()
    if suffix in _PICKLE_SUFFIXES:
        raise InputError(f"{file} is a pickle file, which can run code when it is read: save it as JSONL or Parquet.")
    if suffix not in _READERS:
        raise InputError(f"{file} has none of the suffixes {', '.join(_READERS)}: save it as one of these.")
    try:
        yield from _READERS[suffix](file)
    except FileNotFoundError:
        raise InputError(f"There is no instruction file {file}.") from None
    except OSError as error:
        raise InputError(f"The instruction file {file} cannot be read: {error.strerror or error}.") from None


def _read_jsonl(file: Path) -> Iterator[Row]:
    with file.open("rb") as stream:
        # Split at \n alone: U+2028 and other characters that str.splitlines splits at may stand in a JSON text.
        for number, raw in enumerate(stream, 1):
            line = _decode(raw, file, number, "utf-8-sig" if number == 1 else "utf-8")
            if line.strip():
                where = f"{file}, line {number}"
                yield Row(_object(_parse_json(line, where), where), where, number)


def _read_json(file: Path) -> Iterator[Row]:
    with file.open("rb") as stream:
        beginning = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not beginning.startswith(b"["):
        yield from _read_jsonl(file)
        return
    raw = file.read_bytes()
    text = _decode(raw, file, None, "utf-8-sig")
    decoder, position, line, counted = json.JSONDecoder(), text.index("[") + 1, 1, 0
    expected = "a list of objects, [{…}, {…}]"
    while True:
        position = _skip_space(text, position)
        if text[position : position + 1] == "]":
            break
        line, counted = line + text.count("\n", counted, position), position
        where = f"{file}, line {line}"
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            # The decoder counts lines from the beginning of the text, so its own line is the right one.
            at = f"{file}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else where
            raise InputError(f"{at} is not JSON ({getattr(error, 'msg', error)}): expected {expected}.") from None
        yield Row(_object(value, where), where, line)
        position = _skip_space(text, position)
        if text[position : position + 1] == ",":
            position += 1
        elif text[position : position + 1] != "]":
            at = f"{file}, line {_line_of(text, position)}"
            raise InputError(f"{at} is not JSON (a comma or ] is missing): expected {expected}.")
    position = _skip_space(text, position + 1)
    if position < len(text):
        raise InputError(f"{file}, line {_line_of(text, position)} has more after the list: expected {expected}.")


def _read_csv(file: Path) -> Iterator[Row]:
    csv.field_size_limit(_LARGEST_CELL_CHARACTERS)
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        header: list[str] | None = None
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise InputError(f"{file}, line {line} is not CSV ({error}).") from None
            except UnicodeDecodeError:
                raise InputError(f"The instruction file {file} is not UTF-8 text (after line {line - 1}).") from None
            if cells is None:
                return
            where = f"{file}, line {line}"
            if not cells:
                continue
            if header is None:
                header = _checked_header(cells, where)
            elif len(cells) != len(header):
                raise InputError(f"{where} has {len(cells)} columns, but the header names {len(header)}.")
            else:
                yield Row(dict(zip(header, cells, strict=True)), where, line)


def _checked_header(cells: list[str], where: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    for name in names:
        if not name:
            raise InputError(f"{where} names no column {names.index(name) + 1}: the first line must name each column.")
        if names.count(name) > 1:
            raise InputError(f"{where} names the column {name!r} twice: rename or remove one.")
    return names


def _read_parquet(file: Path) -> Iterator[Row]:
    file.stat()  # a missing file is named before a missing package
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise InputError(
            f"{file} is a Parquet file, and pyarrow, which reads these, is not installed: "
            "run `pip install 'qlora[parquet]'`, or save the file as JSONL."
        ) from None
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            for batch in table.iter_batches():
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(fields, f"{file}, row {number}", number)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file} cannot be read as Parquet after row {number}: {error}.") from None


def _decode(raw: bytes, file: Path, line: int | None, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        number = line if line is not None else raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"The instruction file {file} is not UTF-8 text (line {number}).") from None


def _parse_json(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not JSON ({error.msg} at column {error.colno}).") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of nested lists
        raise InputError(f"{where} is not JSON that can be read ({error}).") from None


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} is not an object with named fields: got {str(value)[:60]!r}.")
    return value


def _line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _skip_space(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\t", "\r", "\n"):
        position += 1
    return position


_READERS = {".jsonl": _read_jsonl, ".json": _read_json, ".csv": _read_csv, ".parquet": _read_parquet}
