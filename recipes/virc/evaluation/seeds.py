"""Models that were asked with several seeds: their names, and the spread of their shares."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import msgspec

from virc.evaluation.answered import Result
from virc.evaluation.statistics import Interval, mean_interval

_SEED = re.compile(r" \(seed (\d+)\)$")


class Seeds(msgspec.Struct, frozen=True):
    """Shares of right answers, 0 to 1, with several seeds; `interval` is over problems, each with its mean."""

    model: str
    seeds: Mapping[int, float]
    mean: float
    deviation: float
    interval: Interval | None


def with_seed(model: str, seed: int) -> str:
    return f"{model} (seed {seed})"


def without_seed(model: str) -> str:
    return _SEED.sub("", model)


def are_compared(one: str, other: str) -> bool:
    """Whether two names are different models with the same seed."""
    return _SEED.findall(one) == _SEED.findall(other) and without_seed(one) != without_seed(other)


def seeds_of(models: Mapping[str, Mapping[str, Any]], results: Sequence[Result]) -> list[Seeds]:
    """The shares of models with several seeds, on the problems that were decided for each seed."""
    names_of: dict[str, list[str]] = defaultdict(list)
    for name in models:
        names_of[without_seed(name)].append(name)
    seeds = []
    for model, names in names_of.items():
        verdicts = [[each.answers[name].right for name in names if name in each.answers] for each in results]
        rights = [[float(right) for right in problem if right is not None] for problem in verdicts]
        decided = [problem for problem in rights if len(problem) == len(names) > 1]
        if decided:
            shares = [fmean(seed) for seed in zip(*decided, strict=True)]
            numbers = [int((models[name].get("settings") or {}).get("seed", 0)) for name in names]
            ends = mean_interval([fmean(problem) for problem in decided])
            interval = ends and (max(0.0, ends[0]), min(1.0, ends[1]))
            by_seed = dict(zip(numbers, shares, strict=True))
            seeds.append(Seeds(model, by_seed, fmean(shares), stdev(shares), interval))
    return seeds
