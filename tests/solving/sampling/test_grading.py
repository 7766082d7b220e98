"""What a judge is shown of a solution, how often it is asked for a grade, and which of its replies has one."""

import json
from typing import Any

import pytest
from PIL import Image
from support.solving import CROP, answer
from test_driver import Scripted, run

from virc.core.timeouts import Deadline
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Reply
from virc.solving.one import SolveConfig
from virc.solving.sampling.asking import Asking, Graded
from virc.solving.sampling.grading import Judge


def grade(
    own: Protocol, *replies: str | Reply, thought: str = "It is clear.", **config: Any
) -> tuple[Graded, Scripted]:
    """The grade of a solution with one crop, and the judge that was asked."""
    solved, model = run(own, CROP, answer("97", thought))
    judge = Scripted(*replies)
    asking = Asking(SolveConfig(**config), model, own, [Image.new("RGB", (8, 8))], "Find x", Deadline(None))
    return Judge(judge)(asking, solved.attempts[0]), judge


@pytest.mark.parametrize(
    ("replies", "value", "tries"),
    [
        (["score: 7"], 0.7, 1),
        (["score: 95", "score: 4"], 0.4, 2),
        ([Reply("score: 1", finish="length"), "score: 10"], 1.0, 2),
        (["<think>score: 2</think>\nIt is fine.", "score: 9"], 0.9, 2),
        (["score: 3 or score: 8", "fine", "score: 8"], 0.8, 3),
        (["fine"] * 3, None, 3),
    ],
)
def test_the_first_reply_with_one_whole_grade_counts(
    own: Protocol, replies: list[str | Reply], value: float | None, tries: int
) -> None:
    graded, judge = grade(own, *replies)
    assert (graded.value, len(judge.asks)) == (value, tries)
    assert graded.spent.replies == tries


def test_the_judge_sees_the_picture_and_what_was_cut_out_of_it(own: Protocol) -> None:
    _, judge = grade(own, "score: 5")
    (ask,) = judge.asks
    assert [image.size for image in ask.images] == [(112, 84), (56, 56)]
    assert ask.messages[-1].images == (0, 1)
    shown = json.loads(ask.messages[-1].text)
    assert (shown["question"], "Find x" in shown["solution"]) == ("Find x", False)
