"""Operators without models: which rows they keep, in which order, and why others are left out."""

from pathlib import Path
from typing import Any

from extras.make.made import made, picture, read_rows, write_rows
from support.tables import each_case

from virc_extras.make.run import make

ROWS = [
    {"id": "a", "pass_rate": 0.0, "level": "easy", "tags": ["x", "y"], "scores": [0, 0], "info": {"words": 3}},
    {"id": "b", "pass_rate": 0.5, "level": "hard", "tags": ["x"], "scores": [0, 1], "info": {"words": 9}},
    {"id": "c", "pass_rate": "1", "level": "Hardest", "tags": [], "scores": [1, 1]},
    {"id": "d", "level": 7, "flag": True, "info.words": 4, "far": "inf", "scores": [0, None, 1]},
]
SELECT: list[tuple[dict[str, Any], str, dict[str, int]]] = [
    ({"column": "pass_rate", "min": 0.2}, "bc", {"min": 1, "missing": 1}),
    ({"column": "pass_rate", "min": 0.2, "max": 0.9}, "b", {"min": 1, "max": 1, "missing": 1}),
    ({"column": "pass_rate", "max": 0.9, "missing": True}, "abd", {"max": 1}),
    ({"column": "level", "equal": "hard"}, "b", {"equal": 3}),
    ({"column": "pass_rate", "equal": "1.0"}, "c", {"equal": 2, "missing": 1}),  # as the command line gives it
    ({"column": "flag", "equal": "true"}, "d", {"missing": 3}),
    ({"column": "level", "contains": "HARD"}, "bc", {"contains": 2}),
    ({"column": "level", "min": 1}, "d", {"no number": 3}),
    ({"column": "tags", "min": 1, "max": 1}, "b", {"min": 1, "max": 1, "missing": 1}),
    ({"column": "scores", "min_variance": 0.1}, "b", {"min_variance": 2, "no number": 1}),
    ({"column": "info.words", "max": 5}, "ad", {"max": 1, "missing": 1}), ({"column": "nothing"}, "", {"missing": 4}),
]  # fmt: skip


def ids(rows: list[dict[str, Any]]) -> str:
    return "".join(str(row["id"]) for row in rows)


@each_case(("options", "expected", "rules"), SELECT)
def test_select_keeps_rows_within_its_rules(
    options: dict[str, Any], expected: str, rules: dict[str, int], tmp_path: Path
) -> None:
    rows, left_out = made("select", tmp_path, ROWS, **options)
    assert (ids(rows), left_out) == (expected, rules)
    assert rows == [row for row in ROWS if row["id"] in expected]
    column, given = options["column"], {row["id"]: row for row in ROWS}
    for row in read_rows(tmp_path / "new.jsonl.left_out"):
        if row["rule"] == "missing":
            assert row["why"] == f"it has no {column}"
        elif "." not in column:
            assert row["why"] == f"{column} is {given[row['id']][column]}"


def test_rows_in_named_parts_are_shuffled_within_each_by_the_seed(tmp_path: Path) -> None:
    rows = [{"id": at, "level": 2 if at % 3 else "easy"} for at in range(30)] + [{"id": 30, "level": "odd"}, {"id": 31}]
    parts, orders = [["easy"], ["2", "three"]], []
    for seed in (0, 0, 8):
        found, left_out = made("curriculum", tmp_path, rows, column="level", parts=parts, seed=seed)
        assert left_out == {"no part": 1, "missing": 1}
        assert [row["level"] for row in found] == ["easy"] * 10 + [2] * 20
        orders.append([row["id"] for row in found])
    assert orders[0] == orders[1] != orders[2] != sorted(orders[2]) != orders[0]


def test_split_has_no_picture_on_both_sides(tmp_path: Path) -> None:
    for at in range(30):
        picture(tmp_path / f"{at}.png", at)
        picture(tmp_path / f"copy{at}.png", at)
    rows = [{"id": at, "images": [f"{at % 30}.png", f"copy{at % 15}.png"]} for at in range(60)]
    fields = make("split", [str(write_rows(tmp_path / "rows.jsonl", rows))], tmp_path / "new.jsonl", {"share": 0.3})
    found, left_out = read_rows(tmp_path / "new.jsonl"), fields["left_out"]
    held = read_rows(tmp_path / "new.heldout.jsonl")
    assert fields["others"] == {str(tmp_path / "new.heldout.jsonl"): len(held)}
    shown = [{int(name.strip("copy.ng")) for row in side for name in row["images"]} for side in (found, held)]
    assert not shown[0] & shown[1]
    assert len(found) + len(held) == 60
    assert 10 <= len(held) <= 26
    assert left_out == {}


@each_case(("by", "expected"), [("both", "abdefg"), ("picture", "abfg"), ("text", "abe")])
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
        {"id": "g", "question": "What else?"},
    ]
    found, left_out = made("dedupe", tmp_path, rows, by=by)
    assert (ids(found), left_out) == (expected, {"copy": 7 - len(expected)})
    whys = {row["id"]: row["why"] for row in read_rows(tmp_path / "new.jsonl.left_out")}
    assert whys["c"] == "it is the same as row 'a'"
    assert whys.get("f", "it is the same as row 'b'") == "it is the same as row 'b'"


def test_dedupe_leaves_out_rows_of_other_files(tmp_path: Path) -> None:
    picture(tmp_path / "bench" / "x.png", 1, (128, 96))
    benchmark = [{"id": at, "image": name, "question": "How many?"} for at, name in enumerate(("gone.png", "x.png"))]
    write_rows(tmp_path / "bench" / "b.jsonl", benchmark)
    picture(tmp_path / "one.png", 1)
    rows = [
        {"id": "a", "image": "one.png", "question": "How many?"},
        {"id": "b", "image": "one.png", "question": "Who?"},
    ]
    found, left_out = made("dedupe", tmp_path, rows, against=[str(tmp_path / "bench" / "b.jsonl")])
    assert (ids(found), left_out) == ("b", {"against": 1})
    assert read_rows(tmp_path / "new.jsonl.left_out")[0]["why"] == "it is the same as a row of against"
