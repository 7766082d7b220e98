"""Rows of JSON files: streamed, exact, and safe against whatever a file holds."""

import io
import json
import re
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virc.core import json_stream as json_rows
from virc.core.errors import DataError, UnreadError
from virc.core.json_stream import array_rows, line_rows, one_line

BOM = b"\xef\xbb\xbf"
# With halves of characters, as JSON can hold them, but no two that JSON would read as one character.
TEXT = st.text(st.characters()).filter(lambda text: not re.search("[\ud800-\udbff][\udc00-\udfff]", text))
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(TEXT, VALUE, max_size=3), max_size=4)
PIECE = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b" ", b"\n", b"NaN", b"1e999", b'"a":1', b"\xff", BOM, b"{}"]
)


def of_array(text: bytes) -> list[tuple[int, Any]]:
    return list(array_rows(io.BytesIO(text)))


def of_lines(text: bytes) -> list[tuple[int, Any]]:
    return list(line_rows(io.BytesIO(text)))


def said(rows: list[tuple[int, Any]]) -> list[tuple[int, str]]:
    """The faults, the rows that are well left out."""
    return [(number, row.message) for number, row in rows if isinstance(row, DataError)]


@pytest.mark.integration
@settings(max_examples=200, deadline=None)
@given(ROWS, st.sampled_from([None, 1, -1]), st.integers(3, 64))
def test_rows_are_read_as_they_were_written_however_the_file_comes(
    rows: list[dict[str, Any]], indent: int | None, chunk: int
) -> None:
    lines = list(map(one_line, rows))
    array = "[" + ",".join(lines) + "]" if indent == -1 else json.dumps(rows, indent=indent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "_CHUNK", chunk)
        assert of_array(BOM + array.encode()) == list(enumerate(rows, 1))
    assert of_lines("\n".join(lines).encode()) == list(enumerate(rows, 1))


def survives(pieces: list[bytes]) -> None:
    """Whatever the bytes, rows are objects or faults, in order; and what Python reads is read alike."""
    text = b"".join(pieces)
    for read in (of_array, of_lines):
        rows = read(text)
        assert all(isinstance(row, dict | DataError) for _, row in rows)
        assert sorted({number for number, _ in rows}) == [number for number, _ in rows]
    try:
        strict = json.loads(text.removeprefix(BOM), parse_constant=lambda name: 1 / 0)
    except (ValueError, ArithmeticError):
        return
    if isinstance(strict, list) and not said(of_array(text)):
        assert [row for _, row in of_array(text)] == strict


@pytest.mark.integration
@settings(max_examples=1000, deadline=None)
@given(st.lists(PIECE | st.binary(max_size=3), max_size=25))
def test_no_bytes_make_it_fail(pieces: list[bytes]) -> None:
    survives([b"[", *pieces])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", (1, "ends within the array")),
        (b"{}", (1, "there is no [ before it")),
        (b"[", (1, "ends within the array")),
        (b'[{"a":1},', (2, "ends within the array")),
        (b'[{"a":1} {}]', (2, "there is no , before it")),
        (b'[{"a":1}] {}', (2, "more behind the end")),
        (b'[{"a":1},,{}]', (2, "Expecting value at character 0")),
        (b'[{"a":1},{"a":},{}]', (2, "Expecting value at character 5")),
        (b'[{"a":1},' + b"[" * 500_000 + b"]", (2, "nested too deeply")),
    ],
)
def test_behind_broken_json_an_array_ends_with_one_fault(text: bytes, fault: tuple[int, str]) -> None:
    number, message = said(of_array(text))[-1]
    assert number == fault[0]
    assert isinstance(of_array(text)[-1][1], UnreadError)
    assert message.startswith(f"row {number}: ")
    assert fault[1] in message
    assert len(of_array(text)) == number


NO_OBJECTS = [
    (b"5", "a number"), (b"-1.5e3", "a number"), (b"true", "true or false"), (b"null", "null"),
    (b"[1, [{}]]", "a list"), (rb'"a ] , \" }"', "text"), (b'""', "text"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        *((each, f"it is {kind}, not an object") for each, kind in NO_OBJECTS),
        (b'{"a":-Infinity}', "-Infinity"),
        (b'{"a":' + b"9" * 5000 + b"}", "4300 digits"),
        (b'{"a":"\xff"}', "not UTF-8 at byte 6: iconv"),
        (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "nested too deeply"),
    ],
)
def test_a_row_that_is_wrong_costs_no_other(wrong: bytes, reason: str) -> None:
    array, lines = b'[{"a":1},' + wrong + b',{"a":2}]', b"{}\n" + wrong + b"\n{}"
    for place, rows in (("row", of_array(array)), ("line", of_lines(lines))):
        ((number, message),) = said(rows)
        assert number == 2
        assert message.startswith(f"{place} 2: ")
        assert reason in message
        assert len(rows) == 3


def peak(rows: Iterable[tuple[int, Any]]) -> tuple[list[str], int]:
    """The faults in rows that are not kept, and the most memory that reading them took, in bytes."""
    tracemalloc.start()
    try:
        faults = [row.message for _, row in rows if isinstance(row, DataError)]
        return faults, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_row_over_the_limit_is_a_fault_and_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "MAX_ROW_BYTES", 2**20)
    long = b'{"a":"' + b"x" * 2**24 + b'"}'
    faults, memory = peak(array_rows(io.BytesIO(b'[{"b":1},' + long + b"]")))
    assert faults == ["row 2: it is over 1 MiB, or broken: the file ends within the array"]
    assert memory < 2**23
    faults, memory = peak(line_rows(io.BytesIO(long + b'\n{"b":1}\n'), most=2**20))
    assert faults == ["line 1 is over 1 MiB"]
    assert memory < 2**23
    assert of_lines(long + b'\n{"b":1}\n')[1] == (2, {"b": 1})


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": b"x"}, {"a": {1}}])
def test_what_json_has_not_is_not_written(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        one_line(value)
