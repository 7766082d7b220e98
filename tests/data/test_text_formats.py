"""Formats of text: what is written is read again, and files are known by their beginning."""

import tempfile
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from data.text_records import PROBLEM, SOLVED, written
from hypothesis import given, settings
from hypothesis import strategies as st

from virc.core.errors import DataError
from virc.data.formats import batch, sft, trajectories
from virc.data.formats import registry as formats
from virc.data.rows.record import Record


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
