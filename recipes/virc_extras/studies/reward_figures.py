"""Rewards of an environment as the table and the report show them."""

from collections.abc import Iterable, Iterator

from virc.evaluation.statistics import Interval
from virc.evaluation.summary import ModelSummary
from virc_extras.studies.environment_rewards import EnvironmentReward, RewardGap, RewardMean


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
    for term in dict.fromkeys(name for model in models for name in model.columns["reward"]):
        means = [(model.name, model.columns["reward"][term]) for model in models if term in model.columns["reward"]]
        ends = [end for _, mean in means for end in (mean.mean, *(mean.interval or ()))]
        for name, mean in means:
            yield term, name, mean, (min(0.0, *ends), max(1.0, *ends))
