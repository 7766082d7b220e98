"""Counting: shares, parts, pairs, and what is left out of them."""

from virc.evaluation.summary import Answered, Result, summarise


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
