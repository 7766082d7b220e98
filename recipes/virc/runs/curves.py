"""The numbers of a run over its steps, and which of them are drawn together."""

import fnmatch
import math
from collections.abc import Mapping, Sequence

import msgspec

from virc.core.errors import ConfigError
from virc.runs.metrics import Metric, diverged, metrics
from virc.runs.run import Run

MAIN = ("loss", "reward")
"""The panels that show whether a run goes well."""

_AXES = ("step", "attempt", "total", "tokens", "seconds", "epoch")  # what metrics are drawn over, not drawn
_NOT_DRAWN = ("reward_min", "reward_max", "reward_std", "advantage", "advantage_min", "advantage_max", "prompt_length",
              "tool_failures", "judge_failures")  # fmt: skip
_TOGETHER: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "chosen_reward": ("rewards of both sides", ("chosen_reward", "rejected_reward")),
    "response_length": ("tokens of a reply", ("response_length", "response_length_max")),
    "cut": ("shares of replies and groups", ("cut", "malformed", "same")),
    "turns": ("units and tool calls of a reply", ("turns", "tool_calls")),
    "correlation": ("correlation of sampler and trainer", ("correlation",)),
    "parts": ("seconds of a step", ("parts.*",)),
    "reward": ("reward", ("reward", "terms.*")),
}
"""First field of a panel -> its title and all that is in it; `.*` is every name of a mapping."""
_LARGEST = 1e30  # numbers beyond are as good as infinite


class Course(msgspec.Struct, frozen=True):
    """One number of one run over its steps.

    Args:
        steps, values: as logged.
        bad: steps at which it was not a number, or no finite one.
    """

    steps: list[int]
    values: list[float]
    bad: list[int]


class Drawn(msgspec.Struct, frozen=True):
    """What is drawn of a run.

    Args:
        name: in the legend.
        courses: by field of `Metric`; of one that is a mapping, by `FIELD.NAME`.
        resumed: first step of each further attempt, and its number.
    """

    name: str
    courses: dict[str, Course]
    resumed: list[tuple[int, int]]


class Panel(msgspec.Struct, frozen=True):
    """Courses that are drawn over each other."""

    title: str
    names: Sequence[str]


def read(run: Run) -> Drawn:
    """What is drawn of a run. Raises ConfigError if it has no metrics."""
    courses: dict[str, Course] = {}
    resumed: list[tuple[int, int]] = []
    attempt = None
    for metric in metrics(run):
        if attempt is not None and metric.attempt != attempt:
            resumed.append((metric.step, metric.attempt))
        attempt = metric.attempt
        if abs(metric.step) < _LARGEST:
            for name, value in _numbers(metric).items():
                course = courses.setdefault(name, Course([], [], []))
                if abs(value) < _LARGEST:
                    course.steps.append(metric.step)
                    course.values.append(value)
                else:
                    course.bad.append(metric.step)
    if not courses:
        raise ConfigError(f"{run.name} has no metrics yet", f"virc runs tail {run.name}")
    return Drawn(run.name, courses, resumed)


def _numbers(metric: Metric) -> dict[str, float]:
    found: dict[str, float] = {}
    for field in Metric.__struct_fields__:
        value = getattr(metric, field)
        if isinstance(value, dict):
            found |= {f"{field}.{name}": number for name, number in value.items()}
        elif value is not None and field not in _AXES:
            found[field] = value
    if diverged(metric) and metric.main is None:
        found["loss" if metric.response_length is None else "reward"] = math.nan
    return found


def panels(drawn: Sequence[Drawn]) -> list[Panel]:
    """What is drawn of runs, in the order of the fields of `Metric`."""
    there = sorted({name for run in drawn for name in run.courses})
    grouped = {name for _, names in _TOGETHER.values() for name in names}
    found = []
    for field in Metric.__struct_fields__:
        title, names = _TOGETHER.get(field, (field, () if field in grouped or field in _NOT_DRAWN else (field,)))
        inside = [name for pattern in names for name in fnmatch.filter(there, pattern)]
        if inside:
            found.append(Panel(title, inside))
    return found
