"""Rows as they stand in files that others made, and files that are broken or hostile."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from virc.core.errors import DataError, SetupError, UnreadError
from virc.core.json_stream import MAX_ROW_BYTES
from virc.data.rows import raw


def shard(folder: Path, **files: bytes) -> Path:
    path = folder / "a.tar"
    with tarfile.open(path, "w") as out:
        for name, data in files.items():
            member = tarfile.TarInfo(name.replace("_", "."))
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))
    return path


FILES: list[tuple[str, str, list[dict[str, Any]]]] = [
    ("a.json", '[{"a": 1}]', [{"a": 1}]),
    ("a.json", '{"n": 1, "rows": [{"a": 1}, {"a": 2}]}', [{"a": 1}, {"a": 2}]),
    ("a.json", '{"n": 1, "rows": [{"a": 1}, {"a": 2}]}\n', [{"a": 1}, {"a": 2}]),
    ("a.json", '{"x": {"a": 1}, "y": {"a": 2}}', [{"key": "x", "a": 1}, {"key": "y", "a": 2}]),
    ("a.json", '{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
    ("a.json", '{"images": [{"a": 1}], "file_name": "x"}', [{"a": 1}]),
    ("a.ndjson", '{"a": 1}\n', [{"a": 1}]),
    ("a.csv", "a,b\n1,x\n", [{"a": "1", "b": "x"}]),
    ("a.tsv", "a\tb\n1\tx\n", [{"a": "1", "b": "x"}]),
]


@pytest.mark.parametrize(("name", "text", "rows"), FILES)
def test_the_rows_of_a_file(name: str, text: str, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert list(raw.rows(tmp_path / name)) == list(enumerate(rows, 1))
    assert list(raw.rows(tmp_path / name, 2)) == list(enumerate(rows, 1))[1:]


def test_rows_of_several_files_are_numbered_through_and_none_begins_without_its_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = UnreadError("it ends", rows=3)  # and three rows after it cannot be read
    found: dict[str, list[Any]] = {"a": [(1, {"x": 1}), (2, cut)], "b": [(1, {"x": 2})]}
    monkeypatch.setattr(raw, "rows", lambda file: iter(found[file.name]))
    files = [tmp_path / name for name in "ab"]
    assert [*raw.rows_of(files, 1)] == [(1, {"x": 1}), (2, cut), (6, {"x": 2})]
    assert [*raw.rows_of(files, 6)] == [(6, {"x": 2})]
    assert raw.beginning(files[0], 5) == [{"x": 1}]

    def lacks(file: Path) -> Any:
        raise SetupError("pyarrow is not installed")

    monkeypatch.setattr(raw, "rows", lacks)
    assert raw.beginning(files[0], 5) == []


def test_files_of_one_name_are_a_row_of_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "MAX_ROW_BYTES", 9)  # of one sample, not of both
    path = shard(tmp_path, a_PNG=b"1", a_json=b'{"q": 1}', b_left_jpg=b"2", b_txt=b"x", c_json=b"[3]")
    rows = [
        (1, {"key": "a", "png": b"1", "q": 1}), (2, {"key": "b", "left.jpg": b"2", "txt": "x"}),
        (3, {"key": "c", "json": [3]}),
    ]  # fmt: skip
    assert [*raw.rows(path)] == rows
    assert [*raw.rows(path, 3)] == rows[2:]


def test_files_of_one_set_are_known_by_their_numbers_and_a_saved_one_by_what_it_names(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.parquet" for name in ("a-00000-of-00002", "a-00001-of-00002", "b-00001-of-00003", "c")]
    for file in files:
        file.touch()
    assert [raw.shards_of(file) for file in files] == [(*files[:2],), (*files[:2],), (files[2],), ()]
    assert [raw.dataset_name(file) for file in files] == ["a", "a", "b", "c"]
    assert raw.missing_shards(tmp_path) == [f"{tmp_path} has 1 of the 3 files of b"]
    assert (raw.missing_shards(tmp_path / "none"), raw.is_saved(tmp_path), raw.saved_splits(tmp_path)) == (
        [],
        False,
        [],
    )
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "../x", 5, ".y", "val-2"]}')
    assert (raw.is_saved(tmp_path), raw.saved_splits(tmp_path)) == (True, ["train", "val-2"])
    for state, says in (
        ('{"_data_files": [{"filename": "../x.arrow"}]}', "does not name files of rows next to it"),
        ('{"_data_files": [{"filename": "a.arrow"}, {"filename": ".b"}]}', "does not name files of rows next to it"),
        ('{"_data_files": []}', "does not name files of rows next to it"), ('{"a": []}', "has no list _data_files"),
        ('{"_data_files": "a"}', "has no list _data_files"), ("[", "cannot be read: "),
    ):  # fmt: skip
        (tmp_path / "state.json").write_text(state)
        with pytest.raises(DataError) as refused:
            raw.saved_files(tmp_path)
        assert refused.value.message.startswith(f"{tmp_path / 'state.json'} {says}")
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "b.arrow"}, {"filename": "a.arrow"}]}')
    assert raw.saved_files(tmp_path) == [tmp_path / "b.arrow", tmp_path / "a.arrow"]
    (tmp_path / "dataset_dict.json").unlink()
    assert raw.is_saved(tmp_path)


def test_files_of_one_name_in_two_folders_are_two_rows_and_hidden_ones_none(tmp_path: Path) -> None:
    path = shard(tmp_path, **{"x/a_txt": b"1", "x/._a_png": b"of macOS", "y/a_txt": b"2"})
    assert [row for _, row in raw.rows(path)] == [{"key": "x/a", "txt": "1"}, {"key": "y/a", "txt": "2"}]


@pytest.mark.parametrize(
    "files",
    [
        {"a_json": b"{"},
        {"a_json": b"[" * 100_000},
        {"a_txt": b"\xff"},
        {"a_txt": b"x" * (MAX_ROW_BYTES // 2 + 1), "a_cls": b"x" * (MAX_ROW_BYTES // 2 + 1)},
    ],
)
def test_a_broken_sample_ends_a_shard_with_a_fault(files: dict[str, bytes], tmp_path: Path) -> None:
    *first, (number, fault) = raw.rows(shard(tmp_path, **{"0_txt": b"1", "1_txt": b"2", **files}))
    assert first == [(at + 1, {"key": str(at), "txt": str(at + 1)}) for at in range(2)]
    assert (number, type(fault)) == (3, UnreadError)
    assert isinstance(fault, UnreadError)
    assert fault.message.startswith(f"row 3: {tmp_path / 'a.tar'} cannot be read: ")


@pytest.mark.parametrize("text", ['{"x": 1}', '{"x": [1]}', '{"x": {"a": 1, "a": 2}}'])
def test_what_is_no_object_is_a_fault(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    ((_, fault),) = raw.rows(tmp_path / "a.json")
    assert isinstance(fault, DataError)


def test_boxes_of_coco_are_one_row_for_each_category(tmp_path: Path) -> None:
    boxes = [{"image_id": 7, "category_id": at % 2, "bbox": [at, 0, 1, 1]} for at in range(3)]
    content = {
        "images": [{"id": at, "file_name": f"{at}.jpg"} for at in (7, 8, 9)],
        "annotations": [
            *boxes, {"image_id": 9, "caption": "A dog."}, {"image_id": 9, "category_id": 5, "bbox": [9, 0, 1, 1]},
            {"image_id": 9, "caption": "A big dog."}, {"image_id": 9, "category_id": 1},
        ],
        "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(content))
    rows = [*raw.rows(tmp_path / "a.json")]
    assert [number for number, _ in rows] == [1, 2, 3, 4]
    assert [*raw.rows(tmp_path / "a.json", 3)] == rows[2:]
    marked = [row for _, row in rows[:3] if isinstance(row, dict)]
    assert [(row["image_id"], row["file_name"], row["category"], row["bbox_xywh"]) for row in marked] == [
        (7, "7.jpg", "cat", [[0, 0, 1, 1], [2, 0, 1, 1]]), (7, "7.jpg", "dog", [[1, 0, 1, 1]]),
        (9, "9.jpg", None, [[9, 0, 1, 1]]),
    ]  # fmt: skip
    assert [row["question"] for row in marked] == [f"Where is each {name}?" for name in ("cat", "dog", "object")]
    asked = {"question": "What does the picture show?", "answers": ["A dog.", "A big dog."]}
    assert rows[3][1] == {"image_id": 9, "file_name": "9.jpg", **asked}
