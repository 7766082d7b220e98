"""`virc data synth --family`: every family in every format, several paths a problem, refusals."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from plans import planned
from support.called import virc

from virc.data.synth import draw as tasks
from virc.data.synth import worked
from virc.data.synth.draw import SynthConfig, write
from virc.data.synth.families import registry as families
from virc.data.synth.problem import LARGEST
from virc.reasoning.messages import parse

ALL = tuple(name for name in families.names() if name != "sheets")  # of 12 megapixels, see test_sheets
FORMATS = ("sft", "rl", "prompts", "batch", "trajectories")
COUNT = 80


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("drawn") / "all"
    return write(SynthConfig(to, COUNT, 5, formats=FORMATS, workers=1, families=ALL, paths=2, refusals=0.2))


def problems(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "problems.jsonl").read_text().splitlines()]


def solved(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / "trajectories.json").read_text())
    return rows


def refused(row: dict[str, Any]) -> bool:
    return bool(row["answer"] == "unreadable")


@pytest.mark.integration
def test_check_finds_no_fault_in_any_format(made: Path) -> None:
    done = virc("data", "check", made)
    assert done.code == 0, done.err
    assert done.out.count("good") == len(FORMATS) + 1


def test_problems_say_what_they_are_of(made: Path) -> None:
    rows = problems(made)
    assert len({row["id"] for row in rows}) == len(rows) == COUNT
    assert {row["category"]["family"] for row in rows} == set(ALL)
    assert {row["category"]["difficulty"] for row in rows} == {"easy", "hard"}
    assert {row["category"]["pattern"] for row in rows} == {*worked.PATTERNS, "refuse", "search"}
    for row in rows:
        assert (row["category"]["pattern"] in ("refuse", "search")) == refused(row)


def test_labels_and_looks_are_boxes_of_the_picture(made: Path) -> None:
    known = [row for row in problems(made) if "labels" in row]
    assert len(known) > COUNT / 2
    for row in known:
        with Image.open(made / row["image"]) as image:
            width, height = image.size
        assert width * height <= LARGEST
        for box in (*(label["box"] for label in row["labels"]), *row["looks"]):
            assert 0 <= box[0] < box[2] <= width
            assert 0 <= box[1] < box[3] <= height
        assert row["looks"] or refused(row)


def test_each_problem_is_solved_in_two_patterns_and_refused_in_one(made: Path) -> None:
    by_problem: dict[str, list[dict[str, Any]]] = {}
    for row in solved(made):
        by_problem.setdefault(row["id"].partition(".")[0], []).append(row)
    assert list(by_problem) == [row["id"] for row in problems(made)]
    for rows in by_problem.values():
        assert len(rows) == (1 if refused(rows[0]) else 2)
        assert len({row["category"]["pattern"] for row in rows}) == len(rows)
        assert len({row["images"][0] for row in rows}) == 1
        assert len({row["answer"] for row in rows}) == 1
    shown = [image for row in solved(made) for image in row["images"]]
    assert set(shown) == {str(path.relative_to(made)) for path in made.rglob("*.png")}


def test_a_pattern_has_the_acts_it_is_called_by(made: Path) -> None:
    for row in solved(made):
        replies = [said["content"] for said in row["messages"] if said["role"] == "assistant"]
        pattern = row["category"]["pattern"]
        assert parse(replies[-1]).answer == row["answer"]
        assert any(worked.AGAIN in reply for reply in replies) == ("verify" in pattern)
        assert planned(replies[0]) == ("plan" in pattern)
        assert (worked.CANNOT in replies[-1]) == refused(row)
        assert (len(replies) == 1) == (pattern == "refuse")
        assert len(replies) <= 16


def test_refusals_of_either_drawing_are_for_its_reasons() -> None:
    family = families.get("polygons")
    for drawing, other in ((1, "question"), (2, "small")):
        found = [tasks.refusal(random.Random(seed), "train", family, "hard", drawing=drawing) for seed in range(30)]
        wrong = Counter(each.about["category"]["refusal"] for each in found)
        assert set(wrong) == {"stranger", other, "absent"}
        assert wrong["stranger"] == max(wrong.values())
        for each in found:
            about = each.about["category"]
            assert (each.answer, about["difficulty"], about["family"]) == ("unreadable", "hard", "polygons")
            assert ("looks" in each.about) == (about["refusal"] in ("absent", "question")) == ("labels" in each.about)
            assert (next(iter(each.paths)) == "search") == (about["refusal"] == "absent")


@pytest.mark.integration
def test_refusals_are_the_share_asked_for_and_of_all_three_kinds(tmp_path: Path) -> None:
    config = SynthConfig(tmp_path / "a", 60, formats=("batch",), workers=1, families=("polygons",), refusals=1)
    rows = problems(write(config))
    assert all(map(refused, rows))
    kinds = Counter((row["category"]["refusal"], row["category"]["pattern"], "labels" in row) for row in rows)
    assert set(kinds) == {("stranger", "refuse", False), ("small", "refuse", False), ("absent", "search", True)}
    assert 0.5 * 60 * 0.5 < kinds["stranger", "refuse", False] < 1.5 * 60 * 0.5


def test_options_of_families_and_none(tmp_path: Path) -> None:
    assert virc("data", "synth", "--to", tmp_path / "a", "--count", 12, "--difficulty", "hard").code == 0
    rows = problems(tmp_path / "a")
    assert {row["category"]["family"] for row in rows} == {"polygons"}
    assert {sum(label["text"].isalpha() for label in row["labels"]) for row in rows} == {4}
    assert virc("data", "synth", "--to", tmp_path / "b", "--count", 12, "--difficulty", "mixed").code == 0
    assert len({row["category"]["difficulty"] for row in problems(tmp_path / "b")}) == 2
    assert virc("data", "synth", "--to", tmp_path / "c", "--count", 12).code == 0
    assert all("category" not in row and "corners" in row for row in problems(tmp_path / "c"))


@pytest.mark.integration
def test_the_same_seed_makes_the_same_problems_with_any_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("virc.data.synth.draw._CHUNK", 3)
    made = [
        write(SynthConfig(tmp_path / name, 24, workers=workers, families=ALL, paths=4, refusals=0.1))
        for name, workers in (("a", 1), ("b", 2))
    ]
    files = [{path.relative_to(to): path.read_bytes() for path in to.rglob("*.*")} for to in made]
    assert files[0] == files[1]


def test_strangers_are_no_larger_than_a_model_of_the_families_sees() -> None:
    family = families.get("polygons")
    for seed in range(12):
        picture = tasks.refusal(random.Random(seed), "train", family).picture
        assert picture.width % 28 == picture.height % 28 == 0
        assert picture.width * picture.height <= LARGEST


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--family", "polygons,sheet"], 2, "no family 'sheet'"),
        (["--family", ","], 2, "one family or more"),
        (["--family", "polygons", "--sides", "4"], 2, "of polygons alone"),
        (["--paths", "5"], 2, "paths"),
        (["--refusals", "1.5"], 2, "refusals"),
        (["--difficulty", "medium"], 2, "difficulty"),
    ],
)
def test_bad_options_of_families_are_said_and_leave_nothing(
    tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    done = virc("data", "synth", "--to", tmp_path / "a", *options)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert not list(tmp_path.iterdir())
