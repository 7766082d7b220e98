"""`virc data sample --pairs`: which replies of a model's own rollouts become pairs, and why others do not."""

import json
from pathlib import Path
from typing import Any

import pytest
from batches import problems, write
from rollouts import LOOKED, RIGHT, WRONG, Rollouts, files, progress, sample
from support.called import virc
from support.servers import Body, serve
from support.solving import CROP, answer, call

OTHER = [call("crop_image", bbox_2d=[14, 14, 70, 70], image_index=0), answer("98")]
LOOKED_WRONG = [CROP, answer("98", "I looked.")]


@pytest.fixture
def source(image: Path, tmp_path: Path) -> Path:
    return write(tmp_path / "in.jsonl", problems(image, "a", answer=97, level=4))


def pairs(file: Path) -> list[dict[str, Any]]:
    done = virc("data", "check", file, "--workers", 1)
    assert done.code == 0, done.out
    return [json.loads(line) for line in file.read_text().splitlines()]


def sides(row: dict[str, Any]) -> tuple[str, str]:
    return row["chosen"]["content"], row["rejected"]["content"]


def test_right_and_wrong_part_as_late_as_they_can(source: Path, tmp_path: Path) -> None:
    to = tmp_path / "out"
    with serve(Rollouts({"q a": [WRONG, LOOKED, OTHER, LOOKED_WRONG]})) as server:
        done = sample(source, to, server.url, "--pairs", "right", "--samples", 4, "--keep", 2, "--json")
    assert done.code == 0, done.err
    first, second = pairs(to / "pairs.jsonl")
    assert sides(first) == (LOOKED[1], LOOKED_WRONG[1])
    assert [turn["role"] for turn in first["messages"]] == ["system", "user", "assistant", "user"]
    assert (len(first["images"]), first["margin"], first["level"]) == (2, 1.0, 4)
    assert (sides(second), len(second["images"])) == ((CROP, WRONG[0]), 1)
    assert done.json["left_out"] == {"more": 1}
    assert (done.json["kept"], done.json["unpaired"], done.json["settings"]["pairs"]) == (2, 0, "right")


def test_a_reward_or_a_critic_says_which_is_better(source: Path, tmp_path: Path) -> None:
    def critic(body: Body) -> str:
        return "Fine.\ngrade: 9" if "answer>98" in json.dumps(body).replace(" ", "") else "Poor.\ngrade: 2"

    def pair(*words: object) -> dict[str, Any]:
        to = tmp_path / str(words[1])
        with serve(Rollouts({"q a": [WRONG, RIGHT]})) as server:
            done = sample(source, to, server.url, "--samples", 2, *words)
        assert done.code == 0, done.err
        (row,) = pairs(to / "pairs.jsonl")
        return row

    row = pair("--pairs", "reward", "--reward", "tiny")
    assert (sides(row), row["margin"] > 0) == ((RIGHT[0], WRONG[0]), True)
    with serve(critic) as graded:
        row = pair("--pairs", "grade", "--judge-endpoint", graded.url)
    assert (sides(row), row["margin"]) == ((WRONG[0], RIGHT[0]), 0.7)


def test_what_is_done_is_not_drawn_again(source: Path, tmp_path: Path) -> None:
    words = ("--pairs", "right", "--samples", 2)
    with serve(Rollouts({"q a": [RIGHT, WRONG]})) as server:
        assert sample(source, tmp_path / "out", server.url, *words).code == 0
        before, asked = files(tmp_path / "out"), len(server.chats())
        assert sample(source, tmp_path / "out", server.url, *words).code == 0
        assert (len(server.chats()), files(tmp_path / "out")) == (asked, before)
        other = sample(source, tmp_path / "out", server.url, "--pairs", "right", "--samples", 3)
        assert other.code == 3
        assert "pairs" in other.err
    assert progress(tmp_path / "out" / "pairs.progress")["a"]["left_out"] == {}
