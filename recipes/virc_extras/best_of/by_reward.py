"""A system's reward as what grades solutions whose right answer is not known.

A solution is scored as a rollout of RL, on a row that has the question and its choices alone. A reward that needs the
answer or another column is refused before the model is asked (`_checked`).
"""

from io import BytesIO

import msgspec
from PIL import Image

from virc.core.errors import ConfigError, DataError
from virc.core.events import Reporter
from virc.data.rows.record import Picture, Record
from virc.models import registry as models
from virc.models.load import Opened
from virc.reasoning.session import Session
from virc.rewards.context import JUDGE
from virc.rewards.needs import without_judge
from virc.rewards.of_system import judged_reward
from virc.rewards.registry import Total
from virc.rewards.rollout_scorer import Scorer
from virc.solving.asking import Asking, Graded, Graders
from virc.solving.one import Attempt
from virc.systems.registry import Reward
from virc.tools.registry import known


def reward_grader(
    graders: Graders, named: str | None, term: str | None, opened: Opened, report: Reporter
) -> "RewardGrader":
    """What grades by a reward: of the system that a strategy names, of the one that is given, or of the model's.

    A judge in that reward is the one of `graders`, with the key of the environment.
    """
    name = named or graders.system
    if name is None and (found := models.served(opened.name)[0]):
        name = found.name
    if name is None:
        sentence = f"the system of {opened.name} is not known, whose reward is to grade"
        raise ConfigError(sentence, "name it among the options of the strategy: reward=SYSTEM")
    known, reward, total = judged_reward(name, graders.judge, graders.judge_model, graders.judges)
    return RewardGrader(known.name, reward, total, term, opened, report)


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
            scored = self.scored(record, trace, session, images)
        except DataError as error:  # a term that no reply made before has reached
            raise ConfigError(
                f"the reward of {self._name} cannot grade what is being solved: {error.message}", error.hint
            ) from error
        value = scored.total if self._term is None else scored.terms[self._term]
        why = "; ".join(scored.unscored.values()) or "no term applies"
        return Graded(value, why=why if value is None else None)


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
