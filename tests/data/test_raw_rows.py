"""Rows as they stand in files that others made, and files that are broken or hostile."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from virc.core.errors import UnreadError
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
