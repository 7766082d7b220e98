"""Pictures that rows name are compared with what came."""

import json
from pathlib import Path
from typing import Any

import pytest
from downloads import serving
from support.called import virc

from virc.download.fetch import unfetched

THERE = "images/here.png"


def jsonl(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def parquet(**columns: list[Any]) -> bytes:
    import io

    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", jsonl({"image": "gone.JPG"}, {"image": "gone.JPG"}), "1 of 1 pictures named in a.jsonl is"),
        ("a.json", json.dumps([{"x": {"y": ["1.webp", "2.tiff"]}}]).encode(), "2 of 2 pictures named in a.json are"),
        ("a.csv", b"image,question\ngone.png,What?\n", "1 of 1 pictures named in a.csv is"),
        ("a.parquet", parquet(image=["gone.png", THERE], id=[1, 2]), "1 of 2 pictures named in a.parquet is"),
        ("a.parquet", parquet(image=[{"bytes": b"x", "path": "gone.png"}]), None),
        ("a.jsonl", jsonl({"image": "here.png"}), None),  # a layout names the folder
        ("a.jsonl", jsonl({"image": "/mnt/author/gone.png"}, {"image": "https://h/gone.png"}), None),
        ("a.jsonl", jsonl({"question": "What is in gone.png?"}, {"image": None}, {"image": ""}), None),
    ],
)
def test_pictures_that_are_not_there_are_counted(name: str, content: bytes, said: str | None, tmp_path: Path) -> None:
    for each, data in ((THERE, b"png"), (name, content)):
        (tmp_path / each).parent.mkdir(exist_ok=True)
        (tmp_path / each).write_bytes(data)
    assert list(unfetched(tmp_path, [name])) == ([f"{said} not here"] if said else [])


def test_what_rows_name_and_nobody_published_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {"train.jsonl": jsonl({"images": [THERE]}, {"images": ["gone.png"]}), THERE: b"png"}
    with serving(monkeypatch, tmp_path, {"datasets/some/data": files}):
        done = virc("download", "datasets/some/data")
        again = virc("download", "datasets/some/data", "--include", "train.jsonl")
    assert (done.code, again.code) == (0, 0)
    assert "warning: 1 of 2 pictures named in train.jsonl is not here\n" in done.err
    assert "1 of 2 pictures named in train.jsonl is not here" in again.err
