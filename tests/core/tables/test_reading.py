"""Rows of tables, of JSON and of parquet: their numbers, their lines, and what is wrong with one."""

import io
from pathlib import Path

import pytest

from virc.core.errors import DataError, UnreadError
from virc.core.json_stream import array_rows, line_rows, object_rows
from virc.core.tables import parquet
from virc.core.tables.delimited import read_table
from virc.core.tables.encodings import encoding_of


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_the_delimiter_is_found_and_lines_are_counted(delimiter: str) -> None:
    text = f'\ufeff\nid{delimiter}what\n1{delimiter}"a{delimiter}b\nc"\n\n2\n'
    names, found, rows = read_table(io.BytesIO(text.encode()))
    assert (names, found) == (("id", "what"), delimiter)
    assert list(rows) == [(3, 1, {"id": "1", "what": f"a{delimiter}b\nc"}), (6, 2, {"id": "2", "what": ""})]


def test_a_table_may_say_its_delimiter_as_excel_is_told_it() -> None:
    names, delimiter, rows = read_table(io.BytesIO(b"sep=;\na,b;c,\n1;2\n"))
    assert (names, delimiter) == (("a,b", "c,"), ";")
    assert list(rows) == [(3, 1, {"a,b": "1", "c,": "2"})]


def test_a_row_that_is_wrong_costs_no_other() -> None:
    rows = list(read_table(io.BytesIO(b'id,what\n1,Why, then?\n2,"a""b"\n3,"a"b\n4,c\n')).rows)
    faults = {number: row for _, number, row in rows if isinstance(row, DataError)}
    assert faults[1].message == "line 2: it has 3 cells, and there are 2 columns"
    assert "a quote within quotes is written twice" in faults[3].message
    assert [row["id"] for _, _, row in rows if isinstance(row, dict)] == ["2", "4"]


def test_behind_what_is_no_utf8_no_row_is_read_and_long_cells_are_whole() -> None:
    (_, _, first), (line, number, fault) = read_table(
        io.BytesIO(b"id,what\n1," + b"x" * 70_000 + b"\n\xff,2\n3,c\n")
    ).rows
    assert first == {"id": "1", "what": "x" * 70_000}
    assert (line, number, isinstance(fault, UnreadError)) == (3, 2, True)
    assert str(fault).startswith("line 3 is not UTF-8: ")
    ((line, number, fault),) = read_table(io.BytesIO(b'id,what\n1,"never ends\n2,b\n')).rows
    assert (number, str(fault)) == (1, f"line {line}: its text in quotes has no end")


@pytest.mark.parametrize(
    ("text", "ids", "fault"),
    [
        (b'{"about": {"x": [1]}, "rows": [{"id": 1}, {"id": 2}], "n": "]"}', [1, 2], None),
        (b'\xef\xbb\xbf{"a": {"id": 1}, "b": {"id": 2}}', [1, 2], None),
        (b'{"rows": [{"id": 1}], "more": [{"id": 2}]}', [], "row 1: the file has two lists of objects, rows and more"),
        (b'{"n": 1}', [], "row 1: the file is an object without a list of objects"),
        (b'{"rows": [{"id": 1}]', [], "row 1: the file is no JSON object: input data was truncated"),
    ],
)
def test_rows_are_those_of_the_one_list_of_an_object(text: bytes, ids: list[int], fault: str | None) -> None:
    rows = list(object_rows(io.BytesIO(text)))
    assert [row["id"] for _, row in rows if isinstance(row, dict)] == ids
    assert [number for number, _ in rows] == list(range(1, len(rows) + 1))
    assert [str(row) for _, row in rows if isinstance(row, DataError)] == ([fault] if fault else [])


def test_rows_and_lines_are_counted_from_one_also_where_some_are_passed_over() -> None:
    array = b'\xef\xbb\xbf[{"id": 1}, 7, {"id": 3, "id": 4}, {"id": NaN}, {"id": 5}, {"id": -1e999}]'
    found = dict(array_rows(io.BytesIO(array), start=2))
    assert found.keys() == {2, 3, 4, 5, 6}
    assert str(found[2]) == "row 2: it is a number, not an object"
    assert str(found[3]) == "row 3: it has id twice, with two values"
    assert str(found[4]) == "row 4: it contains NaN, which is no finite number"
    assert found[5] == {"id": 5}
    assert str(found[6]) == "row 6: it contains -1e999, which is no finite number"
    lines = dict(line_rows(io.BytesIO(b'\xef\xbb\xbf{"id": 1}\n\n{"id": 3}\nx\n')))
    assert (lines[1], lines[3], lines.keys()) == ({"id": 1}, {"id": 3}, {1, 3, 4})


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven rows in groups of three."""
    pyarrow = pytest.importorskip("pyarrow")
    monkeypatch.setattr(parquet, "GROUP_ROWS", 3)
    schema = pyarrow.schema([("id", pyarrow.int64()), ("text", pyarrow.string())])
    rows = ({"id": number, "text": "x" * number} for number in range(1, 8))
    assert parquet.write_rows(tmp_path / "rows.parquet", schema, rows) == 7
    return tmp_path / "rows.parquet"


@pytest.mark.parametrize("start", [1, 4, 8])
def test_rows_of_parquet_have_their_numbers_in_all_groups(table: Path, start: int) -> None:
    assert parquet.open_file(table).num_row_groups == 3
    assert list(parquet.read_rows(table, start=start)) == [
        (number, {"id": number, "text": "x" * number}) for number in range(start, 8)
    ]
    assert list(parquet.read_rows(table, ["id"], start=7)) == ([(7, {"id": 7})])


def test_a_damaged_group_costs_its_rows_and_no_others(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = parquet._group

    def damaged(file: object, compact: object, index: int, *more: object) -> object:
        if index == 1:
            raise DataError("bad bytes")
        return group(file, compact, index, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(parquet, "_group", damaged)
    found = dict(parquet.read_rows(table))
    assert found.keys() == {1, 2, 3, 4, 7}
    fault = found[4]
    assert isinstance(fault, UnreadError)
    assert (str(fault), fault.rows) == ("rows 4 to 6 cannot be read: bad bytes", 2)


def test_the_encoding_is_told_by_the_first_letters_beyond_ascii() -> None:
    assert encoding_of(io.BytesIO(b"a" * 2**20 + "\u56fe\u4e2d\u662f\u4ec0\u4e48".encode("gb18030"))) == "gb18030"
