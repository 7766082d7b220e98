"""Counting: shares, parts, pairs, and what is left out of them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from virc.core.errors import NetworkError, NoAnswerError
from virc.evaluation.answers import AnswerLine, EvalFolder, answers_in, default_folder
from virc.evaluation.boxes import overlap
from virc.evaluation.looks import Guess
from virc.evaluation.problems import EvalProblem
from virc.evaluation.rewarded import Rewarded, gap_of, mean_of
from virc.evaluation.rewarding import RewardedLine
from virc.evaluation.scored import guess_of
from virc.evaluation.statistics import mean_interval
from virc.evaluation.summary import Answered, ModelSummary, Result, summarise
from virc.reasoning.calls import BoxView
from virc.scoring.boxes import Box
from virc.scoring.score import Key


def result(id: str, right: dict[str, bool | None], **categories: tuple[str, ...]) -> Result:
    answers = {
        model: Answered("7" if value is not False else None, value, "rule", turns=2, calls=1, seconds=0.5, tokens=10)
        for model, value in right.items()
    }
    return Result(id, "q", "7", categories, answers)


RESULTS = [
    result("1", {"A": True, "B": True}, sides=("3",), skills=("sums", "reading")),
    result("2", {"A": True, "B": False}, sides=("3",)),
    result("3", {"A": True, "B": None}, sides=("4",)),
    result("4", {"A": False}, sides=("4",), skills=("sums",)),
    result("5", {"A": False, "B": True}, sides=("4",)),
]


def test_a_model_is_counted_over_what_has_a_result() -> None:
    one, other = summarise("bench", RESULTS, {"A": {"protocol": "own"}, "B": {}}).models
    assert (one.score.right, one.score.of, one.unanswered, one.missing, one.undecided) == (3, 5, 2, 0, 0)
    assert (other.score.right, other.score.of, other.unanswered, other.missing, other.undecided) == (2, 4, 1, 1, 1)
    assert (other.score.bounds, other.score.share, other.score.undecided) == ((0.5, 0.75), 0.5, 1)
    assert one.protocol == "own"
    assert one.means.turns == 2
    assert one.means.tokens == 10


def test_parts_are_counted_in_every_division_they_stand_in() -> None:
    one, other = summarise("bench", RESULTS, {"A": {}, "B": {}}).models
    assert {part: (score.right, score.of) for part, score in one.categories["sides"].items()} == {
        "3": (2, 2),
        "4": (1, 3),
    }
    assert {part: (score.right, score.of) for part, score in one.categories["skills"].items()} == {
        "reading": (1, 1),
        "sums": (1, 2),
    }
    assert {part: (score.right, score.of) for part, score in other.categories["sides"].items()} == {
        "3": (1, 2),
        "4": (1, 2),
    }
    assert other.categories["sides"]["4"].bounds == (0.5, 1.0)


def test_a_pair_is_counted_over_what_both_have_a_result_for() -> None:
    (pair,) = summarise("bench", RESULTS, {"A": {}, "B": {}}).pairs
    assert (pair.one, pair.other, pair.of, pair.undecided) == ("A", "B", 4, 1)
    assert pair.bounds == (0.0, 0.25)
    assert (pair.p, pair.p_bounds) == (1.0, (1.0, 1.0))
    assert (pair.only_one, pair.only_other) == (["2"], ["5"])
    assert len(summarise("bench", RESULTS, {name: {} for name in "ABC"}).pairs) == 3


def test_two_pairs_are_corrected_for_two() -> None:
    names = ("A", "B", "A (seed 1)", "B (seed 1)")
    rows = [result(str(at), dict.fromkeys(names[::2], True) | dict.fromkeys(names[1::2], False)) for at in range(6)]
    pairs = summarise("bench", rows, {name: {} for name in names}).pairs
    assert [(each.one, each.other, each.p, each.p_holm) for each in pairs] == [
        (*names[:2], 2 / 2**6, 4 / 2**6), (*names[2:], 2 / 2**6, 4 / 2**6)
    ]  # fmt: skip


def test_boxes_count_in_each_category_of_their_row() -> None:
    texts = ("[0, 0, 9, 9]", "[50, 50, 60, 60]")
    inside, outside = (overlap(text, ((0, 0, 9, 9),), BoxView([(99, 99)])) for text in texts)
    rows = [
        Result(str(at), "q", "", {"category": names}, {"A": Answered("b", each.right, overlap=each)})
        for at, (each, names) in enumerate(((inside, ("cat", "pet")), (outside, ("pet",))))
    ]
    (found,) = summarise("bench", rows, {"A": {}}).models
    assert found.boxes
    assert (found.boxes.of, found.boxes.mean_iou, found.boxes.ap50) == (2, 0.5, 0.25)
    assert found.boxes.mean_ap == pytest.approx((1 + 0.5 * 51 / 101) / 2)  # recalls 0, 0.01 to 0.5 of the pets


def one_model(*answers: Answered, unreadable: bool = False) -> ModelSummary:
    results = [Result(str(at), "q", "7", {}, {"A": each}, unreadable) for at, each in enumerate(answers)]
    (found,) = summarise("bench", results, {"A": {}}).models
    return found


@pytest.mark.parametrize(("unreadable", "false"), [(False, (1, 3)), (True, (0, 0))])
def test_a_refusal_is_false_only_where_there_is_an_answer(unreadable: bool, false: tuple[int, int]) -> None:
    refused, unusable = Answered(None, False, failure="no_answer"), Answered(None, False, failure="tries")
    found = one_model(Answered("7", True), refused, unusable, unreadable=unreadable)
    assert (found.refusals.count, found.refusals.of, found.unusable) == (1, 3, 1)
    assert (found.false_refusals.count, found.false_refusals.of) == false
    assert found.unanswered == 2


def test_replies_that_were_not_accepted_are_counted_a_turn() -> None:
    found = one_model(
        Answered("7", True, turns=3, rejected=1), Answered(None, False, turns=1, rejected=4, failure="tries")
    )
    assert found.format_errors == 5 / (3 + 1 + 1)  # a turn without a usable reply is one too
    assert one_model(Answered("7", True)).format_errors is None


def test_right_answers_are_counted_where_the_evidence_was_seen_and_elsewhere() -> None:
    seen, unseen = (1.0, 1.0), (1.0, 0.0)
    found = one_model(
        Answered("7", True, evidence=seen), Answered("7", True, evidence=seen), Answered("8", False, evidence=unseen),
        Answered("7", True),
    ).evidence  # fmt: skip
    assert found is not None
    assert (found.seen.count, found.seen.of) == (2, 3)
    assert (found.right_where_seen.right, found.right_where_seen.of) == (2, 2)
    assert (found.right_elsewhere.right, found.right_elsewhere.of) == (0, 1)


def test_the_commonest_answer_is_worth_its_share_of_references() -> None:
    references = ["7", "7", "8", ""]  # the last can only be rewarded
    results = [Result(str(at), "q", each, {}, {"A": Answered("7", True)}) for at, each in enumerate(references)]
    found = summarise("bench", results, {"A": {}}).commonest
    assert (found.count, found.of) == (2, 3)


def test_of_choices_the_commonest_letter_counts() -> None:
    """Whose texts differ in each row; of 20 rows 10 are right by guessing."""
    keys = [Key(f"{at} left", (f"{at} left", f"{at} right")[:: (-1) ** at]) for at in range(20)]
    assert {guess_of(key) for key in keys} == {Guess("A", 2), Guess("B", 2)}
    results = [
        Result(str(at), "q", key.reference, {}, {"A": Answered("A", at % 4 < 2)}, guess=guess_of(key))
        for at, key in enumerate(keys)
    ]
    found = summarise("bench", results, {"A": {}})
    assert (found.commonest.count, found.commonest.of) == (10, 20)
    assert found.models[0].p_commonest == 1


@pytest.mark.parametrize(
    ("key", "guess"),
    [
        (Key("7"), Guess("7")),
        (Key("red", ("blue", "red", "grey")), Guess("B", 3)),
        (Key("C", ("blue", "red", "grey")), Guess("C", 3)),
        (Key("B", ("A", "B")), Guess("B", 2)),
        (Key("green", ("blue", "red")), Guess("green", 2)),
    ],
)
def test_a_guess_is_a_letter_of_choices(key: Key, guess: Guess) -> None:
    assert guess_of(key) == guess


@pytest.mark.parametrize(
    ("evidence", "looked"), [([1.0, 0.1], True), ([0.75], True), ([0.74, 0.1], False), ([], True), (None, True)]
)
def test_one_box_of_the_evidence_is_a_look(evidence: list[float] | None, looked: bool) -> None:
    assert Answered("7", True, evidence=evidence, regions=[(0, (0.0, 0.0, 0.2, 0.2))]).looked == looked


@pytest.mark.parametrize(
    ("regions", "cropped"),
    [
        ([], False),
        ([(0, (0.0, 0.0, 0.79, 0.79))], False),
        ([(0, (0.0, 0.0, 0.5, 0.5)), (0, (0.5, 0.0, 1.0, 0.5))], False),
        ([(0, (0.0, 0.0, 0.5, 0.5)), (1, (0.5, 0.0, 1.0, 0.5))], True),
        ([(0, (0.0, 0.0, 1.0, 1.0)), (0, (0.5, 0.0, 0.7, 0.5))], True),
        ([(0, (0.0, 0.0, 0.6, 0.6)), (0, (0.1, 0.1, 0.7, 0.7))], True),
    ],
)
def test_crops_of_half_of_a_picture_together_are_none(regions: list[tuple[int, Box]], cropped: bool) -> None:
    assert Answered("7", True, regions=regions).cropped == cropped


@pytest.mark.parametrize(
    ("right", "p"),
    [
        ([True] * 10, 2 / 2**6),  # six that the commonest answer is not, and none the other way
        ([True] * 4 + [False] * 6, 1.0),
        ([False] * 4 + [True] * 6, 2 * 386 / 2**10),
        ([None] * 4 + [True] * 6, 2 / 2**6),
    ],
)
def test_p_against_the_commonest_answer_is_mcnemars(right: list[bool | None], p: float) -> None:
    references = ["7"] * 4 + list("123456")
    results = [
        Result(str(at), "q", reference, {}, {"A": Answered("7", each)})
        for at, (reference, each) in enumerate(zip(references, right, strict=True))
    ]
    reward_only = Result("x", "q", "", {}, {"A": Answered("7", True)})
    (model,) = summarise("bench", [*results, reward_only], {"A": {}}).models
    assert model.p_commonest == pytest.approx(p)
    (model,) = summarise("bench", [reward_only], {"A": {}}).models
    assert model.p_commonest is None


def test_p_is_open_as_long_as_undecided_answers_can_make_the_split_even() -> None:
    decided = [result(str(at), {"A": True, "B": False}) for at in range(6)]
    (sure,) = summarise("bench", decided, {"A": {}, "B": {}}).pairs
    assert sure.p == sure.p_bounds[0] == sure.p_bounds[1] == 2 / 2**6
    open_ones = [result(f"x{at}", {"A": False, "B": None}) for at in range(6)]
    (pair,) = summarise("bench", [*decided, *open_ones], {"A": {}, "B": {}}).pairs
    assert (pair.p, pair.p_bounds) == (2 / 2**6, (2 / 2**6, 1.0))
    assert pair.undecided == 6


PROBLEM = EvalProblem("a", 1, "now", "q", None, {})


@pytest.mark.parametrize(
    ("row", "error", "is_one"),
    [
        ("now", None, True),
        ("before", None, False),
        ("now", {"kind": NoAnswerError.kind}, True),
        ("now", {"kind": NetworkError.kind}, False),
    ],
)
def test_a_line_is_an_answer_to_the_problem_as_it_is_now(row: str, error: dict[str, str] | None, is_one: bool) -> None:
    line = AnswerLine("a", row, "A", "7", error)
    assert line.answers(PROBLEM) is is_one
    assert not line.answers(None)


def test_the_last_line_of_a_problem_counts(tmp_path: Path) -> None:
    (tmp_path / "answers").mkdir()
    lines = [{"id": "a", "row": "now", "model": "A", "answer": each, "error": None} for each in ("7", "8")]
    file = tmp_path / "answers" / "A.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + json.dumps(lines[0]))
    assert answers_in(EvalFolder(tmp_path), [])["A"]["a"].answer == "8"


@pytest.mark.parametrize(("ablation", "name"), [("none", "bench"), ("blank", "bench-blank")])
def test_an_ablation_has_a_folder_of_its_own(ablation: Any, name: str) -> None:
    assert default_folder("bench", ablation) == Path("evals") / name


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        ({}, True),
        ({"row": "other"}, False),
        ({"replies": "other"}, False),
        ({"reward": "other"}, False),
        ({"rewarded": None}, False),
        ({"rewarded": Rewarded(None, {}, judge_failed=True)}, False),
    ],
)
def test_a_reward_is_taken_up_for_the_same_replies_and_settings(changes: dict[str, Any], is_kept: bool) -> None:
    new = RewardedLine("s", "a", "row", "replies", "reward", "A")
    kept = msgspec.structs.replace(new, **({"rewarded": Rewarded(1.0, {})} | changes))
    assert kept.is_of(new) is is_kept


def test_models_are_compared_where_both_have_a_value() -> None:
    some, none, other = (Rewarded(total, {"right": total}) for total in (1.0, None, 0.25))
    for name in ("total", "right"):
        gap = gap_of([(some, other), (some, none), (none, other), (other, some)], name)
        assert (gap.of, gap.difference) == (2, 0.0)
    assert gap_of([(none, other)], "total").difference is None
    assert gap_of([(some, other)], "total").difference == 0.75


def test_a_mean_is_over_what_has_a_value_and_counts_the_rest() -> None:
    found = [
        Rewarded(1.0, {"near": 0.5}),
        Rewarded(None, {"near": None}, {"total": "the judge gave no score"}),
        Rewarded(0.25, {"near": 0.25}),
        Rewarded(0.5, {}),
    ]
    mean, near = (mean_of(found, name) for name in ("total", "near"))
    assert (mean.mean, mean.of, mean.not_applicable, mean.unscored) == (pytest.approx(1.75 / 3), 3, 0, 1)
    assert mean.interval == mean_interval([1.0, 0.25, 0.5])
    assert (near.mean, near.of, near.not_applicable, near.unscored) == (0.375, 2, 2, 0)
    assert (found[3].value("near"), found[3].value("total")) == (None, 0.5)
