"""Intervals: known values, bounds, and that 95 % of them hold what they should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virc.evaluation.answered import Answered, Result
from virc.evaluation.statistics import holm, mean_interval, paired, paired_interval, wilson
from virc.evaluation.summary import summarise

COUNTS = st.integers(0, 500)


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17, 857, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_shares_have_the_published_intervals(right: int, of: int, low: float, high: float) -> None:
    assert wilson(right, of) == pytest.approx((low, high), abs=5e-5)


@given(COUNTS, COUNTS)
def test_a_share_lies_in_its_interval(right: int, wrong: int) -> None:
    low, high = wilson(right, right + wrong)
    if right + wrong:
        assert 0 <= low <= right / (right + wrong) <= high <= 1


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17, 2635, method 10; the second has a positive phi to correct
    [((36, 12, 2, 0), 0.0569, 0.3404), ((20, 12, 2, 16), 0.0562, 0.3292)],
)
def test_differences_have_the_published_intervals(counts: tuple[int, int, int, int], low: float, high: float) -> None:
    assert paired(*counts) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("values", "interval"),
    # by R's t.test; shares by Wilson
    [
        ((1, 3), (-10.706205, 14.706205)), ((1, 2, 4), (-1.461241, 6.127907)), ((1, 2, 3, 4, 5), (1.036757, 4.963243)),
        ((1, 0, 1), wilson(2, 3)), ((1,), wilson(1, 1)), ((2, 2, 2), None), ((0.5,), None), ((), None),
    ],
)  # fmt: skip
def test_means_have_students_interval_and_shares_wilsons(
    values: tuple[float, ...], interval: tuple[float, float] | None
) -> None:
    assert mean_interval(values) == (interval and pytest.approx(interval, abs=1e-5))
    turned = [(value + 0.25, 0.25) for value in values]
    if not {*values} <= {0, 1}:
        assert paired_interval(turned) == (interval and pytest.approx(interval, abs=1e-5))


def test_pairs_of_shares_have_newcombes_interval_first_minus_second() -> None:
    assert paired_interval([(1, 0), (1, 0), (1, 0), (0, 1), (1, 1), (1, 1), (0, 0)]) == paired(2, 3, 1, 1)
    assert paired_interval([]) is None


def test_holm_corrects_for_the_number_of_tests() -> None:
    """As R's `p.adjust(c(.01, .04, .03, .005), "holm")`."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


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
