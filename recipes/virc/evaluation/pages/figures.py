"""Shares, differences and names as the report shows them in words, and where it draws them."""

from collections.abc import Iterable, Iterator, Sequence
from math import ceil

from virc.evaluation.environment_rewards import EnvironmentReward, RewardGap, RewardMean
from virc.evaluation.statistics import Interval
from virc.evaluation.summary import ModelSummary, Pair, Score, Share

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


def value(number: float) -> str:
    return f"{number:.3f}"


def values(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def signed(gap: RewardGap) -> str:
    interval = "" if gap.interval is None else f" ({gap.interval[0]:+.3f} to {gap.interval[1]:+.3f})"
    return f"{gap.difference:+.3f}{interval}"


def in_words(reward: EnvironmentReward) -> str:
    """The total of one answer and its terms, such as `total 1.400, right 1.000`; the cause if they could not be had."""
    return reward.failure or ", ".join(f"{name} {value(number)}" for name, number in reward.values.items())


def reward_rows(models: Iterable[ModelSummary]) -> Iterator[tuple[str, str, RewardMean, Interval]]:
    """Term by term the name and the mean of each model, and an axis that has 0, 1 and all means of that term."""
    models = list(models)
    for term in dict.fromkeys(name for model in models for name in model.reward):
        means = [(model.name, model.reward[term]) for model in models if term in model.reward]
        ends = [end for _, mean in means for end in (mean.mean, *(mean.interval or ()))]
        for name, mean in means:
            yield term, name, mean, (min(0.0, *ends), max(1.0, *ends))


def chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def reach(pairs: Sequence[Pair]) -> float:
    """How far to both sides of 0 the axis of differences goes, so that all intervals lie on it."""
    furthest = max((abs(end) for pair in pairs for end in pair.interval), default=0.0)
    return min(1.0, max(1, ceil(round(furthest / _STEP, 9))) * _STEP)


def on_axis(number: float, axis: Interval) -> float:
    first, last = axis
    return 100 * (number - first) / (last - first)
