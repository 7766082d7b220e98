"""Operators without models: which rows they keep, in which order, and why others are left out."""

from pathlib import Path
from typing import Any

import pytest
from making_rows.made import made, picture, write_rows

from virc.core.events import Reporter
from virc.data.make.run import make

ROWS = [
    {"id": "a", "pass_rate": 0.0, "level": "easy", "tags": ["x", "y"], "scores": [0, 0], "info": {"words": 3}},
    {"id": "b", "pass_rate": 0.5, "level": "hard", "tags": ["x"], "scores": [0, 1], "info": {"words": 9}},
    {"id": "c", "pass_rate": "1", "level": "Hardest", "tags": [], "scores": [1, 1]},
    {"id": "d", "level": 7, "flag": True},
]
SELECT: list[tuple[dict[str, Any], str, dict[str, int]]] = [
    ({"column": "pass_rate", "min": 0.2}, "bc", {"min": 1, "missing": 1}),
    ({"column": "pass_rate", "min": 0.2, "max": 0.9}, "b", {"min": 1, "max": 1, "missing": 1}),
    ({"column": "pass_rate", "max": 0.9, "missing": True}, "abd", {"max": 1}),
    ({"column": "level", "equal": "hard"}, "b", {"equal": 3}),
    ({"column": "level", "equal": ["easy", 7]}, "ad", {"equal": 2}),
    ({"column": "pass_rate", "equal": "1.0"}, "c", {"equal": 2, "missing": 1}),  # as the command line gives it
    ({"column": "pass_rate", "equal": 0}, "a", {"equal": 2, "missing": 1}),
    ({"column": "flag", "equal": "true"}, "d", {"missing": 3}),
    ({"column": "flag", "equal": False}, "", {"equal": 1, "missing": 3}),
    ({"column": "level", "contains": "hard"}, "bc", {"contains": 2}),
    ({"column": "level", "min": 1}, "d", {"no number": 3}),
    ({"column": "tags", "contains": "x"}, "ab", {"contains": 1, "missing": 1}),
    ({"column": "tags", "min": 1, "max": 1}, "b", {"min": 1, "max": 1, "missing": 1}),
    ({"column": "scores", "min_variance": 0.1}, "b", {"min_variance": 2, "missing": 1}),
    ({"column": "info.words", "max": 5}, "a", {"max": 1, "missing": 2}),
    ({"column": "nothing"}, "", {"missing": 4}),
]
CURRICULUM: list[tuple[dict[str, Any], str]] = [({"column": "n"}, "cadb"), ({"column": "n", "first": "high"}, "badc")]


def ids(rows: list[dict[str, Any]]) -> str:
    return "".join(str(row["id"]) for row in rows)


@pytest.mark.parametrize(("options", "expected", "rules"), SELECT)
def test_select_keeps_rows_within_its_rules(
    options: dict[str, Any], expected: str, rules: dict[str, int], tmp_path: Path
) -> None:
    rows, left_out = made("select", tmp_path, ROWS, **options)
    assert (ids(rows), left_out) == (expected, rules)
    assert rows == [row for row in ROWS if row["id"] in expected]


@pytest.mark.parametrize(("options", "expected"), CURRICULUM)
def test_curriculum_sorts_rows(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    rows = [{"id": id, "n": n} for id, n in zip("abcde", (2, 9, -1, 2.0, None), strict=True)]
    found, left_out = made("curriculum", tmp_path, rows, **options)
    assert (ids(found), left_out) == (expected, {"missing": 1})


def test_curriculum_shuffles_within_buckets(tmp_path: Path) -> None:
    rows = [{"id": n, "n": 100 - n} for n in range(100)]
    first, _ = made("curriculum", tmp_path, rows, column="n", buckets=4)
    again, _ = made("curriculum", tmp_path, rows, column="n", buckets=4)
    other, _ = made("curriculum", tmp_path, rows, column="n", buckets=4, seed=1)
    parts = [{row["n"] for row in first[at : at + 25]} for at in range(0, 100, 25)]
    assert parts == [set(range(at + 1, at + 26)) for at in range(0, 100, 25)]
    assert first == again != other
    assert first != sorted(first, key=lambda row: row["n"])


def test_a_column_that_no_row_has_is_said(tmp_path: Path) -> None:
    said = list[str]()
    report = Reporter(lambda event: said.append(f"{event}"))
    rows = str(write_rows(tmp_path / "rows.jsonl", ROWS))
    make("select", [rows], tmp_path / "new.jsonl", {"column": "nope"}, report=report)
    assert "no row has the column that is named" in said[-1]


def test_dedupe_tells_sums_from_differences(tmp_path: Path) -> None:
    texts = ["5 + 3 = ?", "5 - 3 = ?", "5+3=", "Is 3 < 5?", "Is 3 > 5?", "Where is -2?", "Where is 2?"]
    rows = [{"id": id, "question": text} for id, text in zip("abcdefg", texts, strict=True)]
    found, left_out = made("dedupe", tmp_path, rows, by="text")
    assert (ids(found), left_out) == ("abdefg", {"copy": 1})


@pytest.mark.parametrize(("by", "expected"), [("both", "abdef"), ("picture", "abf"), ("text", "abe")])
def test_dedupe_keeps_the_first_of_copies(by: str, expected: str, tmp_path: Path) -> None:
    picture(tmp_path / "one.png", 1)
    picture(tmp_path / "small.png", 1, (32, 24))
    picture(tmp_path / "other.png", 2)
    rows = [
        {"id": "a", "image": "one.png", "question": "How many?"},
        {"id": "b", "image": "other.png", "question": "Where?"},
        {"id": "c", "image": "small.png", "question": " how  MANY"},
        {"id": "d", "image": "other.png", "question": "How many?"},
        {"id": "e", "image": "one.png", "question": "What else?"},
        {"id": "f", "question": "Where?"},
    ]
    found, left_out = made("dedupe", tmp_path, rows, by=by)
    assert (ids(found), left_out) == (expected, {"copy": 6 - len(expected)})


def test_dedupe_leaves_out_rows_of_other_files(tmp_path: Path) -> None:
    picture(tmp_path / "bench" / "x.png", 1, (128, 96))
    (tmp_path / "bench" / "b.jsonl").write_text('{"id": 1, "image": "x.png", "question": "How many?"}\n')
    picture(tmp_path / "one.png", 1)
    rows = [
        {"id": "a", "image": "one.png", "question": "How many?"},
        {"id": "b", "image": "one.png", "question": "Who?"},
    ]
    found, left_out = made("dedupe", tmp_path, rows, against=[str(tmp_path / "bench" / "b.jsonl")])
    assert (ids(found), left_out) == ("b", {"against": 1})
