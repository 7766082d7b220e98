"""What decides which of two rollouts is better beside the rules: a judge, a critic, or a reward."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

import msgspec

from virc.config import user as config
from virc.core.errors import UsageError
from virc.core.events import Reporter
from virc.data.sample.critic import Critic
from virc.data.sample.pairing import Grade, Pairing
from virc.data.sample.rollouts import Problem, Rollout
from virc.models.load import Opened
from virc.scoring.judge import Judge
from virc.systems.rounds import PairRule

KEY = "VIRC_JUDGE_KEY"
"""The variable with the key of the judge's endpoint."""


class Grader(Protocol):
    """Grades rollouts; `close` ends what it has opened."""

    def __call__(self, problem: Problem, rollout: Rollout) -> float | None:
        """How good a rollout is; None where that cannot be said."""

    def close(self) -> None:
        """End what was opened."""


class PairsAsked(msgspec.Struct, frozen=True):
    """The pairs that are asked for.

    Args:
        margin: pairs whose better side is better by less are left out.
        judge, judge_model: endpoint and model of the judge of `right` and `shorter`, or the critic of `grade`.
        reward: whose reward is that of `reward`, for the record.
        grader: makes what gives that reward, once the model is known.
    """

    rule: PairRule
    margin: float = 0.0
    judge: str | None = None
    judge_model: str | None = None
    reward: str | None = None
    grader: Callable[[Opened, Reporter], Grader] | None = None

    @property
    def facts(self) -> dict[str, object]:
        """The settings that all rows of a dataset share."""
        judge = {"judge": self.judge, "judge_model": self.judge_model} if self.judge else {}
        reward = {"reward": self.reward} if self.reward else {}
        return {"pairs": self.rule, "margin": self.margin, **judge, **reward}


def checked(asked: PairsAsked, samples: int) -> None:
    """Raise UsageError where a rule lacks what it needs, or gets what it does not use."""
    rule = asked.rule
    if samples < 2:
        raise UsageError(f"--pairs {rule} compares rollouts of a problem, and there is one of each", "--samples 8")
    if rule == "reward" and asked.reward is None:
        raise UsageError("--pairs reward needs a system whose reward it is", "--reward SYSTEM")
    if rule != "reward" and asked.reward is not None:
        raise UsageError(f"--pairs {rule} does not use --reward", "--pairs reward")
    if rule == "grade" and asked.judge is None:
        raise UsageError("--pairs grade needs a critic", "--judge-endpoint URL")
    if asked.judge is not None:
        config.check("endpoint", asked.judge, "--judge-endpoint", UsageError)


@contextmanager
def pairing_of(asked: PairsAsked, opened: Opened, report: Reporter) -> Iterator[Pairing]:
    """How the pairs are found, with its judge, critic or reward open. Raises as these do."""
    with ExitStack() as stack:
        judge: Judge | None = None
        grade: Grade | None = None
        if asked.rule == "reward" and asked.grader is not None:
            grade = grader = asked.grader(opened, report)
            stack.callback(grader.close)
        elif asked.rule == "grade" and asked.judge is not None:
            critic = Critic(asked.judge, asked.judge_model, os.environ.get(KEY))
            stack.callback(critic.close)
            grade = _graded(critic)
        elif asked.judge is not None:
            judge = stack.enter_context(Judge(asked.judge, asked.judge_model, os.environ.get(KEY)))
        yield Pairing(asked.rule, asked.margin, judge, grade)


def _graded(critic: Critic) -> Grade:
    """The grade of a rollout by what it wrote, turn by turn."""

    def grade(problem: Problem, rollout: Rollout) -> float | None:
        attempt = rollout.attempt
        solution = "\n\n".join(attempt.trace.replies.texts)
        images = attempt.images[: len(problem.row.images)]
        return critic.grade(problem.row.question, problem.key.reference, solution, images)

    return grade
