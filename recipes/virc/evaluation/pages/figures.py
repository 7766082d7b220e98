"""Shares, differences and names as the report shows them in words, and where it draws them."""

from collections.abc import Sequence
from math import ceil

from virc.evaluation.statistics import Interval
from virc.evaluation.summary import Pair, Score, Share

_STEP = 0.05  # the axis of differences is rounded to multiples of it


def short(name: str) -> str:
    """A model's name if there is little room: the end of a long one, which tells more than a path's beginning."""
    return name if len(name) <= 48 else "…" + name[-47:]


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def shares(score: Score | Share) -> str:
    low, high = score.bounds if isinstance(score, Score) else (score.share, score.share)
    return percent(low) if low == high else between((low, high))


def undecided(score: Score | Share) -> str:
    return f", {score.undecided:,} undecided" if isinstance(score, Score) and score.undecided else ""


UNREAD = "unread: no rule could read the answer, which counts as wrong; --judge-endpoint URL asks a judge about it"


def unread(share: Share) -> str:
    return f"{share.count:,} ({percent(share.share)})" if share.count else "0"


def interval(score: Score) -> str:
    low, high = score.interval
    return f"{100 * low:.1f} to {100 * high:.1f}"


def between(interval: Interval) -> str:
    return f"{percent(interval[0])} to {percent(interval[1])}"


def points(difference: float) -> str:
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def points_between(interval: Interval) -> str:
    return f"{points(interval[0])} to {points(interval[1])}"


def gained(pair: Pair) -> str:
    low, high = pair.bounds
    return points(low) if low == high else points_between(pair.bounds)


def counted(score: Score | Share | None) -> str:
    return f"{shares(score)} of {score.of}{undecided(score)}" if score and score.of else "-"


def chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def probability(p: float) -> str:
    shown = chance(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def mean(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def reach(pairs: Sequence[Pair]) -> float:
    """How far to both sides of 0 the axis of differences goes, so that all intervals lie on it."""
    furthest = max((abs(end) for pair in pairs for end in pair.interval), default=0.0)
    return min(1.0, max(1, ceil(round(furthest / _STEP, 9))) * _STEP)


def on_axis(number: float, axis: Interval) -> float:
    first, last = axis
    return 100 * (number - first) / (last - first)
