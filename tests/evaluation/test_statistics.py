"""Intervals: known values, bounds, and that 95 % of them hold what they should."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virc.evaluation.statistics import mcnemar, paired, wilson

COUNTS = st.integers(0, 500)


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17, 857, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_shares_have_the_published_intervals(right: int, of: int, low: float, high: float) -> None:
    assert wilson(right, of) == pytest.approx((low, high), abs=5e-5)


def test_nothing_counted_says_nothing() -> None:
    assert wilson(0, 0) == (0, 1)
    assert paired(0, 0, 0, 0) == (-1, 1)
    assert mcnemar(0, 0) == 1


@given(COUNTS, COUNTS)
def test_a_share_lies_in_its_interval(right: int, wrong: int) -> None:
    low, high = wilson(right, right + wrong)
    if right + wrong:
        assert 0 <= low <= right / (right + wrong) <= high <= 1


def test_shares_at_the_ends_reach_them() -> None:
    assert [wilson(count, count)[1] for count in range(1, 500)] == [1.0] * 499
    assert [wilson(0, count)[0] for count in range(1, 500)] == [0.0] * 499


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_a_difference_lies_in_its_interval_which_turns_with_the_models(
    both: int, one: int, other: int, neither: int
) -> None:
    low, high = paired(both, one, other, neither)
    count = both + one + other + neither
    if count:
        assert -1 <= low <= (one - other) / count <= high <= 1
    assert paired(both, other, one, neither) == pytest.approx((-high, -low))
    assert mcnemar(one, other) == mcnemar(other, one) <= 1


@pytest.mark.parametrize("shares", [(0.4, 0.1, 0.05), (0.0, 0.1, 0.02), (0.9, 0.04, 0.04), (0.3, 0.3, 0.2)])
def test_intervals_of_differences_hold_the_truth_as_often_as_they_say(shares: tuple[float, float, float]) -> None:
    """Samples of 100 problems, of which each is solved by both, by one, by the other, or by none."""
    rng, held, rounds = random.Random(7), 0, 4000
    truth = shares[1] - shares[2]
    for _ in range(rounds):
        counts = [0, 0, 0, 0]
        for kind in rng.choices(range(4), (*shares, 1 - sum(shares)), k=100):
            counts[kind] += 1
        low, high = paired(*counts)
        held += low <= truth <= high
    assert 0.94 <= held / rounds <= 0.99


def test_an_uneven_split_is_unlikely() -> None:
    assert mcnemar(10, 0) == pytest.approx(2 / 1024)
    assert mcnemar(5, 5) == 1
    assert mcnemar(3, 1) == pytest.approx(10 / 16)
    assert mcnemar(60, 40) == pytest.approx(0.0568879, abs=1e-7)


def test_the_chance_of_ten_thousand_unequal_problems_takes_no_time() -> None:
    began = time.process_time()
    assert mcnemar(4970, 5030) == pytest.approx(0.555193, abs=1e-6)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17, 2635, method 10; the second has a positive phi to correct
    [((36, 12, 2, 0), 0.0569, 0.3404), ((20, 12, 2, 16), 0.0562, 0.3292)],
)
def test_differences_have_the_published_intervals(counts: tuple[int, int, int, int], low: float, high: float) -> None:
    assert paired(*counts) == pytest.approx((low, high), abs=5e-5)
