"""Keep rows that a model solves neither too often nor too rarely: n replies a row, the right ones counted.

A reply is right if its answer is the row's, by rule; with a reward of a system, where that reward is at least
`right_from`. A row gets the columns `pass_rate`, `replies` and `right`, and with a reward `mean` and `variance` of the
rewards. Bounds are inclusive: n of 8 with min 0.125 and max 0.875 leaves out what is never or always solved.

No further reply is drawn once a bound cannot be kept any more; what is left out for it has fewer than n `replies`.
A request that the server refuses is no wrong reply: its row is left out by the rule `failed`.

Sources: yuh-zha/Vision-G1@1f2c30f, training/verl/trainer/difficulty_filter.py, counts rewards of at least 1 of n
replies; cythu/PeBR-R1, _rollout_outputs/sample_dataset.py, parts rows of 8 replies into those with 8 right ones, with
none, and others.
"""

from collections.abc import Sequence
from statistics import pvariance
from typing import Annotated

import msgspec
from msgspec import Meta

from virc.core.seeds import derived
from virc.core.text import clause
from virc.data.sample.rollouts import Rollout, SampledProblem, end_of, problem_of
from virc.reasoning.images import Shown
from virc.solving.one import SolveConfig, attempts, is_fatal
from virc_extras.make.asking import pictures
from virc_extras.make.operator import Cost, Made, Means, Row, kept, left_out
from virc_extras.pipelines.speaking import Role

ROLES = {"model": Role(own_protocol=True, temperature=1.0)}
Share = Annotated[float, Meta(ge=0, le=1)]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How replies are drawn, and which rows stay.

    Args:
        n: replies of a row.
        min: least pass rate.
        max: most pass rate.
        min_variance: least variance of the rewards, or of right (1) and not (0).
        reward: a system whose reward says what is right.
        right_from: least reward of a right reply.
        temperature: of each reply.
        max_tokens: of each reply; None: as the chat protocol says.
    """

    n: Annotated[int, Meta(ge=1, le=1000)] = 8
    min: Share = 0.0
    max: Share = 1.0
    min_variance: Annotated[float, Meta(ge=0)] = 0.0
    reward: str | None = None
    right_from: float = 1.0
    temperature: Annotated[float, Meta(ge=0, le=2)] = 1.0
    max_tokens: Annotated[int, Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        if self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: no row could stay")
        if self.n > 1 and self.temperature == 0:
            raise ValueError("at temperature 0 all replies to a row are the same: temperature=1, or n=1")


def requests(options: Options) -> int:
    """Return the most solutions of a row, of several requests each if the model calls tools."""
    return options.n


def run(row: Row, means: Means[Options]) -> Made:
    options, problem = means.options, problem_of(row)
    shown, values = pictures(means, "model", row), list[float]()
    rule: tuple[str, str] | None = None
    while len(values) < options.n and rule is None:
        value = _value(means, problem, shown, len(values))
        if isinstance(value, str):
            return left_out("failed", value)
        values.append(value)
        rule = _broken(values, options)
    right = _right(values, options)
    columns = {"pass_rate": right / len(values), "replies": len(values), "right": right}
    if options.reward:
        columns |= {"mean": sum(values) / len(values), "variance": pvariance(values)}
    return left_out(*rule) if rule else kept({**row.fields, **columns})


def _right(values: list[float], options: Options) -> int:
    return sum(each >= options.right_from for each in values)


def _broken(values: list[float], options: Options) -> tuple[str, str] | None:
    """Return the bound that no further reply can mend, and what was counted; None: there is none yet."""
    n, right, done = options.n, _right(values, options), len(values)
    low, high = right, right + n - done  # how many of all replies can be right
    said = f"{right} of {done} replies are right"
    if high / n < options.min:
        return "too hard", said
    if low / n > options.max:
        return "too easy", said
    if not options.reward:
        nearest = min(max(low, n // 2), high)  # the variance is the larger the nearer this is to half of them
        if nearest * (n - nearest) / n**2 < options.min_variance:
            return "alike", said
    elif done == n and pvariance(values) < options.min_variance:
        return "alike", f"{said}, and the variance of their rewards is {pvariance(values):.4f}"
    return None


def _value(means: Means[Options], problem: SampledProblem, shown: Sequence[Shown], number: int) -> float | str:
    value, replies, prompt, completion = means.once(f"reply {number}", lambda: _drawn(means, problem, shown, number))
    means.cost.add(Cost(replies, prompt, completion))
    return value if isinstance(value, str) else float(value)


def _drawn(
    means: Means[Options], problem: SampledProblem, shown: Sequence[Shown], number: int
) -> tuple[float | str, int, int, int]:
    """Draw a reply; returns its value, or why it has none, and its replies and tokens."""
    options, asked = means.options, means.opened["model"]
    solving = SolveConfig(
        options.temperature, seed=derived(means.seed, number), max_turns=means.max_turns, tries=1,
        max_tokens=options.max_tokens, keep_images=options.reward is not None, tolerate=frozenset(),
    )  # fmt: skip
    backend, protocol = asked.opened.backend, asked.opened.chat_protocol
    with asked.turn:
        attempt = next(attempts(solving, backend, protocol, shown, problem.row.question, deadline=means.deadline))
    if attempt.broken and is_fatal(attempt.broken):
        raise attempt.broken
    value: float | str
    if attempt.broken:
        value = clause(attempt.broken)
    elif options.reward:
        end = end_of(attempt.trace, problem)
        value = means.reward(options.reward, "model", problem, Rollout(number + 1, attempt, end))
    else:
        value = float(end_of(attempt.trace, problem) == "right")
    return value, attempt.replies, attempt.prompt_tokens or 0, attempt.completion_tokens or 0
