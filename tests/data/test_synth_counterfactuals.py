"""`virc data synth --counterfactuals` and `--pattern`: the same problems, with another picture or solved in one way."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops
from plans import planned
from support.called import virc

from tiny import curriculum
from virc.data.synth import draw as tasks
from virc.data.synth import worked
from virc.data.synth.draw import SynthConfig, write
from virc.data.synth.families import polygons
from virc.data.synth.families import registry as families
from virc.data.synth.problem import Split
from virc.reasoning.messages import parse

ALL = tuple(name for name in families.names() if name != "sheets")  # of 12 megapixels


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "problems.jsonl").read_text().splitlines()]


def solved(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "trajectories.json").read_text())
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


def test_problems_with_counterfactuals_are_those_without_and_a_picture_more(tmp_path: Path) -> None:
    plain, counterfactuals = (
        write(SynthConfig(tmp_path / f"{wanted}", 3, 3, workers=1, families=ALL, counterfactuals=wanted))
        for wanted in (False, True)
    )
    known, found = files(plain), files(counterfactuals)
    assert {name for name in found if name not in known} == {
        row["counterfactual"]["image"] for row in rows(counterfactuals)
    }
    assert {name for name in known if found[name] != known[name]} == {"problems.jsonl"}
    assert [
        {key: value for key, value in row.items() if key != "counterfactual"} for row in rows(counterfactuals)
    ] == rows(plain)
    assert {row["category"]["family"] for row in rows(counterfactuals)} == set(ALL)
    for row in rows(counterfactuals):
        with (
            Image.open(counterfactuals / row["image"]) as image,
            Image.open(counterfactuals / row["counterfactual"]["image"]) as counterfactual,
        ):
            assert image.size == counterfactual.size
            assert ImageChops.difference(image, counterfactual).getbbox() is not None
        assert row["counterfactual"]["answer"] != row["answer"]
    assert virc("data", "check", counterfactuals, "--workers", 1).code == 0


def test_no_counterfactual_is_left_without_its_picture(tmp_path: Path) -> None:
    drawn = write(SynthConfig(tmp_path / "drawn", 2, formats=("batch",), counterfactuals=True))
    assert virc("data", "convert", drawn, "--format", "batch", "--to", tmp_path / "other").code == 0
    assert not any("counterfactual" in row for row in rows(tmp_path / "other"))


def test_a_counterfactual_is_the_same_with_any_solution_of_its_problem(tmp_path: Path) -> None:
    made = [
        write(SynthConfig(tmp_path / pattern, 6, 1, formats=("batch",), pattern=pattern, counterfactuals=True))
        for pattern in ("look", "direct")
    ]  # fmt: skip
    told = [[(row["question"], row["answer"], row["counterfactual"]) for row in rows(folder)] for folder in made]
    assert told[0] == told[1]


@pytest.mark.parametrize("pattern", [*worked.PATTERNS, "direct"])
def test_every_solution_has_the_pattern_asked_for(tmp_path: Path, pattern: str) -> None:
    words = ("--family", ",".join(ALL), "--count", 10, "--pattern", pattern, "--formats", "sft")
    assert virc("data", "synth", "--to", tmp_path / "a", *words).code == 0
    for row in solved(tmp_path / "a"):
        replies = [said["content"] for said in row["messages"] if said["role"] == "assistant"]
        assert row["category"]["pattern"] == pattern
        assert parse(replies[-1]).answer == row["answer"]
        assert (len(replies) == len(row["images"]) == 1) == (pattern == "direct")
        assert any(worked.AGAIN in reply for reply in replies) == ("verify" in pattern)
        assert planned(replies[0]) == ("plan" in pattern)


def test_further_paths_are_rows_of_trajectories_with_images_of_their_own(tmp_path: Path) -> None:
    words = ("--family", "polygons", "--count", 2, "--paths", 2, "--formats", "batch,sft")
    assert virc("data", "synth", "--to", tmp_path / "a", *words).code == 0
    assert len(rows(tmp_path / "a")) == 2
    found = solved(tmp_path / "a")
    assert len(found) == 4
    for one, other in (found[:2], found[2:]):
        assert one["images"][0] == other["images"][0]
        assert not set(one["images"][1:]) & set(other["images"][1:])


def test_problems_are_drawn_of_the_split_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    task = tasks.task

    def noted(rng: random.Random, split: Split, *more: Any, **rest: Any) -> tasks.Task:
        drawn.append(split)
        return task(rng, split, *more, **rest)

    monkeypatch.setattr(tasks, "task", noted)
    words = ("--family", "polygons", "--count", 2, "--split", "heldout", "--formats", "batch")
    assert virc("data", "synth", "--to", tmp_path / "a", *words).code == 0
    assert drawn == ["heldout"] * 2


def test_direct_solutions_are_what_a_control_without_tools_learns() -> None:
    for seed in range(5):
        drawn = tasks.task(random.Random(seed), "train", polygons, pattern="direct", drawing=1)  # type: ignore[arg-type]
        example = curriculum.direct(random.Random(seed))
        assert [example.messages[-1].text] == drawn.paths["direct"]
        assert example.images[0].tobytes() == drawn.picture.tobytes()


def test_who_answers_directly_refuses_directly_and_rows_say_what_is_refused(tmp_path: Path) -> None:
    words = ("--family", "polygons", "--count", 24, "--refusals", 1)
    for pattern, looks in (("direct", False), ("look", True)):
        assert virc("data", "synth", "--to", tmp_path / pattern, *words, "--pattern", pattern).code == 0
        found = solved(tmp_path / pattern)
        assert {row["category"]["refusal"] for row in found} == {"stranger", "small", "absent"}
        for row in found:
            assert (len(row["images"]) > 1) == (looks and row["category"]["refusal"] == "absent")
            assert row["answer"] == "unreadable"
    assert [row["question"] for row in rows(tmp_path / "direct")] == [
        row["question"] for row in rows(tmp_path / "look")
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--pattern", "look", "--paths", "2"], "paths of a problem have different patterns"),
        (["--pattern", "guess"], "--pattern"),
        (["--counterfactuals", "--refusals", "0.5"], "a problem that is refused has no counterfactual"),
        (["--counterfactuals", "--formats", "sft"], "counterfactuals are written in the format batch alone"),
        (["--counterfactuals", "--sides", "4"], "of polygons alone"),
    ],
)
def test_what_does_not_go_together_is_said_and_leaves_nothing(tmp_path: Path, options: list[str], said: str) -> None:
    done = virc("data", "synth", "--to", tmp_path / "a", *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert not list(tmp_path.iterdir())
