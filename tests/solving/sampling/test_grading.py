"""What a judge is shown of a solution, how often it is asked for a grade, and which of its replies has one."""

import json
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.solving import CROP, answer
from test_driver import Scripted, run

from virc.core.errors import NetworkError, UsageError
from virc.core.timeouts import Deadline
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Reply
from virc.solving.one import Event, GradeGiven, SampleStart, SolveConfig, Spent, TextDelta
from virc.solving.sampling.asking import Asking, Graded
from virc.solving.sampling.grading import Graders, Judge


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


def test_each_try_is_warmer_and_from_a_seed_of_its_own(own: Protocol) -> None:
    _, judge = grade(own, "fine", "fine", "fine")
    assert [each.temperature for each in judge.samplings] == [0.0, 0.5, 0.8]
    seeds = {each.seed for each in judge.samplings}
    assert len(seeds) == 3
    assert {each.seed for each in grade(own, "a", "b", "c")[1].samplings} == seeds
    assert not {each.seed for each in grade(own, "a", "b", "c", seed=1)[1].samplings} & seeds


def test_the_judge_sees_the_picture_and_what_was_cut_out_of_it(own: Protocol) -> None:
    _, judge = grade(own, "score: 5")
    (ask,) = judge.asks
    assert [image.size for image in ask.images] == [(112, 84), (56, 56)]
    assert ask.messages[-1].images == (0, 1)
    shown = json.loads(ask.messages[-1].text)
    assert (shown["question"], "Find x" in shown["solution"]) == ("Find x", False)


def test_all_tries_are_paid_for(own: Protocol) -> None:
    counted = Reply("fine", prompt_tokens=100, completion_tokens=7)
    graded, _ = grade(own, counted, counted, Reply("score: 5", prompt_tokens=100, completion_tokens=9))
    assert graded.spent == Spent(3, 300, 23)


def test_a_grade_is_an_event_with_what_the_judge_says(own: Protocol) -> None:
    told: list[Event] = []
    solved, _ = run(own, answer("97"))
    model = Scripted(answer("98"), answer("99"))
    asking = Asking(
        SolveConfig(samples=2), model, own, [Image.new("RGB", (8, 8))], "Find x", Deadline(99),
        on_event=told.append, grader=Judge(judge := Scripted("<think>Hm.\nScore:</think>It is right.\nscore: 5")),  # type: ignore[arg-type]
    )  # fmt: skip
    assert asking.grade(solved.attempts[0]).words == "It is right."
    assert told == [TextDelta(""), GradeGiven(0.5, "It is right.")]
    assert asking.draw(1).trace.answer == "98"
    assert told[2] == SampleStart(2, 2)
    assert asking.draw(0).trace.answer == "99"
    assert len({each.seed for each in model.samplings}) == 2
    assert [seconds and 0 < seconds <= 99 for seconds in judge.seconds] == [True]
    late = msgspec.structs.replace(asking, deadline=Deadline(0))
    with pytest.raises(NetworkError, match="no answer within 0 s"):
        late.grade(solved.attempts[0])
    with pytest.raises(UsageError, match="reward is for grades by a reward, and they are by judge"):
        Graders(judge="http://j/v1").maker("judge", reward="tiny")
