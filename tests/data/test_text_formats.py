"""Formats of text: what is written is read again, and files are known by their beginning."""

import re
import tempfile
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from data.text_records import PROBLEM, SOLVED, written
from hypothesis import given, settings
from hypothesis import strategies as st

from virc.core.errors import DataError, UsageError
from virc.data.formats import batch, sft, trajectories
from virc.data.formats import registry as formats
from virc.data.formats.registry import Writing
from virc.data.rows.pictures import PictureStore
from virc.data.rows.record import Picture, Record


def known(record: Record | None) -> tuple[Record, list[bytes]]:
    """All that two records have to agree in; images may be called otherwise."""
    assert record
    return msgspec.structs.replace(record, images=()), [picture.read() for picture in record.images]


def comes_back(format: ModuleType, records: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = written(format, records, Path(folder))
        assert [row.fault for row in rows] == [None] * len(records)
        assert [known(row.record) for row in rows] == [known(record) for record in records]


@pytest.mark.integration
@settings(max_examples=150, deadline=None)
@given(st.lists(SOLVED, min_size=1, max_size=3))
def test_trajectories_come_back_from_both_their_format(records: list[Record]) -> None:
    comes_back(sft, records)
    comes_back(trajectories, records)


@pytest.mark.integration
@settings(max_examples=150, deadline=None)
@given(st.lists(PROBLEM, min_size=1, max_size=3))
def test_problems_come_back_from_a_batch(records: list[Record]) -> None:
    comes_back(batch, records)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=2000, deadline=None)
@given(SOLVED, PROBLEM)
def test_records_come_back_in_many_tries(solved: Record, problem: Record) -> None:
    comes_back(sft, [solved])
    comes_back(trajectories, [solved])
    comes_back(batch, [problem])


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Record(id="a", images=(Picture("", data=b"x"),)), "question of row 'a' is not known"),
        (Record(id="a", question="q", images=(Picture("no.png"),)), "no.png of row 'a' cannot be read"),
    ],
)
def test_a_batch_that_would_be_refused_is_not_written(tmp_path: Path, record: Record, reason: str) -> None:
    with pytest.raises(DataError, match=re.escape(reason)):
        batch.write(tmp_path, "rows", [record], Writing(PictureStore(tmp_path)))


@pytest.mark.parametrize("name", ["../rows", "a/b", "", ".rows", "..", "con:", "a\0b", "x" * 200])
def test_a_dataset_is_written_nowhere_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "to").mkdir()
    for format in (sft, trajectories, batch):
        with pytest.raises(UsageError, match="cannot name a dataset"):
            format.write(tmp_path / "to", name, [], Writing(PictureStore(tmp_path / "to")))
    assert [path.name for path in tmp_path.rglob("*")] == ["to"]


@pytest.mark.parametrize(
    ("name", "text", "format"),
    [
        ("a.json", ' \n[\n {"dialog": []}]', "sft"),
        ("a.json", "{}", None),
        ("a.jsonl", '{"messages": [], "question": "q", "images": []}', "trajectories"),
        ("a.jsonl", '{"id": 1, "image": "x.png", "question": "q", "corners": [{}]}', "batch"),
        ("a.txt", '[{"messages": []}]', None),
    ],
)
def test_files_are_known_by_their_beginning(tmp_path: Path, name: str, text: str, format: str | None) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = [module.NAME for module in (batch, sft, trajectories) if module.recognises(tmp_path / name)]
    assert found[:1] == ([format] if format else [])
    assert not any(module.recognises(tmp_path / "none.json") for module in (batch, sft, trajectories))


def test_an_info_that_names_a_file_outside_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text('[{"messages": [{"role": "user", "content": "hello"}]}]')
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "dataset_info.json").write_text('{"one": {"file_name": "../secret.json"}}')
    with pytest.raises(DataError, match="outside the folder"):
        formats.sources(folder)
