"""`virc data synth --counterfactuals` and `--pattern`: the same problems, with another picture or solved in one way."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops
from plans import planned
from support.called import virc

from virc.data.synth import worked
from virc.data.synth.draw import SynthConfig, write
from virc.data.synth.families import registry as families
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
