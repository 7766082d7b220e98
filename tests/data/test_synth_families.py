"""`virc data synth --family`: every family in every format, several paths a problem."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops
from support.called import virc

from virc.data.synth.draw import SynthConfig, write
from virc.data.synth.families import registry as families

ALL = tuple(name for name in families.names() if name not in ("sheets", "clips", "documents"))  # large ones
FORMATS = ("sft", "rl", "prompts", "batch", "trajectories")
COUNT = 80


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("drawn") / "all"
    return write(SynthConfig(to, COUNT, 5, formats=FORMATS, workers=1, families=ALL, paths=2))


def problems(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "problems.jsonl").read_text().splitlines()]


def solved(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / "trajectories.json").read_text())
    return rows


@pytest.mark.integration
def test_check_finds_no_fault_in_any_format(made: Path) -> None:
    done = virc("data", "check", made)
    assert done.code == 0, done.err
    assert done.out.count("good") == len(FORMATS) + 1


@pytest.mark.integration
def test_each_problem_is_solved_in_two_patterns(made: Path) -> None:
    by_problem: dict[str, list[dict[str, Any]]] = {}
    for row in solved(made):
        by_problem.setdefault(row["id"].partition(".")[0], []).append(row)
    assert list(by_problem) == [row["id"] for row in problems(made)]
    for rows in by_problem.values():
        assert len(rows) == 2
        assert len({row["category"]["pattern"] for row in rows}) == 2
        assert len({row["images"][0] for row in rows}) == 1
        assert len({row["answer"] for row in rows}) == 1
    shown = [image for row in solved(made) for image in row["images"]]
    assert set(shown) == {str(path.relative_to(made)) for path in made.rglob("*.png")}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


def test_problems_with_counterfactuals_are_those_without_and_a_picture_more(tmp_path: Path) -> None:
    plain, counterfactuals = (
        write(SynthConfig(tmp_path / f"{wanted}", 3, 3, workers=1, families=ALL, counterfactuals=wanted))
        for wanted in (False, True)
    )
    known, found = files(plain), files(counterfactuals)
    assert {name for name in found if name not in known} == {
        row["counterfactual"]["image"] for row in problems(counterfactuals)
    }
    assert {name for name in known if found[name] != known[name]} == {"problems.jsonl"}
    assert [
        {key: value for key, value in row.items() if key != "counterfactual"} for row in problems(counterfactuals)
    ] == problems(plain)
    assert {row["category"]["family"] for row in problems(counterfactuals)} == set(ALL)
    for row in problems(counterfactuals):
        with (
            Image.open(counterfactuals / row["image"]) as image,
            Image.open(counterfactuals / row["counterfactual"]["image"]) as counterfactual,
        ):
            assert image.size == counterfactual.size
            assert ImageChops.difference(image, counterfactual).getbbox() is not None
        assert row["counterfactual"]["answer"] != row["answer"]
    assert virc("data", "check", counterfactuals, "--workers", 1).code == 0
