"""Shares, means and their differences, with 95 % intervals that hold for small counts and shares near 0 and 1."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from statistics import fmean, stdev

Z = 1.959963984540054
"""95 % of the standard normal distribution lie from -Z to Z."""
_POWER = 0.8416212335729143  # 80 % of it lie below

Interval = tuple[float, float]


def wilson(right: int, of: int) -> Interval:
    """The score interval of a share (Wilson 1927); (0, 1) if nothing was counted."""
    if not of:
        return 0.0, 1.0
    share, square = right / of, Z * Z / of
    middle = (share + square / 2) / (1 + square)
    half = Z * math.sqrt(share * (1 - share) / of + square / (4 * of)) / (1 + square)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))  # rounding errors aside


def paired(both: int, one: int, other: int, neither: int) -> Interval:
    """The interval of the difference of two shares of the same problems (Newcombe 1998, method 10).

    Args:
        both, neither: problems that both solve, and none.
        one, other: problems that only the first, and only the second solves; the difference is first minus second.
    """
    count = both + one + other + neither
    if not count:
        return -1.0, 1.0
    first, second = (both + one) / count, (both + other) / count
    (low1, high1), (low2, high2) = wilson(both + one, count), wilson(both + other, count)
    phi = _correlation(both, one, other, neither)
    below = _spread(first - low1, high2 - second, phi)
    above = _spread(high1 - first, second - low2, phi)
    return first - second - below, first - second + above


def _spread(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


def _correlation(both: int, one: int, other: int, neither: int) -> float:
    """Newcombe's phi, with his correction of a positive one for continuity; 0 if a margin is empty."""
    margins = (both + one) * (other + neither) * (both + other) * (one + neither)
    if not margins:
        return 0.0
    product: float = both * neither - one * other
    if product > 0:
        product = max(0.0, product - (both + one + other + neither) / 2)
    return float(product / math.sqrt(margins))


def mean_interval(values: Sequence[float]) -> Interval | None:
    """The interval of a mean: of a share if all values are 0 or 1, else by Student's t.

    None if it is not known: of fewer than two values, or of values that are all one and no share.
    """
    if _are_shares(values):
        return wilson(sum(value == 1 for value in values), len(values)) if values else None
    return _by_t(values)


def paired_interval(pairs: Sequence[tuple[float, float]]) -> Interval | None:
    """The interval of the mean of `first - second` of each pair, as `mean_interval`; of shares as `paired`."""
    if _are_shares([value for pair in pairs for value in pair]):
        counts = Counter((one == 1, other == 1) for one, other in pairs)
        ways = ((True, True), (True, False), (False, True), (False, False))
        return paired(*(counts[way] for way in ways)) if pairs else None
    return _by_t([one - other for one, other in pairs])


def _are_shares(values: Sequence[float]) -> bool:
    return set(values) <= {0, 1}


def _by_t(values: Sequence[float]) -> Interval | None:
    spread = stdev(values) if len(values) > 1 else 0.0
    if not spread:
        return None
    mean, half = fmean(values), _student(len(values) - 1) * spread / math.sqrt(len(values))
    return mean - half, mean + half


@cache
def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t."""
    low, high = Z, 13.0  # of one degree it is 12.7
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 0.95 else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """Probability that Student's t lies from -t to t (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    series = 0.0
    for step in range(1 + odd, freedom, 2):
        series += term
        term *= step / (step + 1) * math.cos(angle) ** 2
    series *= math.sin(angle)
    return 2 / math.pi * (angle + series) if odd else series


def mcnemar(one: int, other: int) -> float:
    """The two-sided p of McNemar's exact test on the problems that only one solves."""
    count, few = one + other, min(one, other)
    # the binomial coefficients of count over 0, 1 ... few, each from the one before it
    ways = accumulate(range(few), lambda before, chosen: before * (count - chosen) // (chosen + 1), initial=1)
    return min(1.0, 2 * sum(ways) / (1 << count))


def holm(chances: Sequence[float]) -> list[float]:
    """The p-values of several tests, corrected for their number (Holm 1979), in their order."""
    corrected, highest = [1.0] * len(chances), 0.0
    for rank, place in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        highest = max(highest, min(1.0, (len(chances) - rank) * chances[place]))
        corrected[place] = highest
    return corrected


def problems_needed(one: int, other: int, of: int) -> int | None:
    """How many such problems McNemar's exact test needs to tell two models apart with a power of at least 80 %.

    None if both solve as many. By Connor (1987), which is for the asymptotic test; for the exact one two problems by
    the difference are added, as for Fisher's test (Casagrande, Pike and Smith 1978).

    Args:
        one, other: problems that only one of the two solves, among `of`.
    """
    if one == other:
        return None
    apart, gap = (one + other) / of, (one - other) / of
    asymptotic = ((Z * math.sqrt(apart) + _POWER * math.sqrt(apart - gap * gap)) / gap) ** 2
    return math.ceil(asymptotic + 2 / abs(gap))
