"""A run's metrics: one line for each logged step, the same for every engine."""

import json
from collections.abc import Iterator

import msgspec

from virc_recipes.runs import Run

LONGEST_LINE = 2**16
"""Bytes of a line of metrics."""


class Metric(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of `metrics.jsonl`, the same for all engines; what an engine does not measure is left out.

    Args:
        step: optimizer steps done.
        attempt: which attempt wrote it. A resumed attempt repeats no step: lines past its checkpoint are dropped.
        tokens: input tokens so far; `tokens_per_second` over the whole attempt.
        seconds: since the attempt began to train.
    """

    step: int
    attempt: int = 1
    total: int | None = None
    epoch: float | None = None
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    tokens: int | None = None
    tokens_per_second: float | None = None
    seconds: float | None = None


def metrics(run: Run) -> Iterator[Metric]:
    """The run's metrics in order; a line that a kill cut short is left out."""
    try:
        file = run.metrics.open("rb")
    except OSError:
        return
    with file:
        for line in iter(lambda: file.readline(LONGEST_LINE), b""):
            metric = as_metric(line)
            if metric:
                yield metric


def as_metric(line: bytes) -> Metric | None:
    """One line of metrics; None where it is none. Numbers may be Python's `NaN` and `Infinity`, which no JSON knows."""
    try:
        return msgspec.json.decode(line, type=Metric)
    except (msgspec.MsgspecError, RecursionError):
        try:
            return msgspec.convert(json.loads(line), Metric)
        except (ValueError, RecursionError):
            return None


def diverged(metric: Metric) -> bool:
    """Whether a step's loss was no number: JSON has none for that, so the line holds its learning rate alone."""
    return metric.loss is None and metric.eval_loss is None and metric.learning_rate is not None
