"""A system's reward as what grades solutions whose right answer is not known, for a strategy of `virc solve`.

A rollout is scored as RL would, on a row that has the question and its choices alone. A reward that needs the answer or
another column is refused before the model is asked (`_checked`). `RewardGrader` grades for `virc solve`. `Rewarded`
does so for `virc data sample` and `virc data make`, on rows that have all their columns.
"""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import msgspec
from PIL import Image

from virc.core.errors import ConfigError, DataError
from virc.core.events import Reporter
from virc.core.limits.threads import scheduled
from virc.data.formats import batch
from virc.data.rows.record import Picture, Record
from virc.data.sample.rollouts import Problem, Rollout
from virc.models import registry as models
from virc.models.load import Opened
from virc.reasoning.images import Shown
from virc.reasoning.session import Session
from virc.reasoning.trace import Trace
from virc.rewards import rollouts
from virc.rewards.means import JUDGE
from virc.rewards.needs import without_judge
from virc.rewards.registry import Total
from virc.rewards.trial import judged_reward, means_here
from virc.solving.one import Attempt
from virc.solving.sampling.asking import Asking, Graded
from virc.solving.sampling.grading import Graders, MakeGrader
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

    def _scored(self, record: Record, trace: Trace, session: Session, images: Sequence[Shown]) -> rollouts.Rollout:
        samples = rollouts.replayed(
            record, trace.replies.texts, session, [image.original or image.size for image in images]
        )
        scoring = rollouts.score(samples, trace.replies.ended, self._total, self._means)
        return scheduled(scoring).result()  # one loop for all threads: a judge belongs to it


class Rewarded(Scorer):
    """Gives rollouts of problems with known answers their reward; arguments as of `Scorer`."""

    def __call__(self, problem: Problem, rollout: Rollout) -> float | None:
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
        unscored = {name: why for unit in scored.units for name, why in unit.unscored.items()}
        for term in unscored.keys() - self._reported if scored.total is None else ():  # once for each
            self._reported.add(term)
            sentence = f"the reward of {self._name} gives rollouts no grade, for its term {term}: {unscored[term]}"
            self._report.warn(sentence)
        return scored.total


def maker_of(
    system: str, judge: str | None, judge_model: str | None, judges: Mapping[str, str]
) -> Callable[[Opened, Reporter], Rewarded]:
    named, reward, total = judged_reward(system, judge, judge_model, judges)
    return lambda opened, report: Rewarded(named.name, reward, total, opened, report)


def graders(
    judge: str | None = None,
    judge_model: str | None = None,
    judge_key: str | None = None,
    judges: Mapping[str, str] = {},
    system: str | None = None,
) -> Graders:
    """What grades for a strategy: a judge, and the reward of a system.

    Args:
        judge: endpoint of the judge, also of the reward; `judge_model` its model, `judge_key` its key. A judge in a
            reward gets the key of the environment.
        judges: endpoints of further judges of the reward, by the names that it has for them.
        system: whose reward it is, where the strategy names none; None: the system of the model.
    """

    def reward(named: str | None, term: str | None) -> MakeGrader:
        def made(opened: Opened, report: Reporter) -> RewardGrader:
            name = named or system
            if name is None and (found := models.served(opened.name)[0]):
                name = found.name
            if name is None:
                sentence = f"the system of {opened.name} is not known, whose reward is to grade"
                raise ConfigError(sentence, "name it among the options of the strategy: reward=SYSTEM")
            known, reward, total = judged_reward(name, judge, judge_model, judges)
            return RewardGrader(known.name, reward, total, term, opened, report)

        return made

    return Graders(judge, judge_model, judge_key, reward)


class RewardGrader(Scorer):
    """Grades solutions by a reward, or by the mean of one `term` of it over turns; threads may share one.

    Raises:
        ConfigError: there is no such term, or what is to grade needs the right answer or another column.
    """

    def __init__(
        self, name: str, reward: Reward, total: Total, term: str | None, opened: Opened, report: Reporter
    ) -> None:
        super().__init__(name, reward, _checked(name, reward, total, term), opened, report)
        self._term = term

    def __call__(self, asking: Asking, attempt: Attempt) -> Graded:
        """The reward of a solution. Raises ConfigError: a term fails; NetworkError: the judge stays away."""
        trace, images = attempt.trace, attempt.images[: len(asking.images)]
        if not trace.replies.texts:
            return Graded(None, why="there is no reply to grade")
        session = Session(
            trace.protocol,
            asking.question,
            images,
            self._opened.backend.grid,
            tolerate=asking.config.tolerate,
            max_turns=asking.config.max_turns,
            tools=known(),
        )
        extra = {"choices": list(asking.choices)} if asking.choices else {}
        record = Record(question=asking.question, extra=extra)
        try:
            scored = self._scored(record, trace, session, images)
        except DataError as error:  # a term that no reply made before has reached
            raise ConfigError(
                f"the reward of {self._name} cannot grade what is being solved: {error.message}", error.hint
            ) from error
        unscored = {name: why for unit in scored.units for name, why in unit.unscored.items()}
        value = scored.total if self._term is None else scored.terms[self._term]
        return Graded(value, why=None if value is not None else "; ".join(unscored.values()) or "no term applies")


def _checked(name: str, reward: Reward, total: Total, term: str | None) -> Total:
    named = {each.name: each for each in total.terms}
    if term is not None and term not in named:
        raise ConfigError(f"the reward of {name} has no term {term!r}", f"it has: {', '.join(named)}")
    wanted = total if term is None else _alone(total, term)
    if why := _needs(wanted, reward):
        free = [each for each in named if not _needs(_alone(total, each), reward)]
        of_terms = f"by=reward,term={free[0]} grades by a term that needs none" if free else None
        raise ConfigError(
            f"the reward of {name} cannot grade what is being solved: {why}",
            of_terms or "best_of:by=judge grades without a reward",
        )
    return wanted


def _alone(total: Total, term: str) -> Total:
    terms = [each for each in total.terms if each.name == term]
    return msgspec.structs.replace(total, terms=terms, total=lambda t: getattr(t, term) or 0.0, whole=None, group=None)


def _needs(total: Total, reward: Reward) -> str | None:
    """What a total needs beyond a question with a picture, by scoring a row that has nothing else; None: nothing."""
    page = BytesIO()
    Image.new("RGB", (56, 56), "white").save(page, "PNG")
    bare = Record(images=(Picture("", data=page.getvalue()),), question="q")
    judges = [each for each, judge in {JUDGE: reward.judge, **reward.judges}.items() if judge.endpoint]
    try:
        found = without_judge([bare], total, "pixel", reward.strict, judges)
    except DataError as error:
        return error.message
    if found.by_rules or (len(total.terms) == 1 and not found.lacking):
        return None
    return "; ".join(f"{name}: {why}" for name, why in found.why.items())
