"""Shares and their differences, with 95 % intervals that hold for small counts and shares near 0 and 1."""

import math
from itertools import accumulate

Z = 1.959963984540054
"""Of the standard normal distribution: 95 % lie within."""

Interval = tuple[float, float]


def wilson(right: int, of: int) -> Interval:
    """The score interval of a share (Wilson 1927); all of it where nothing was counted."""
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
        one, other: problems that only one of the two solves; the difference is the first share less the second.
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
    """Newcombe's phi, with his correction of a positive one for continuity; 0 where a margin is empty."""
    margins = (both + one) * (other + neither) * (both + other) * (one + neither)
    if not margins:
        return 0.0
    product: float = both * neither - one * other
    if product > 0:
        product = max(0.0, product - (both + one + other + neither) / 2)
    return float(product / math.sqrt(margins))


def mcnemar(one: int, other: int) -> float:
    """How likely so unequal a split of the problems that only one solves is by chance (exact, two-sided)."""
    count, few = one + other, min(one, other)
    ways = accumulate(range(few), lambda before, at: before * (count - at) // (at + 1), initial=1)
    return min(1.0, 2 * sum(ways) / (1 << count))
