"""A system's reward as what scores rollouts that were just drawn: those of `virc data sample` and `virc data make`.

A rollout is scored as RL would. `Scorer` does so for any row, also for strategies that have solutions graded.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from virc.core.errors import ConfigError, DataError
from virc.core.events import Reporter
from virc.core.work.threads import scheduled
from virc.data.formats import batch
from virc.data.rows.record import Record
from virc.data.sample.rollouts import Rollout, SampledProblem
from virc.models.load import Opened
from virc.reasoning.images import Shown
from virc.reasoning.session import Session
from virc.reasoning.trace import Trace
from virc.rewards import rollouts
from virc.rewards.of_system import judged_reward, means_here
from virc.rewards.registry import Total
from virc.systems.registry import Reward
from virc.tools.registry import known


class Scorer:
    """Scores rollouts of a model by a total, in this process; threads may share one. Errors name the system."""

    def __init__(self, name: str, reward: Reward, total: Total, opened: Opened, report: Reporter) -> None:
        self._name, self._total, self._opened = name, total, opened
        self._report, self._reported = report, set[str]()
        self._means = means_here(reward, report, Path(opened.loaded.folder) if opened.loaded else None)

    def close(self) -> None:
        self._means.close()

    def scored(self, record: Record, trace: Trace, session: Session, images: Sequence[Shown]) -> rollouts.Rollout:
        samples = rollouts.samples_from_replies(record, trace.replies.texts, session)
        scoring = rollouts.score(samples, trace.replies.ended, self._total, self._means)
        return scheduled(scoring).result()  # one loop for all threads: a judge belongs to it


class Rewarded(Scorer):
    """Gives rollouts of problems with known answers their reward; arguments as of `Scorer`."""

    def __call__(self, problem: SampledProblem, rollout: Rollout) -> float | None:
        trace, images = rollout.attempt.trace, rollout.attempt.images[: len(problem.row.images)]
        session = Session(
            trace.protocol, problem.row.question, images, self._opened.backend.grid, tolerate=(), tools=known()
        )
        record = msgspec.structs.replace(batch.record_of(problem.row, Path()), images=())
        try:
            scored = self.scored(record, trace, session, images)
        except (ConfigError, DataError) as error:
            sentence = f"problem {problem.row.id} cannot be scored by the reward of {self._name}: {error.message}"
            raise type(error)(sentence, error.unspelled_hint) from error
        for term in scored.unscored.keys() - self._reported if scored.total is None else ():  # once for each
            self._reported.add(term)
            why = scored.unscored[term]
            sentence = f"the reward of {self._name} gives rollouts no grade, for its term {term}: {why}"
            self._report.warn(sentence)
        return scored.total


def maker_of(
    system: str, judge: str | None, judge_model: str | None, judges: Mapping[str, str]
) -> Callable[[Opened, Reporter], Rewarded]:
    named, reward, total = judged_reward(system, judge, judge_model, judges)
    return lambda opened, report: Rewarded(named.name, reward, total, opened, report)
