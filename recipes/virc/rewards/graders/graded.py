"""A system's reward of rollouts that were just drawn, as RL would give it to them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from virc.core.errors import ConfigError, DataError
from virc.core.events import Reporter
from virc.core.limits.threads import scheduled
from virc.data.formats import batch
from virc.data.rows.record import Record
from virc.data.sample.rollouts import Problem, Rollout
from virc.models.load import Opened
from virc.reasoning.images import Shown
from virc.reasoning.session import Session
from virc.reasoning.trace import Trace
from virc.rewards import rollouts
from virc.rewards.registry import Total
from virc.rewards.trial import judged_reward, means_here
from virc.systems.registry import Reward
from virc.tools.registry import known


class Scorer:
    """Scores rollouts by a total in this process; threads may share one.

    Args:
        name: of the system, for errors.
        reward, total: of the system; a judge in it is asked.
        opened: the model that drew the rollouts.
    """

    def __init__(self, name: str, reward: Reward, total: Total, opened: Opened, report: Reporter) -> None:
        self._name, self._total, self._opened = name, total, opened
        self._report, self._reported = report, set[str]()
        self._means = means_here(reward, report, Path(opened.loaded.folder) if opened.loaded else None)

    def close(self) -> None:
        """Close the connections of the judge."""
        self._means.close()

    def _scored(self, record: Record, trace: Trace, session: Session, images: Sequence[Shown]) -> rollouts.Rollout:
        """A rollout's scores; raises as `rollouts.replayed` and `rollouts.score` do."""
        samples = rollouts.replayed(
            record, trace.replies.texts, session, [image.original or image.size for image in images]
        )
        scoring = rollouts.score(samples, trace.replies.ended, self._total, self._means)
        return scheduled(scoring).result()  # one loop for all threads: a judge belongs to it


class Rewarded(Scorer):
    """Gives rollouts their reward; arguments as of `Scorer`."""

    def __call__(self, problem: Problem, rollout: Rollout) -> float | None:
        """The total of a rollout; None where a term of it could not be had.

        Raises:
            DataError: the row lacks what a term needs.
            ConfigError: a term or the total fails.
            NetworkError: the judge stays away.
        """
        trace, images = rollout.attempt.trace, rollout.attempt.images[: len(problem.row.images)]
        session = Session(
            trace.protocol, problem.row.question, images, self._opened.backend.grid, tolerate=(), tools=known()
        )
        record = msgspec.structs.replace(batch.record_of(problem.row, Path()), images=())
        try:
            scored = self._scored(record, trace, session, images)
        except (ConfigError, DataError) as error:
            sentence = f"problem {problem.row.id} cannot be scored by the reward of {self._name}: {error.message}"
            raise type(error)(sentence, error.hint) from error
        if scored.total is None:
            self._warn_once({name: why for unit in scored.units for name, why in unit.unscored.items()})
        return scored.total

    def _warn_once(self, unscored: Mapping[str, str]) -> None:
        """Warn once of each term that could not be computed, with the reason."""
        for term in unscored.keys() - self._reported:
            self._reported.add(term)
            self._report.warn(
                f"the reward of {self._name} gives rollouts no grade, for its term {term}: {unscored[term]}"
            )


def maker_of(
    system: str, judge: str | None, judge_model: str | None, judges: Mapping[str, str]
) -> Callable[[Opened, Reporter], Rewarded]:
    """What makes the reward of a system once the model is known; arguments and errors as of `trial.judged_reward`."""
    named, reward, total = judged_reward(system, judge, judge_model, judges)
    return lambda opened, report: Rewarded(named.name, reward, total, opened, report)
