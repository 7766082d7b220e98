"""Rows from a number on: the same as all rows without those before it, in every format."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from chat_protocols import OWN, QUESTIONS, spoken
from support import crux

from virc.core import json_stream as json_rows
from virc.core.tables import parquet as parquet_rows
from virc.data.formats import registry as formats
from virc.data.formats.registry import Row, only_source
from virc.data.rows.record import Record


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> crux.Crux:
    return crux.build(tmp_path_factory.mktemp("crux") / "set")


def told(record: Record | None) -> object:
    return record and (record.messages, [(picture.name, picture.data) for picture in record.images])


def tail(file: Path, start: int) -> list[tuple[int, object]]:
    source = only_source(file)
    rows: Iterator[Row] = formats.get(source.format).read(source, start)
    return [(row.number, told(row.record)) for row in rows]


def check(file: Path) -> None:
    whole = tail(file, 1)
    for start in range(2, whole[-1][0] + 3):
        assert tail(file, start) == [row for row in whole if row[0] >= start], start


def test_every_format_starts_where_it_is_told(published: crux.Crux, tmp_path: Path) -> None:
    check(published.dynamic)
    check(published.val)
    pq.write_table(pq.read_table(published.val), tmp_path / "groups.parquet", row_group_size=3)
    check(tmp_path / "groups.parquet")
    lines = [
        json.dumps({"messages": [{"role": m.role, "content": m.content} for m in spoken(OWN, question).messages]})
        for question in QUESTIONS
    ]
    lines[2:2] = ["", "{"]  # a line that is blank, and one that is a fault
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    check(tmp_path / "rows.jsonl")
    problems = [json.dumps({"id": at, "image": "a.png", "question": "?"}) for at in range(4)]
    (tmp_path / "problems.jsonl").write_text("\n\n".join(problems))
    check(tmp_path / "problems.jsonl")


def test_rows_that_are_passed_over_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = pa.schema([("text", pa.string())])
    pq.write_table(pa.table({"text": [str(at) for at in range(100)]}, schema), tmp_path / "x", row_group_size=10)
    groups, group = [], parquet_rows._group

    def seen(file: object, compact: object, index: int, *rest: object) -> object:
        groups.append(index)
        return group(file, compact, index, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(parquet_rows, "_group", seen)
    row = next(parquet_rows.read_rows(tmp_path / "x", start=57))
    assert (row, groups) == ((57, {"text": "56"}), [5])
    (tmp_path / "y").write_bytes(b"\n".join(b'{"broken": ' for _ in range(9)) + b'\n{"a": 1}\n')
    decoded, fields = [], json_rows._fields

    def counted(text: bytes) -> object:
        decoded.append(text)
        return fields(text)

    monkeypatch.setattr(json_rows, "_fields", counted)
    with (tmp_path / "y").open("rb") as file:
        assert list(json_rows.line_rows(file, 10)) == [(10, {"a": 1})]
    assert len(decoded) == 1
