"""A run's metrics: one line for each logged step, the same for every engine."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec

from virc.runs.run import Run

LONGEST_LINE = 2**16
"""Bytes of a line of metrics."""


class Phase(msgspec.Struct, frozen=True):
    """A part of an engine's start: its name, the pattern of the log line that ends it, how long it usually takes."""

    name: str
    ends: str
    usual: str


class Metric(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of `metrics.jsonl`, the same for all engines; what an engine does not measure is left out.

    Args:
        step: optimizer steps done.
        attempt: which attempt wrote it. A resumed attempt repeats no step: lines past its checkpoint are dropped.
        tokens: input tokens so far; `tokens_per_second` over the attempt, of LLaMA-Factory since its first line.
        seconds: since the attempt began to train.
        margin: of preferences, the reward of the better reply less that of the worse, each the mean of a step.
        accuracy: share of pairs whose better reply has the higher reward; KTO has no pairs.
        chosen_reward, rejected_reward: of the two sides; how much likelier a reply is than at first, times beta; of
            ORPO and SimPO its log-probability a token, times beta.
        reward: mean over the replies of a step; `terms` are the means of what it is made of, each over the replies
            that it applies to.
        validation: mean reward of the validation rows; it may have its own line.
        advantage: mean over the tokens of all replies.
        response_length, prompt_length: mean, in tokens.
        cut: share of replies that end at the length limit.
        turns: mean units of a reply; one where each reply is one unit.
        tool_calls: mean tool calls of a reply.
        malformed: share of replies that are not taken: their format or tool call is wrong.
        same: share of groups whose replies all have the same reward, from which nothing is learnt.
        entropy: mean over tokens, in nats.
        kl: mean distance to the base, in nats a token, where it is in the loss.
        clip_fraction: share of tokens whose probability ratio was clipped.
        grad_norm: before it was shortened.
        correlation: Pearson's, between the probabilities of sampled tokens as the sampler and the trainer have them.
        judge_wait: how long a reply waited for its judge on average, as a share of the step's time.
        tool_failures: share of tool calls whose tool failed.
        judge_failures: questions to the judge without a verdict.
        judge_same: 1 where the judge's scores are the same for all replies of a step, eight or more, else 0.
        parts: seconds of a step by what it was spent on.
    """

    step: int
    attempt: int = 1
    total: int | None = None
    epoch: float | None = None
    loss: float | None = None
    eval_loss: float | None = None
    margin: float | None = None
    accuracy: float | None = None
    chosen_reward: float | None = None
    rejected_reward: float | None = None
    reward: float | None = None
    reward_min: float | None = None
    reward_max: float | None = None
    reward_std: float | None = None
    terms: dict[str, float] = {}
    validation: float | None = None
    advantage: float | None = None
    advantage_min: float | None = None
    advantage_max: float | None = None
    response_length: float | None = None
    response_length_max: float | None = None
    cut: float | None = None
    prompt_length: float | None = None
    turns: float | None = None
    tool_calls: float | None = None
    malformed: float | None = None
    same: float | None = None
    entropy: float | None = None
    kl: float | None = None
    clip_fraction: float | None = None
    grad_norm: float | None = None
    correlation: float | None = None
    judge_wait: float | None = None
    tool_failures: float | None = None
    judge_failures: float | None = None
    judge_same: float | None = None
    parts: dict[str, float] = {}
    learning_rate: float | None = None
    tokens: int | None = None
    tokens_per_second: float | None = None
    seconds: float | None = None

    @property
    def main(self) -> float | None:
        """The number that shows whether a run goes well: the reward, else the loss."""
        return self.loss if self.reward is None else self.reward

    @property
    def aside(self) -> bool:
        return self.eval_loss is not None or (self.validation is not None and self.reward is None)


def metrics(run: Run) -> Iterator[Metric]:
    yield from filter(None, map(as_metric, lines_of(run.metrics)))


def newest(run: Run) -> dict[str, float | None]:
    """The last loss and reward that are in the run's metrics, as fields of its state."""
    found: dict[str, float | None] = {"loss": None, "reward": None}
    for each in metrics(run):
        found |= {name: value for name in found if (value := getattr(each, name)) is not None}
    return found


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file of a run, cut at `LONGEST_LINE` bytes; none where it cannot be opened."""
    try:
        file = path.open("rb")
    except OSError:
        return
    with file:
        yield from iter(lambda: file.readline(LONGEST_LINE), b"")


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
    """Whether a step's loss, or reward or gradient, was no number: JSON has none for that, so the line lacks it."""
    if metric.response_length is not None:
        return metric.reward is None or metric.grad_norm is None
    return metric.main is None and not metric.aside and metric.learning_rate is not None
