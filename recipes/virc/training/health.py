"""Signs that a run goes wrong, found in its metrics: `signs`, with one `_of_...` for each group of measures.

Means of what was not measured are NaN, and NaN is neither above nor below a threshold.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from statistics import fmean, median
from typing import Any

from virc.core.events import Reporter
from virc.reasoning.protocol import FILE_NAME
from virc.runs import run as runs
from virc.runs.checkpoints import checkpoints
from virc.runs.metrics import Metric, diverged, metrics
from virc.runs.run import Info, Run
from virc.stages.sft import Health

_FIRST, _RECENT = 5, 3  # the newest 3 steps are compared with the first 5, each by their mean
_WINDOW = 5  # logged steps; the best so far is the best mean of so many
_FEWEST = 10  # logged steps that newer ones are compared with
_SPREADS = 4  # standard deviations of a step: of a thousand windows of noise alone, the best and the worst are 3 apart
_RECENT_LOSSES = 20  # logged steps whose mean is the loss at the end of a run
_GAP = 0.1  # nats a token: what is learnt by heart has a loss at least so far under that of held-out rows

# Thresholds of signs. Where no source is named, the value is ours: none of the healthy curves of the tests reaches it.
_LIMITS: Sequence[tuple[Health, str, int, float, float, str]] = (
    # DAPO (Yu et al., 2025) draws these again, which takes five times the rollouts then
    ("variance", "same", 3, 0, 0.8,
     "in {:.0%} of groups all replies have the same reward, so nothing is learned from them"),
    ("length", "cut", 3, 0, 0.2, "{:.0%} of replies are cut at the length limit"),
    # TRL's FAQ warns at 10 nats a reply, which is this for a reply of 20 tokens
    ("kl", "kl", 3, -math.inf, 0.5, "the policy is {:.2g} nats a token away from its base"),
    ("tool_failures", "tool_failures", 1, 0, 0, "the tool failed in {:.0%} of a step's calls"),
    ("judge", "judge_failures", 1, 0, 0, "the judge gave no verdict on {:.0f} questions of a step"),
    # the threshold is ours; the measure is MiniMax-M1's (2506.13585), as verl computes it
    ("correlation", "correlation", 1, 0.99, math.inf,
     "the rollout engine's probabilities correlate with the trainer's at {:.4f}: it uses other weights"),
)  # fmt: skip
"""Sign, measure, number of newest steps, the least and the most that its mean over these may be, and what it says."""
_RISE = 0.1  # by which the share of malformed replies rose
_FEWER_CALLS = 0.5  # share of the calls of the first steps by which their number fell
_NO_CALLS = 0.01  # tool calls a reply; too few replies call a tool to be rewarded into more
_AT_TURNS = 0.95  # share of `max_turns`, as the mean of all replies
_COLLAPSED, _ENTROPY = 0.1, 0.05  # share of the first, and nats; Cui et al. (2505.22617) gain most while 73 % go
_SOLVED = 0.9  # share of the best reply's reward: low entropy is no sign if hardly anything is left to gain
_NOISE, _NATS = 3, 1.0  # entropy is noise at 3 times the first, and at 1 nat above it
_FALL = 0.5  # share of the best reward
_HELD_OUT_FALL = 0.25  # share of the best validation, three times in a row, while the reward is above what it was then
_LOSS = 1.5  # times the lowest mean
_GRADIENT = 10  # times the median of all before; in a healthy run of the embedded model it falls to a tenth
# Shares of pairs: nothing is left to learn, all pairs are the wrong way round, most are. Chance is .5.
_TOLD_APART, _UNTOLD, _REVERSED = 0.99, 0.05, 0.3
_CHOSEN, _CHOSEN_OVER_MARGIN = -5.0, 5  # published runs of zephyr-7b-dpo-full (beta .1) end at -1.3 to -2.7

Sign = tuple[Health, str]
Steps = Sequence[Metric]


def current(run: Run) -> dict[str, str]:
    """Return the signs that a run has now, each with a sentence."""
    found, info = list(metrics(run)), runs.info(run)
    steps = [each for each in found if not each.aside]
    now = dict[str, str]()
    if steps and diverged(steps[-1]):
        now["diverged"] = f"the loss, reward or gradient of step {steps[-1].step} is no number"
    now |= {str(sign): says for sign, says in signs(found, info.settings, has_tools(run)).items()}
    if runs.state(run).progress == "finished" and (by_heart := known_by_heart(run)):
        now["by heart"] = by_heart[0]
    return now


def signs(found: Steps, settings: Mapping[str, Any] | None = None, with_tools: bool = False) -> dict[Health, str]:
    """Return the signs after the last step of a run's metrics; some compare with the stage's `settings`."""
    # Metrics `aside` are of held-out rows alone.
    steps, settings = [each for each in found if not each.aside and each.main is not None], settings or {}
    if not steps:
        return {}
    gradients = _of_gradients(steps, settings)
    if steps[-1].response_length is None:  # SFT or DPO, whose engine draws no replies
        return dict(chain(_of_losses(steps), _of_pairs(steps, settings), gradients))
    validated = [each for each in found if each.validation is not None]
    of_replies = _of_replies(steps, settings, with_tools)
    return dict(chain(of_replies, _of_reward(steps, validated), gradients))


def _of_replies(steps: Steps, settings: Mapping[str, Any], with_tools: bool) -> Iterator[Sign]:
    since = f"in the first {_FIRST} steps"
    first, recent = _first(steps, "tool_calls"), _recent(steps, "tool_calls")
    noise = _SPREADS * _spread(_values(steps[:-_RECENT], "tool_calls"))
    if with_tools and first < _NO_CALLS and recent < _NO_CALLS:
        yield "tools", f"replies call no tool: {recent:.2g} calls a reply since the first step"
    elif first - recent > max(first * _FEWER_CALLS, noise):
        yield "tools", f"tool calls a reply fell to {recent:.2g}, from {first:.2g} {since}"
    turns, limit = _recent(steps, "turns"), settings.get("max_turns", 0)  # a single reply takes one
    if limit > 1 and turns > limit * _AT_TURNS:
        yield "length", f"replies take {turns:.1f} of {limit} turns on average"
    if len(steps) >= _FIRST and all(step.judge_same == 1 for step in steps[-_FIRST:]):
        yield "judge", f"the judge gave all replies of the newest {_FIRST} steps the same score"
    for sign, field, count, least, most, says in _LIMITS:
        if not math.isnan(mean := _recent(steps, field, count)) and not least <= mean <= most:
            yield sign, says.format(mean)
    first, recent = _first(steps, "malformed"), _recent(steps, "malformed")
    if recent > first + _RISE:
        yield "format", f"{recent:.0%} of replies are not in the format, from {first:.0%} {since}"
    first, recent = _first(steps, "entropy"), _recent(steps, "entropy")
    best = _recent(steps, "reward_max")
    is_solved = best > 0 and _recent(steps, "reward") >= _SOLVED * best
    if recent < min(first * _COLLAPSED, _ENTROPY) and not is_solved:
        yield "entropy", f"entropy fell to {recent:.2g} nats a token, from {first:.2g} {since}"
    elif recent > max(first * _NOISE, first + _NATS):
        yield "entropy", f"entropy rose to {recent:.2g} nats a token, from {first:.2g} {since}"


def _of_reward(steps: Steps, validated: Steps) -> Iterator[Sign]:
    """Whether the reward fell, or rises while that of validation falls."""
    rewards = _values(steps, "reward")
    before, recent = rewards[:-_WINDOW], fmean(rewards[-_WINDOW:])
    if len(before) < _WINDOW:
        return
    best = max(_means(before))
    if best - recent > max(abs(best) * _FALL, _SPREADS * _spread(before)):
        yield "reward", f"the reward fell to {recent:.3g}, from {best:.3g}"
        return
    scores = _values(validated, "validation")
    best_score = max(scores, default=0.0)
    since = scores[scores.index(best_score) + 1 :][-_RECENT:] if best_score > 0 else []
    if len(since) < _RECENT or best_score - max(since) <= max(best_score * _HELD_OUT_FALL, _SPREADS * _spread(scores)):
        return
    best_step = validated[scores.index(best_score)].step
    if not recent <= _mean([step for step in steps if step.step <= best_step][-_WINDOW:], "reward"):
        text = f"the reward rose to {recent:.3g}, while that of validation rows fell"
        yield "reward", f"{text} to {since[-1]:.3g}, from {best_score:.3g} at step {best_step}"


def _of_losses(steps: Steps) -> Iterator[Sign]:
    losses = _values(steps, "loss")
    before, recent = losses[:-_RECENT], min(losses[-_RECENT:])
    if len(before) < _FEWEST:
        return
    lowest = min(_means(before))
    if recent - lowest > max(lowest * (_LOSS - 1), _GAP, _SPREADS * _spread(before)):
        yield "loss", f"the loss rose to {recent:.3g}, from {lowest:.3g}"


def _of_pairs(steps: Steps, settings: Mapping[str, Any]) -> Iterator[Sign]:
    pairs = _values(steps, "accuracy")
    if settings.get("loss") not in ("sigmoid", "kto"):  # rewards of other losses are not relative to a reference model
        return
    chosen, margin = (_mean(steps[-_FEWEST:], field) for field in ("chosen_reward", "margin"))
    if chosen < min(_CHOSEN, -_CHOSEN_OVER_MARGIN * margin):
        yield "chosen", f"the better replies fall with the worse: reward {chosen:.3g}, margin {margin:.3g}"
    if len(pairs) < _FEWEST:
        return
    first, later = fmean(pairs[:_FEWEST]), fmean(pairs[_FEWEST:] or pairs)
    if first >= _TOLD_APART:
        yield "pairs", f"{first:.0%} of pairs are told apart in the first {_FEWEST} logged steps"
    elif max(first, later) <= _UNTOLD or (len(pairs) >= 3 * _FEWEST and later < _REVERSED and margin < 0):
        yield "pairs", f"the better reply has the higher reward in {later:.0%} of pairs"


def _of_gradients(steps: Steps, settings: Mapping[str, Any]) -> Iterator[Sign]:
    """Whether gradients grow; those under `max_grad_norm` are not clipped, and do no harm."""
    norms = _values(steps, "grad_norm")
    before, recent = norms[:-_RECENT], min(norms[-_RECENT:], default=0.0)
    if len(before) >= _FEWEST and recent > max(_GRADIENT * median(before), settings.get("max_grad_norm", 1.0)):
        yield "gradient", f"the gradient's norm rose to {recent:.3g}, from {median(before):.3g}"


def _values(steps: Steps, field: str) -> list[float]:
    return [value for step in steps if (value := getattr(step, field)) is not None]


def _means(values: Sequence[float]) -> list[float]:
    return [fmean(values[at : at + _WINDOW]) for at in range(len(values) - _WINDOW + 1)]


def _spread(values: Sequence[float]) -> float:
    """The standard deviation of a step, from the differences of neighbours, so that a trend does not count."""
    return (fmean((after - before) ** 2 for before, after in pairwise(values)) / 2) ** 0.5 if values[1:] else 0.0


def _first(steps: Steps, field: str) -> float:
    return _mean(steps[:_FIRST] if len(steps) > _FIRST else (), field)


def _recent(steps: Steps, field: str, count: int = _RECENT) -> float:
    """The mean over the newest steps; the first steps are among them only if there are no others."""
    return _mean((steps[_FIRST:] or steps)[-count:], field)


def _mean(steps: Steps, field: str) -> float:
    return fmean(_values(steps, field) or [math.nan])


def has_tools(run: Run) -> bool:
    try:
        return bool(json.loads((run.folder / FILE_NAME).read_bytes()).get("tools"))
    except (OSError, ValueError):
        return False


def known_by_heart(run: Run) -> tuple[str, str] | None:
    """Return a sentence and a hint where the loss of held-out rows is far above that of the rows learnt from."""
    found = list(metrics(run))
    held_out = [(each.eval_loss, each.step) for each in found if each.eval_loss is not None and each.step]
    learnt = [each.loss for each in found if each.loss is not None and not each.aside][-_RECENT_LOSSES:]
    if not held_out or not learnt:
        return None
    last, loss, (lowest, step) = held_out[-1][0], fmean(learnt), min(held_out)
    if last < max(2 * loss, loss + _GAP):
        return None
    text = f"rows that were learnt from have a loss of {loss:.2g} at the end, held-out ones {last:.2g}"
    if lowest == last:
        return f"{text}: it knows the rows by heart", "more rows, or the same pictures in other sizes and places"
    saved = any(each.step == step for each in checkpoints(run))
    hint = f"«--model {run.name}@{step}»" if saved else f"«--set steps={step}»"
    return f"{text}, and {lowest:.2g} at step {step}: it knows the rows by heart", hint


class Watch:
    """Watches the metrics of an attempt: each sign is reported once when it begins and once when it ends.

    Attributes:
        reason: why the run must end: a sign began that its setting `stop_on` names, tools failed in more calls than
            `max_tool_failures`, or rewards or gradients were no numbers in the newest three steps. Else None.
    """

    def __init__(self, run: Run, info: Info, known: Steps, report: Reporter) -> None:
        self._settings, self._report, self._with_tools = info.settings, report, has_tools(run)
        self._metrics = list(known)
        self._active = signs(self._metrics, self._settings, self._with_tools)
        self.reason: str | None = None

    def take(self, new: Iterable[Metric]) -> None:
        for metric in new:
            self._metrics.append(metric)
            if not metric.aside:
                self._check(metric)

    def _check(self, metric: Metric) -> None:
        found, before = signs(self._metrics, self._settings, self._with_tools), self._active
        stop_on = {*(self._settings.get("stop_on") or ())} - before.keys()
        if (metric.tool_failures or 0.0) > self._settings.get("max_tool_failures", 1.0):
            stop_on.add("tool_failures")
        reasons = [says for sign, says in found.items() if sign in stop_on]
        for sign in (sign for sign in found if sign not in before):
            hint = None if sign in stop_on else f"«--stop-on {sign}» ends such a run"
            self._report.warn(f"{sign}: {found[sign]}", hint)
        steps = [each for each in self._metrics if each.response_length is not None][-_RECENT:]
        if len(steps) == _RECENT and all(map(diverged, steps)):
            reasons.insert(0, f"training diverged: no finite reward and gradient since step {steps[0].step}")
        self.reason = self.reason or next(iter(reasons), None)
        for sign in (sign for sign in before if sign not in found):
            self._report.note(f"{sign}: normal again at step {metric.step}")
        self._active = found
