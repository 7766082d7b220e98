"""What a system's reward gives the answers of an evaluation, term by term: values of problems, and means over them."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import msgspec

from virc.evaluation.statistics import Interval, mean_interval, paired_interval

TOTAL = "total"
"""Name of the total reward in a table of its terms."""


class Rewarded(msgspec.Struct, frozen=True):
    """The reward of what a model said of a problem, which is scored as a rollout of RL.

    Args:
        total: None if it could not be had.
        terms: their means over the turns that they apply to; None if that is none, or one could not be had.
        unscored: why terms, or the total, could not be had.
        why: what terms say of their values in the last turn.
        judge_failed: the judge of the reward was away, so that it is asked again.
    """

    total: float | None
    terms: Mapping[str, float | None]
    unscored: Mapping[str, str] = {}
    why: Mapping[str, str] = {}
    judge_failed: bool = False

    def value(self, name: str) -> float | None:
        return self.total if name == TOTAL else self.terms.get(name)


class Mean(msgspec.Struct, frozen=True):
    """A term, or the total, over problems.

    Args:
        mean: over the `of` problems that have a value; None of none.
        interval: of the mean, 95 %; None if it is not known.
        not_applicable: problems that the term does not apply to.
        unscored: problems for which it could not be had.
    """

    mean: float | None
    interval: Interval | None
    of: int
    not_applicable: int
    unscored: int


class Gap(msgspec.Struct, frozen=True):
    """The mean of one model less that of another, over the `of` problems for which both have a value."""

    difference: float | None
    interval: Interval | None
    of: int


class RewardFacts(msgspec.Struct, frozen=True):
    """Which reward it is: the system's, its total and its terms; `group`: it is before the total's `group`."""

    system: str
    total: str
    terms: Sequence[str]
    group: bool
    judge: str | None

    @property
    def names(self) -> list[str]:
        return [TOTAL, *self.terms]


def mean_of(found: Sequence[Rewarded], name: str) -> Mean:
    """The mean of a term, or the total, over problems; what has no value is counted, not taken for 0."""
    values = [value for each in found if (value := each.value(name)) is not None]
    unscored = sum(name in each.unscored for each in found)
    mean = fmean(values) if values else None
    return Mean(mean, mean_interval(values), len(values), len(found) - len(values) - unscored, unscored)


def gap_of(pairs: Sequence[tuple[Rewarded, Rewarded]], name: str) -> Gap:
    values = [(one.value(name), other.value(name)) for one, other in pairs]
    known = [(one, other) for one, other in values if one is not None and other is not None]
    difference = fmean(one - other for one, other in known) if known else None
    return Gap(difference, paired_interval(known), len(known))
