"""Intervals: known values, bounds, and that 95 % of them hold what they should."""

import random
import time
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virc.evaluation.statistics import holm, mcnemar, mean_interval, paired, paired_interval, problems_needed, wilson

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
    ("one", "other", "of", "needed"),
    [(15, 5, 100, 155 + 20), (5, 15, 100, 155 + 20), (7, 7, 50, None), (0, 0, 0, None)],
)
def test_problems_needed_are_those_of_connor_and_some_more(one: int, other: int, of: int, needed: int | None) -> None:
    """20 % of the problems are solved by one alone, and the shares differ by 10 points: 155 (Connor 1987)."""
    assert problems_needed(one, other, of) == needed


@pytest.mark.parametrize(("one", "other"), [(15, 5), (20, 3), (40, 25)])
def test_so_many_problems_have_the_power_that_is_said(one: int, other: int) -> None:
    """The power of the exact test, added up over all that can come of so many problems."""
    needed = problems_needed(one, other, 100)
    assert needed
    split, found = one / (one + other), 0.0
    for count in range(needed + 1):
        chance = binomial(count, needed, (one + other) / 100)
        few = [less for less in range(count // 2 + 1) if mcnemar(less, count - less) < 0.05] if chance > 1e-9 else []
        found += chance * sum(binomial(less, count, split) + binomial(less, count, 1 - split) for less in few)
    assert 0.8 <= found <= 0.9


def binomial(count: int, of: int, likely: float) -> float:
    return comb(of, count) * likely**count * (1 - likely) ** (of - count)
