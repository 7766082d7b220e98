"""Pictures that rows name are compared with what came."""

import json
from pathlib import Path
from typing import Any

import pytest
from downloads import packed, serving
from support.called import virc

from virc.download import fetch
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
        ("a.jsonl", jsonl({"images": [THERE]}, {"images": ["images/gone.png"]}), "1 of 2 pictures named in a.jsonl is"),
        ("a.jsonl", jsonl({"image": "gone.JPG"}, {"image": "gone.JPG"}), "1 of 1 pictures named in a.jsonl is"),
        ("a.json", json.dumps([{"x": {"y": ["1.webp", "2.tiff"]}}]).encode(), "2 of 2 pictures named in a.json are"),
        ("part/a.jsonl", jsonl({"image": THERE}), None),
        ("a.csv", b"image,question\ngone.png,What?\n", "1 of 1 pictures named in a.csv is"),
        ("a.tsv", b"image\tquestion\nimages/here.png\tWhat?\n", None),
        ("a.parquet", parquet(image=["gone.png", THERE], id=[1, 2]), "1 of 2 pictures named in a.parquet is"),
        ("a.parquet", parquet(image=[{"bytes": b"x", "path": "gone.png"}]), None),
        ("a.parquet", parquet(images=[[{"bytes": b"x", "path": "gone.png"}]], note=["x"]), None),
        ("a.jsonl", jsonl({"image": {"bytes": "eA==", "path": "gone.png"}}), None),
        ("a.jsonl", jsonl({"image": "here.png"}), None),  # a layout names the folder
        ("a.jsonl", jsonl({"image": "/mnt/author/gone.png"}, {"image": "https://h/gone.png"}), None),
        ("a.jsonl", jsonl({"question": "What is in gone.png?"}, {"image": None}, {"image": ""}), None),
        ("a.jsonl", b"no rows", None),
        ("a.txt", b"gone.png", None),
        ("config.json", b'{"model_type": "x"}', None),
    ],
)
def test_pictures_that_are_not_there_are_counted(name: str, content: bytes, said: str | None, tmp_path: Path) -> None:
    for each, data in ((THERE, b"png"), (name, content)):
        (tmp_path / each).parent.mkdir(exist_ok=True)
        (tmp_path / each).write_bytes(data)
    assert list(unfetched(tmp_path, [name])) == ([f"{said} not here"] if said else [])


def test_files_beside_a_folder_do_not_hide_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_MAX_FOLDERS", 1)
    for number in range(100):
        (tmp_path / f"{number}.txt").touch()
    (tmp_path / "images").mkdir()
    (tmp_path / THERE).touch()
    (tmp_path / "a.jsonl").write_bytes(jsonl({"image": "here.png"}))
    assert list(unfetched(tmp_path, ["a.jsonl"])) == []


def test_each_file_of_rows_is_looked_through(tmp_path: Path) -> None:
    for name, rows in (
        ("a.jsonl", b"no rows"),
        ("b.jsonl", jsonl({"image": "x.png"})),
        ("c.jsonl", jsonl({"image": "y.png"})),
    ):
        (tmp_path / name).write_bytes(rows)
    said = [f"1 of 1 pictures named in {name} is not here" for name in ("b.jsonl", "c.jsonl")]
    assert list(unfetched(tmp_path, ["gone.jsonl", "a.jsonl", "b.jsonl", "c.jsonl"])) == said


@pytest.mark.parametrize("more", [(), ("--stream",)])
@pytest.mark.parametrize("folder", ["", "chartqa/", "a/b/"])
def test_archives_are_unpacked_where_they_lie(
    folder: str, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = jsonl({"images": [THERE]})
    files = {f"{folder}train.jsonl": rows, f"{folder}images.tar": packed({THERE: b"png"})}
    with serving(monkeypatch, tmp_path, {"datasets/some/data": files}):
        done = virc("download", "datasets/some/data", *more)
    assert (done.code, "not here" in done.err) == (0, False)
    assert Path("data/data", folder, THERE).read_bytes() == b"png"
    assert not Path("data/data", folder, "images.tar").exists()


def test_what_rows_name_and_nobody_published_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {"train.jsonl": jsonl({"images": [THERE]}, {"images": ["gone.png"]}), THERE: b"png"}
    with serving(monkeypatch, tmp_path, {"datasets/some/data": files}):
        done = virc("download", "datasets/some/data")
        again = virc("download", "datasets/some/data", "--include", "train.jsonl")
    assert (done.code, again.code) == (0, 0)
    assert "warning: 1 of 2 pictures named in train.jsonl is not here\n" in done.err
    assert "1 of 2 pictures named in train.jsonl is not here" in again.err
