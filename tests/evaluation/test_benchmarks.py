"""Benchmarks of the user are found by folder or file."""

import json
import shlex
from pathlib import Path

import pytest
from support.called import virc
from support.row_files import png

from virc.core.errors import DataError, UsageError
from virc.evaluation.benchmarks.registry import category_of, find


def test_a_file_of_ones_own_is_a_benchmark(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0))
    row = {"id": 1, "image": "a.png", "question": "What?", "answer": 5, "category": "easy", "tolerance": 0.1}
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(row) + "\n\n" + json.dumps(row | {"id": 2, "image": "../x.png"}) + "\n")
    found = find(str(file), tmp_path / "elsewhere")
    first, second = found.rows()
    assert (found.name, found.base, first.id, first.images) == ("mine", tmp_path, 1, ("a.png",))
    assert (first.passed["tolerance"], category_of(first.passed)) == (0.1, {"category": ("easy",)})
    assert (second.fault, second.line) == (None, 3)  # in a file of their own people name what they like
    with pytest.raises(UsageError, match="a file has no splits"):
        find(str(file), tmp_path, "test")
    for name in ("mine-heldout", "a"):
        (tmp_path / f"{name}.jsonl").write_text(file.read_text())
    with pytest.raises(DataError) as caught:
        find(str(tmp_path), tmp_path)
    assert caught.value.message.endswith("is no benchmark: it holds no problems.jsonl, and 3 other JSONL files")
    assert caught.value.hint == f"name one of them: {shlex.quote(str(tmp_path / 'mine-heldout.jsonl'))}"


def test_a_column_that_nothing_reads_is_refused_until_it_is_left_out(tmp_path: Path) -> None:
    row = {"id": 1, "image": "a.png", "question": "What?", "answer": 5, "hint_boxes": [[1, 2, 3, 4]]}
    (tmp_path / "mine.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match="nothing reads its hint_boxes") as caught:
        find(str(tmp_path / "mine.jsonl"), tmp_path)
    assert caught.value.hint == "--ignore hint_boxes leaves it out"
    assert len([*find(str(tmp_path / "mine.jsonl"), tmp_path, ignored=["hint_boxes"]).rows()]) == 1


def test_a_folder_of_synthetic_problems_is_a_benchmark(tmp_path: Path) -> None:
    assert virc("data", "synth", "--to", tmp_path / "polygons", "--count", 3, "--split", "heldout").code == 0
    found = find(str(tmp_path / "polygons"), Path())
    assert (found.name, found.base) == ("polygons", tmp_path / "polygons")
    assert [row.fault for row in found.rows()] == [None] * 3
    answers = [row.passed["answer"] for row in find(str(tmp_path / "polygons" / "trajectories.json"), Path()).rows()]
    assert answers == [row.passed["answer"] for row in found.rows()]
    with pytest.raises(DataError, match="no column is known as the question"):
        find(str(tmp_path / "polygons" / "dataset_info.json"), Path())
    with pytest.raises(DataError, match=r"is no benchmark: it holds no problems\.jsonl"):
        find(str(tmp_path / "polygons" / "images"), Path())
