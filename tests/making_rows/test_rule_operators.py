"""Operators without models: which rows they keep, in which order, and why others are left out."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from making_rows.made import made, picture, read_rows, write_rows
from PIL import Image
from support.servers import dead_url

from virc.core.errors import DataError, UsageError
from virc.core.events import Reporter
from virc.data.make.run import make

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
    ({"column": "level", "equal": ["easy", 7]}, "ad", {"equal": 2}),
    ({"column": "pass_rate", "equal": "1.0"}, "c", {"equal": 2, "missing": 1}),  # as the command line gives it
    ({"column": "pass_rate", "equal": 0}, "a", {"equal": 2, "missing": 1}),
    ({"column": "flag", "equal": "true"}, "d", {"missing": 3}),
    ({"column": "flag", "equal": False}, "", {"equal": 1, "missing": 3}),
    ({"column": "level", "contains": "HARD"}, "bc", {"contains": 2}),
    ({"column": "level", "min": 1}, "d", {"no number": 3}),
    ({"column": "tags", "contains": "x"}, "ab", {"contains": 1, "missing": 1}),
    ({"column": "tags", "min": 1, "max": 1}, "b", {"min": 1, "max": 1, "missing": 1}),
    ({"column": "scores", "contains": "1"}, "bcd", {"contains": 1}),
    ({"column": "scores", "min_variance": 0.1}, "b", {"min_variance": 2, "no number": 1}),
    ({"column": "info.words", "max": 5}, "ad", {"max": 1, "missing": 1}),
    ({"column": "far", "min": 1}, "", {"no number": 1, "missing": 3}),
    ({"column": "nothing"}, "", {"missing": 4}),
    ({"column": "level.words"}, "", {"missing": 4}),
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
    column, given = options["column"], {row["id"]: row for row in ROWS}
    for row in read_rows(tmp_path / "new.jsonl.left_out"):
        if row["rule"] == "missing":
            assert row["why"] == f"it has no {column}"
        elif "." not in column:
            assert row["why"] == f"{column} is {given[row['id']][column]}"


@pytest.mark.parametrize(("options", "expected"), CURRICULUM)
def test_curriculum_sorts_rows(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    rows = [{"id": id, "n": n} for id, n in zip("abcdef", (2, 9, -1, 2.0, None, "many"), strict=True)]
    found, left_out = made("curriculum", tmp_path, rows, **options)
    assert (ids(found), left_out) == (expected, {"missing": 1, "no number": 1})
    assert [row["why"] for row in read_rows(tmp_path / "new.jsonl.left_out")] == ["it has no n", "n is no number"]


def test_curriculum_shuffles_within_buckets(tmp_path: Path) -> None:
    rows = [{"id": n, "n": 103 - n} for n in range(103)]
    first, _ = made("curriculum", tmp_path, rows, column="n", buckets=4)
    again, _ = made("curriculum", tmp_path, rows, column="n", buckets=4)
    other, _ = made("curriculum", tmp_path, rows, column="n", buckets=4, seed=1)
    for start, end in pairwise((0, 25, 51, 77, 103)):
        assert {row["n"] for row in first[start:end]} == set(range(start + 1, end + 1))
        assert first[start:end] != sorted(first[start:end], key=lambda row: row["n"])
    assert first == again != other


def test_mix_takes_rows_by_weights(tmp_path: Path) -> None:
    rows = [{"id": n, "from": 10 * (n % 4 == 0)} for n in range(80)] + [{"id": 80, "from": 5}, {"id": 81}]
    options = {"column": "from", "weights": {"0": 0.75, "10": 0.5}}
    found, left_out = made("mix", tmp_path, rows, **options)
    counts = [sum(row["from"] == name for row in found) for name in (0, 10)]
    assert (counts, left_out) == ([30, 20], {"weight": 30, "source": 1, "missing": 1})
    whys = [row["why"] for row in read_rows(tmp_path / "new.jsonl.left_out")]
    assert whys == ["30 of 60 rows of source 0 are taken"] * 30 + ["5 has no weight", "it has no from"]
    order = [row["id"] for row in found]
    assert order != sorted(order)
    assert sorted(id for id in order if id % 4) != [id for id in range(80) if id % 4][:30]  # drawn, not the first
    whole, _ = made("mix", tmp_path, rows, **options, shuffle=False)
    assert [row["from"] for row in whole] == [0] * 30 + [10] * 20
    assert {row["id"] for row in whole} == {*order}


@pytest.mark.parametrize(
    ("counts", "weights", "rows", "expected"),
    [
        ([20] * 4, None, 10, 10),  # 2.5 of each
        ([20] * 3, [1, 1, 1], 10, 10),
        ([10, 10], [3, 1], None, 13),
        ([20] * 12, [1, 1, 5, *[1] * 9], 32, 32),
    ],
)
def test_mix_gives_as_many_rows_as_asked_by_files(
    counts: list[int], weights: list[float] | None, rows: int | None, expected: int, tmp_path: Path
) -> None:
    files = [
        str(write_rows(tmp_path / f"{at}.jsonl", [{"id": f"{at}-{n}", "of": at} for n in range(count)]))
        for at, count in enumerate(counts)
    ]
    fields = make("mix", files, tmp_path / "new.jsonl", {"weights": weights, "rows": rows})
    taken = Counter(row["of"] for row in read_rows(tmp_path / "new.jsonl"))
    assert fields["made"] == expected
    shares = weights or [1.0] * len(counts)
    assert all(abs(taken[at] - expected * share / sum(shares)) < 1 for at, share in enumerate(shares))


def test_mix_of_rows_without_a_source_leaves_all_out(tmp_path: Path) -> None:
    assert made("mix", tmp_path, ROWS, column="nothing") == ([], {"missing": 4})


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


def test_split_does_not_write_over_rows_that_are_read(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "new.heldout.jsonl", ROWS)
    with pytest.raises(UsageError, match="is read and cannot be written"):
        make("split", [str(rows)], tmp_path / "new.jsonl")
    assert read_rows(rows) == ROWS


def test_mix_repeats_rows_under_new_ids(tmp_path: Path) -> None:
    rows = [{"id": n, "from": "ab"[n > 2]} for n in range(10)]
    options = {"column": "from", "weights": {"a": 1, "b": 1}, "rows": 14}
    with pytest.raises(UsageError, match="source a has 3 rows, and 7 are wanted"):
        made("mix", tmp_path, rows, **options)
    found, left_out = made("mix", tmp_path, rows, **options, repeat=True)
    assert len({row["id"] for row in found}) == 14
    taken = Counter(row["id"] if isinstance(row["id"], int) else int(row["id"][0]) for row in found)
    assert sorted(count for id, count in taken.items() if id < 3) == [2, 2, 3]
    assert left_out == {}


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


def test_split_sets_rows_without_pictures_aside_one_by_one(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"id": at} for at in range(40)])
    said = list[str]()
    report = Reporter(lambda event: said.append(event.text))
    make("split", [str(rows)], tmp_path / "new.jsonl", {"share": 0.25}, report=report)
    assert said[-1].endswith(f"; 10 of them in {tmp_path / 'new.heldout.jsonl'}")
    assert [len(read_rows(tmp_path / name)) for name in ("new.jsonl", "new.heldout.jsonl")] == [30, 10]


def test_a_picture_that_cannot_be_fetched_leaves_no_row_out(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"id": 1, "image": f"{dead_url()}/x.png"}])
    with pytest.raises(DataError):
        make("split", [str(rows)], tmp_path / "new.jsonl")


def test_split_has_no_value_of_its_column_on_both_sides(tmp_path: Path) -> None:
    for at in range(24):
        picture(tmp_path / f"{at}.png", at)
    rows = [{"id": at, "images": [f"{at % 23}.png"], "page": at // 4} for at in range(24)]  # the ends share one
    file = str(write_rows(tmp_path / "rows.jsonl", rows))
    held = []
    for seed in range(3):
        make("split", [file], tmp_path / f"{seed}.jsonl", {"share": 0.4, "column": "page", "name": "val", "seed": seed})
        sides = [{row["page"] for row in read_rows(tmp_path / f"{seed}{name}.jsonl")} for name in ("", ".val")]
        assert [len(side) for side in sides] == [4, 2]
        assert not sides[0] & sides[1]
        assert any({0, 5} <= side for side in sides)
        held.append(sides[1])
    assert held[1:] != held[:2]


@pytest.mark.parametrize(("by", "expected"), [("both", "abdefg"), ("picture", "abfg"), ("text", "abe")])
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


def test_dedupe_compares_all_pictures_and_the_first_question_of_a_conversation(tmp_path: Path) -> None:
    names = [picture(tmp_path / f"{at}.png", at) for at in range(3)]
    said = [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "Who?"}, {"from": "gpt", "value": "I"}]
    talks = [said, [said[1], {"from": "gpt", "value": "You"}], [said[0], {"from": "human", "value": "Why?"}]]
    rows: list[dict[str, Any]] = [{"id": f"{at}", "conversations": talk} for at, talk in enumerate(talks)]
    rows += [{"id": "3", "messages": [{"role": "user", "content": "who"}, {"role": "assistant", "content": "-"}]}]
    rows += [{"id": id, "images": [names[at] for at in shown]} for id, shown in (
        ("4", (0, 1)), ("5", (0, 2)), ("6", (0,)), ("7", (2, 1)), ("8", (0, 1)),
    )]  # fmt: skip
    found, left_out = made("dedupe", tmp_path, rows)
    assert (ids(found), left_out) == ("024567", {"copy": 3})


@pytest.mark.parametrize("part", range(4))
def test_dedupe_finds_copies_by_any_quarter_of_a_picture(part: int, tmp_path: Path) -> None:
    for name, faint in (("a", 5), ("b", -5)):
        blocks = Image.new("L", (9, 8))
        blocks.putdata([100 + (100 if y // 2 == part else faint) * (x % 2) for y in range(8) for x in range(9)])
        blocks.resize((90, 80), Image.Resampling.NEAREST).save(tmp_path / f"{name}.png")
    rows = [{"id": name, "image": f"{name}.png"} for name in "ab"]
    assert made("dedupe", tmp_path, rows, by="picture")[1] == {"copy": 1}


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
