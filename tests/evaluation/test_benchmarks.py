"""Benchmarks are found by name, folder or file, and their problems are those that were published."""

import json
import shlex
from pathlib import Path

import pytest
from evaluation.published import choice, figure, mathvista, picture, search, vstar
from support.called import virc
from support.solving import open_source

from virc.core.errors import DataError, UsageError
from virc.evaluation.benchmarks.registry import LocalBenchmark, category_of, find
from virc.solving.rows import ProblemRow


def good(found: LocalBenchmark) -> list[ProblemRow]:
    """The rows of a benchmark, each of which can be asked, shown and put into a table; read twice alike."""
    rows = list(found.rows())
    assert [row.fault for row in rows if row.fault] == []
    assert len({str(row.id) for row in rows}) == len(rows)
    assert [row.line for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        assert all(open_source(image, found.base).mode == "RGB" for image in row.images)
        assert category_of(row.passed)
        assert row.passed["answer"]
    assert [(row.id, row.digest) for row in found.rows()] == [(row.id, row.digest) for row in rows]
    return rows


def shades(found: LocalBenchmark) -> list[int]:
    """The grey of the one image of each row."""
    pixels = [open_source(row.images[0], found.base).getpixel((5, 5)) for row in found.rows()]
    return [pixel[0] for pixel in pixels if isinstance(pixel, tuple)]


def test_a_file_of_ones_own_is_a_benchmark(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(7, "PNG"))
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


def test_mathvista_and_vstar_are_asked_with_the_published_prompts(tmp_path: Path) -> None:
    mathvista(tmp_path / "mathvista", [figure("1"), choice("2")])
    vstar(tmp_path / "vstar", [search(0), search(1), search(2, text="What is it?", label="wool")])
    asked = [row.question for name in ("mathvista", "vstar") for row in good(find(str(tmp_path / name), Path()))]
    texts = [search(0)["text"], search(1)["text"], "What is it?"]
    assert asked == [figure("1")["query"], choice("2")["query"], *texts]
