"""What grades solutions, by `judge` or `reward`: for `best_of` and for strategies of one's own."""

from typing import Literal

from virc.core.errors import UsageError
from virc.core.events import Reporter
from virc.models.load import Opened
from virc.solving.asking import Grader, Graders, MakeGrader
from virc_extras.best_of.by_reward import reward_grader
from virc_extras.best_of.judge import Judge


def maker(
    graders: Graders, by: Literal["judge", "reward"], reward: str | None = None, term: str | None = None
) -> MakeGrader:
    """What makes a grader once the model is open.

    Args:
        graders: the judge and the system that the user gives.
        by: which of them grades.
        reward: the system whose reward grades, in place of that one.
        term: the term of that reward that grades; None: all of it.
    """
    if by == "reward":
        return lambda opened, report: reward_grader(graders, reward, term, opened, report)
    if unused := "reward" if reward else "term" if term else None:
        raise UsageError(f"{unused} is for grades by a reward, and they are by {by}", "by=reward")
    endpoint = graders.judge
    if endpoint is None:
        raise UsageError("a judge is to grade, and none is named", "«--judge-endpoint URL»")

    def judge(opened: Opened, report: Reporter) -> Grader:
        return Judge.at(endpoint, graders.judge_model, graders.judge_key)

    return judge
