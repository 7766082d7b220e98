"""The rewards that an environment gives answers, and their means over problems."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import msgspec

from virc.evaluation.statistics import Interval, mean_interval, paired_interval

TOTAL = "total"
"""Name of the total in a table of rewards."""


class EnvironmentReward(msgspec.Struct, frozen=True):
    """The reward of one answer and its terms; `total` is None if it could not be had, for the reason in `failure`."""

    total: float | None
    terms: Mapping[str, float] = {}
    failure: str | None = None

    @property
    def values(self) -> dict[str, float]:
        return {} if self.total is None else {TOTAL: self.total, **dict(sorted(self.terms.items()))}


class RewardMean(msgspec.Struct, frozen=True):
    """The mean of the total or a term over the `of` problems that have it, with its 95 % interval if that is known."""

    mean: float
    interval: Interval | None
    of: int


class RewardGap(msgspec.Struct, frozen=True):
    """The mean of one model less that of another, over the `of` problems for which both have a value."""

    difference: float
    interval: Interval | None
    of: int


def reward_means(rewards: Iterable[EnvironmentReward | None]) -> dict[str, RewardMean]:
    """The means of the total and of the terms; empty without rewards."""
    found = [each.values for each in rewards if each]
    values_of = {name: [values[name] for values in found if name in values] for name in _names(found)}
    return {name: RewardMean(fmean(all), mean_interval(all), len(all)) for name, all in values_of.items()}


def reward_gaps(pairs: Iterable[tuple[EnvironmentReward | None, EnvironmentReward | None]]) -> dict[str, RewardGap]:
    """What two models differ by in the total and in the terms."""
    found = [(one.values, other.values) for one, other in pairs if one and other]
    gaps = {}
    for name in _names([one for one, _ in found]):
        values = [(one[name], other[name]) for one, other in found if name in one and name in other]
        if values:
            gaps[name] = RewardGap(fmean(one - other for one, other in values), paired_interval(values), len(values))
    return gaps


def _names(rewards: Sequence[Mapping[str, float]]) -> list[str]:
    names = {name for values in rewards for name in values}
    return sorted(names, key=lambda name: (name != TOTAL, name))
