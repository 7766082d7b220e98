"""Which two of a problem's rollouts become a pair, what is left out and counted, and what is said of a sample."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from PIL import Image

from virc.core.errors import UsageError
from virc.core.events import Reporter
from virc.data.sample import run
from virc.data.sample.dataset import Location, Totals
from virc.data.sample.pairing import Pairing, PairsAsked, checked, judged, paired, parted, read_grade
from virc.data.sample.rollouts import Problem, Rollout
from virc.models.chat_protocol import read_protocol
from virc.models.registry import EMBEDDED_FOLDER
from virc.reasoning.protocol import FILE_NAME, Protocol
from virc.reasoning.session import Reply, Session
from virc.scoring.score import Key
from virc.solving.one import Attempt, SolveConfig
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


WORDY = "abcdefghijklmnopqrstuvwxyz0123456789"
RIGHT, WRONG, LATE, LATE_WRONG = (
    rollout(1, "right", said("97")), rollout(2, "wrong", said("98")),
    rollout(3, "right", look(84), said("97", "it is")), rollout(4, "wrong", look(84), said("98")),
)  # fmt: skip
LONG = rollout(5, "right", said("97", WORDY))


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
        ([RIGHT, LATE], {"alike": 1}), ([WRONG, LATE_WRONG], {"alike": 1}), ([], {"alike": 1}),
        ([RIGHT, rollout(2, "length", "x"), rollout(3, "failed", "y")], {"length": 1, "failed": 1, "alike": 1}),
        ([RIGHT, rollout(2, "wrong", said("97"))], {"same": 1}),
        ([RIGHT, rollout(2, "wrong", said("98"), shade=10)], {"shown": 1}),
        ([LATE, rollout(2, "wrong", look(84), said("98"), shade=10)], {"shown": 1}),
        ([rollout(1, "right", "no tags"), WRONG], {"refused": 1}),
        ([RIGHT, rollout(3, "tags", "see <image>")], {"marks": 1}),
    ],
)  # fmt: skip
def test_what_is_no_pair_is_counted_by_why(rollouts: list[Rollout], left_out: dict[str, int], tmp_path: Path) -> None:
    assert made(Pairing("right"), rollouts, tmp_path) == ([], left_out)


def test_a_reply_with_a_mark_is_in_no_pair(tmp_path: Path) -> None:
    sides, left_out = made(Pairing("right"), [RIGHT, WRONG, rollout(3, "tags", "see <image>")], tmp_path)
    assert (sides, left_out) == ([(said("97"), said("98"), 1.0)], {"marks": 1})


def test_a_reply_that_was_not_taken_can_be_the_worse(tmp_path: Path) -> None:
    sides, _ = made(Pairing("right"), [LATE, rollout(2, "tags", look(84), "no tags")], tmp_path)
    assert sides == [(said("97", "it is"), "no tags", 1.0)]


def test_of_two_right_ones_the_shorter_is_better_by_its_share(tmp_path: Path) -> None:
    sides, left_out = made(Pairing("shorter"), [LONG, RIGHT, WRONG, rollout(9, "right", said("97", "os"))], tmp_path)
    share = round(1 - len(said("97")) / len(said("97", WORDY)), 6)
    assert sides == [(said("97"), said("97", WORDY), share), (said("97", "os"), said("97", WORDY), share)]
    assert left_out == {}
    assert made(Pairing("shorter", margin=share + 0.01), [LONG, RIGHT], tmp_path) == ([], {"margin": 1})
    assert len(made(Pairing("shorter", margin=share - 0.01), [LONG, RIGHT], tmp_path)[0]) == 1


def test_grades_rank_all_and_a_margin_is_the_least(tmp_path: Path) -> None:
    grades = {1: 0.9, 2: 0.4, 3: None, 5: 0.4}
    pairing = Pairing("grade", margin=0.5, grade=lambda problem, each: grades[each.number])
    sides, left_out = made(pairing, [RIGHT, WRONG, LATE, LONG], tmp_path)
    assert [each[:2] for each in sides] == [(said("97"), said("98")), (said("97"), said("97", WORDY))]
    assert [each[2] for each in sides] == [0.5, 0.5]
    assert left_out == {"ungraded": 1}
    tight = Pairing("grade", margin=0.51, grade=lambda problem, each: grades[each.number])
    assert made(tight, [RIGHT, WRONG, LONG], tmp_path) == ([], {"margin": 2})


def test_two_rollouts_part_where_their_replies_first_differ() -> None:
    found = parted(LATE.attempt, LATE_WRONG.attempt)
    assert not isinstance(found, str)
    assert [each.role for each in found.shared] == ["system", "user", "assistant", "user"]
    assert (found.better, found.worse) == (said("97", "it is"), said("98"))
    assert parted(LATE.attempt, LATE.attempt) == "same"
    assert parted(RIGHT.attempt, rollout(8, "wrong").attempt) == "same"  # one ended before it replied


def test_rollouts_that_part_inside_a_turn_are_no_pair(tmp_path: Path) -> None:
    inside = msgspec.structs.replace(OWN, results="assistant")
    ours, theirs = (rollout(at, end, look(84), said(answer), protocol=inside) for at, end, answer in (
        (1, "right", "97"), (2, "wrong", "98"),
    ))  # fmt: skip
    assert made(Pairing("right"), [ours, theirs], tmp_path) == ([], {"inside": 1})


def test_a_judge_is_asked_about_wrong_answers_alone() -> None:
    asked = list[tuple[str, str, str]]()

    def same(*texts: str) -> bool:
        asked.append(texts)  # type: ignore[arg-type]
        return texts[2] == "98"

    rollouts = [RIGHT, WRONG, rollout(3, "tags", "no tags"), rollout(4, "wrong", said("99"))]
    judge: Any = SimpleNamespace(same=same)
    assert [each.end for each in judged(Pairing("right", judge=judge), PROBLEM, rollouts)] == [
        "right", "right", "tags", "wrong"
    ]  # fmt: skip
    assert asked == [("How long? A b", "97 or 96.5", answer) for answer in ("98", "99")]
    assert judged(Pairing("right"), PROBLEM, rollouts) == rollouts


URL = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("asked", "samples", "hint"),
    [
        (PairsAsked("right"), 2, None), (PairsAsked("right"), 1, "--samples 8"),
        (PairsAsked("reward"), 2, "--reward SYSTEM"),
        (PairsAsked("reward", reward="virc"), 2, None), (PairsAsked("right", reward="virc"), 2, "--pairs reward"),
        (PairsAsked("grade"), 2, "--judge-endpoint URL"), (PairsAsked("grade", judge=URL), 2, None),
        (PairsAsked("shorter", judge=URL), 9, None),
    ],
)  # fmt: skip
def test_pairs_need_rollouts_and_who_ranks_them(asked: PairsAsked, samples: int, hint: str | None) -> None:
    if hint is None:
        checked(asked, samples)
        return
    with pytest.raises(UsageError) as refused:
        checked(asked, samples)
    assert refused.value.hint == hint


@pytest.mark.parametrize(
    ("asked", "facts"),
    [
        (PairsAsked("right", 0.5), {}), (PairsAsked("reward", 0.5, reward="virc"), {"reward": "virc"}),
        (PairsAsked("grade", 0.5, URL, "m"), {"judge": URL, "judge_model": "m"}),
        (PairsAsked("right", 0.5, judge_model="m"), {}),
    ],
)  # fmt: skip
def test_who_ranked_is_recorded(asked: PairsAsked, facts: dict[str, Any]) -> None:
    assert asked.facts == {"pairs": asked.rule, "margin": 0.5, **facts}


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("grade: 10", 1.0), ("grade: 0", 0.0), ("grade: 10.1", None), ("Grade: 7/10", 0.7), ("**grade: 3.5**", 0.35),
        ("grade: 7\nso", None), ("<think>grade: 1</think>\ngrade: 2\n", 0.2), ("<think>grade: 1", None), ("", None),
        ("grade: 7 of 10", None), ("my grade: 7", None), ("grade: -1", None),
    ],
)  # fmt: skip
def test_a_grade_is_a_tenth_of_what_the_last_line_says(text: str, grade: float | None) -> None:
    assert read_grade(text) == grade


@pytest.mark.parametrize(
    ("problems", "asked", "says"),
    [
        (3, None, "3 problems: 4 rollouts of at most 5 requests each, at most 60 requests and 6,000 tokens of replies"),
        (1, PairsAsked("right", judge=URL),
         "1 problem: 4 rollouts of at most 5 requests and one of the judge each, at most 24 requests and 2,000 tokens "
         "of replies"),
        (None, PairsAsked("right"),
         "each problem: 4 rollouts of at most 5 requests each, at most 20 requests and 2,000 tokens of replies"),
    ],
)  # fmt: skip
def test_the_most_that_a_sample_costs_is_said_before(problems: int | None, asked: PairsAsked | None, says: str) -> None:
    assert run.bound(SolveConfig(samples=4, max_turns=5), 100, problems, asked) == says


TOTALS = Totals(
    problems=2, rollouts=8, right=2, kept=1, without=1, fewer=2, failed=1, dropped={"wrong": 3, "odd": 1}, unpaired=1
)


def test_what_a_sample_holds_is_said() -> None:
    begun = str(run._Rollouts(3, Reporter()))
    assert begun == "0 problems: 0 of 0 rollouts right, 0 kept, 0 rows failed; 3 were done before"
    assert run.summary(TOTALS, 0) == (
        "2 problems: 2 of 8 rollouts right (25.0%), 1 trajectory kept, 1 problem without one; 1 row failed"
    )
    assert run.summary(TOTALS, 3, pairs=True) == (
        "2 problems: 2 of 8 rollouts right (25.0%), 1 pair, 1 problem without one; 1 row failed; 3 problems done before"
    )
    assert run.summary(Totals(), 0) == "0 problems: 0 of 0 rollouts right, 0 trajectories kept, 0 problems without one"
    left = Totals(left_out=dict.fromkeys(run.LEFT_OUT, 2))
    assert all(f"2 {words}" in run.why(left, 4) for words in (
        "pairs that were shown different images or results before they part", "pairs whose better reply was not taken",
        "rollouts longer than --max-tokens", "rollouts that repeat themselves", "pairs beyond --keep",
        "rollouts or pairs with <image> in their text", "pairs of the same replies", "rollouts that have no grade",
    ))  # fmt: skip
    dropped = run.why(Totals(dropped=dict.fromkeys(run.DROPPED, 3)), 4)
    assert all(f"3 {words}" in dropped for words in (
        "that repeat themselves", "longer than --max-tokens", "that refuse to answer", "with <image> in their text",
        "right, and more than --keep", "the same as one that was kept", "that the model failed on",
    ))  # fmt: skip
    assert (
        run.why(TOTALS, 4)
        == "dropped: 3 with another answer than the row's, 1 odd; 2 problems with fewer than --keep 4"
    )
    assert run.why(Totals(left_out={"margin": 2, "odd": 1}), 4) == "left out: 2 pairs below --margin, 1 odd"


@pytest.mark.parametrize(
    ("left_out", "hint"),
    [
        ({"ungraded": 8}, "rows with what the reward needs, or another --reward"),
        ({"ungraded": 7, "margin": 1}, "a smaller --margin, or a larger --samples"),
        ({"alike": 2}, "a stronger model, or a larger --samples"), ({}, "a stronger model, or a larger --samples"),
    ],
)  # fmt: skip
def test_what_helps_where_nothing_was_kept(left_out: dict[str, int], hint: str) -> None:
    assert run._hint(Totals(rollouts=8, left_out=left_out)) == hint
