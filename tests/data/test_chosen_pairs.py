"""Which two of a problem's rollouts become a pair, what is left out and counted, and what is said of a sample."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from virc.data.sample.dataset import Location
from virc.data.sample.pairing import Pairing, paired
from virc.data.sample.rollouts import Problem, Rollout
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME, Protocol
from virc.reasoning.session import Reply, Session
from virc.scoring.score import Key
from virc.solving.one import Attempt
from virc.solving.rows import Row
from virc.tools.registry import known

OWN = read_protocol(EMBEDDED_FOLDER / FILE_NAME)
PROBLEM = Problem(
    Row(
        line=3,
        id="a",
        images=("a.png",),
        question="How long? A b",
        passed={"question": "How long?", "answer": "97", "level": 4},
    ),
    Key("97", answers=("97", "96.5")),
)


def look(side: int, think: str = "look") -> str:
    call = json.dumps({"name": "crop_image", "arguments": {"bbox_2d": [0, 0, side, side], "image_index": 0}})
    return f"<think>{think}</think><tool_call>{call}</tool_call>"


def said(answer: str, think: str = "so") -> str:
    return f"<think>{think}</think><answer>{answer}</answer>"


def rollout(number: int, end: str, *replies: str, shade: int = 90, protocol: Protocol = OWN) -> Rollout:
    session = Session(
        protocol, "How long?", [Image.new("RGB", (280, 196), (shade, 90, 90))], tolerate=(), tools=known()
    )
    for each in replies:
        session.feed(Reply(each))
    return Rollout(number, Attempt(session.trace(), session.images), end)


RIGHT, WRONG, LATE, LATE_WRONG = (
    rollout(1, "right", said("97")), rollout(2, "wrong", said("98")),
    rollout(3, "right", look(84), said("97", "it is")), rollout(4, "wrong", look(84), said("98")),
)  # fmt: skip


def made(
    pairing: Pairing, rollouts: Sequence[Rollout], folder: Path, keep: int = 9
) -> tuple[list[tuple[str, str, float]], dict[str, int]]:
    """The sides and margins of the pairs, and what is left out."""
    found = paired(pairing, keep, PROBLEM, rollouts, Location(folder, "pairs", True))
    for at, row in enumerate(found.rows, 1):
        assert (row["id"], row["question"], row["answer"], row["level"]) == (f"a-{at}", "How long?", "97", 4)
        assert all((folder / name).is_file() for name in row["images"])
        assert sum(each["content"].count("<image>") for each in row["messages"]) == len(row["images"])
    sides = [(row["chosen"]["content"], row["rejected"]["content"], row["margin"]) for row in found.rows]
    return sides, +found.left_out


def test_the_right_reply_is_the_better_and_pairs_that_part_late_come_first(tmp_path: Path) -> None:
    sides, left_out = made(Pairing("right"), [RIGHT, WRONG, LATE, LATE_WRONG], tmp_path)
    assert sides == [
        (said("97", "it is"), said("98"), 1.0), (said("97"), said("98"), 1.0), (said("97"), look(84), 1.0),
        (look(84), said("98"), 1.0),
    ]  # fmt: skip
    assert left_out == {}
    few, left_out = made(Pairing("right"), [RIGHT, WRONG, LATE, LATE_WRONG], tmp_path, keep=1)
    assert (few, left_out) == (sides[:1], {"more": 3})


def test_repeated_and_reversed_pairs_are_kept_once(tmp_path: Path) -> None:
    sides, left_out = made(Pairing("right"), [RIGHT, WRONG, rollout(7, "wrong", said("98"))], tmp_path)
    assert (sides, left_out) == ([(said("97"), said("98"), 1.0)], {"repeated": 1})
    # both turns part in the first reply, one way round and the other
    ends = [
        ("right", said("97")),
        ("wrong", look(84), said("98")),
        ("right", look(84), said("97")),
        ("wrong", said("97")),
    ]
    both = [rollout(at, *each) for at, each in enumerate(ends, 1)]
    sides, left_out = made(Pairing("right"), both, tmp_path)
    assert sides == [(said("97"), said("98"), 1.0), (said("97"), look(84), 1.0)]
    assert left_out == {"reverse": 1, "same": 1}


@pytest.mark.parametrize(
    ("rollouts", "left_out"),
    [
([RIGHT, LATE], {"alike": 1}),
([], {"alike": 1}),
([RIGHT, rollout(2, "wrong", said("97"))], {"same": 1}),
([LATE, rollout(2, "wrong", look(84), said("98"), shade=10)], {"shown": 1}),
],
)  # fmt: skip
def test_what_is_no_pair_is_counted_by_why(rollouts: list[Rollout], left_out: dict[str, int], tmp_path: Path) -> None:
    assert made(Pairing("right"), rollouts, tmp_path) == ([], left_out)
