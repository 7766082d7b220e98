"""The answer of several that a judge or a reward grades highest.

Published as ranking by a verifier (Cobbe et al. 2021, arXiv 2110.14168), which draws 100 solutions; a judge without
training is that of Zheng et al. 2023 (arXiv 2306.05685). Of two graded alike, the earlier is given. Where all samples
that have an answer say the same, nothing is graded.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from virc.core.errors import NoAnswerError, VircError
from virc.solving.asking import Asking, Graded, Graders, MakeGrader
from virc.solving.one import Solved, Spent
from virc_extras.best_of.graders import maker


class Options(msgspec.Struct, frozen=True):
    """Options.

    Args:
        n: samples.
        by: what grades them: a judge that sees the pictures, or the reward of a system.
        reward: that system, its name or YAML; None: the system of the model.
        term: the term of that reward that grades; None: all of it.
    """

    n: Annotated[int, Meta(ge=1, le=1000)] = 8
    by: Literal["judge", "reward"] = "judge"
    reward: str | None = None
    term: str | None = None


def samples(options: Options) -> int:
    return options.n


def grades(options: Options, graders: Graders) -> MakeGrader | None:
    return maker(graders, options.by, options.reward, options.term)


def solve(asking: Asking, options: Options) -> Solved:
    asking = msgspec.structs.replace(asking, config=msgspec.structs.replace(asking.config, keep_images=True))
    solved = asking.by_vote()
    answered = [at for at, each in enumerate(solved.attempts) if each.trace.answer is not None]
    if solved.error or sum(answer is not None for answer, _ in solved.votes) <= 1:
        return msgspec.structs.replace(solved, scores=[None] * len(solved.attempts))
    found: dict[int, Graded] = {}
    error: BaseException | None = None
    try:
        for at in answered:
            found[at] = asking.grade(solved.attempts[at])
    except (VircError, KeyboardInterrupt) as broken:
        error = broken
    known = [(grade.value, -at) for at, grade in found.items() if grade.value is not None]
    if error is None and not known:
        error = NoAnswerError(f"no answer of {len(answered)} could be graded: {found[answered[0]].why}")
    best = None if error else -max(known)[1]
    grades_ = [found[at].value if at in found else None for at in range(len(solved.attempts))]
    return msgspec.structs.replace(
        solved,
        answer=None if best is None else solved.attempts[best].trace.answer,
        error=error,
        chosen=best,
        scores=grades_,
        remarks=[found[at].remark if at in found else None for at in range(len(solved.attempts))],
        overhead=sum((each.spent for each in found.values()), Spent()),
    )
