"""Counting: shares, parts, pairs, and what is left out of them."""

import pytest

from virc.evaluation.answered import Answered, Result
from virc.evaluation.summary import summarise


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


def test_a_pair_is_counted_over_what_both_have_a_result_for() -> None:
    (pair,) = summarise("bench", RESULTS, {"A": {}, "B": {}}).pairs
    assert (pair.one, pair.other, pair.of, pair.undecided) == ("A", "B", 4, 1)
    assert pair.bounds == (0.0, 0.25)
    assert (pair.p, pair.p_bounds) == (1.0, (1.0, 1.0))
    assert (pair.only_one, pair.only_other) == (["2"], ["5"])
    assert len(summarise("bench", RESULTS, {name: {} for name in "ABC"}).pairs) == 3


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
