"""An answer that is checked, and given again while the check finds it wrong.

The model itself checks, or the judge at `--judge-endpoint`: each answer is graded, and the first with a grade of
`least` or more is given; after the last round, the one with the highest grade. What the check says is put to the
question of the next round.

Published as Self-Refine (Madaan et al. 2023, arXiv 2303.17651), with at most 4 rounds. Models that check themselves may
also become worse (Huang et al. 2023, arXiv 2310.01798): `virc eval` shows whether it pays.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from virc.core.errors import VircError
from virc.solving.one import Attempt, Solved, Spent, ends_all, no_answer
from virc.solving.sampling.asking import Asking, Graded
from virc.solving.sampling.grading import Graders, MakeGrader

_MAX_WORDS = 1000  # characters of a check that the next round is shown


class Options(msgspec.Struct, frozen=True):
    """Options.

    Args:
        rounds: answers after the first, at most.
        least: the grade from which an answer counts as right, 0 to 1.
        feedback: whether the next round is shown the answer and its check; else the question is asked again as it is.
    """

    rounds: Annotated[int, Meta(ge=1, le=20)] = 4
    least: Annotated[float, Meta(ge=0, le=1)] = 0.5
    feedback: Literal["yes", "no"] = "yes"


def samples(options: Options) -> int:
    return 1 + options.rounds


def greedy(options: Options) -> bool:
    return options.feedback == "yes"


def grades(options: Options, graders: Graders) -> MakeGrader | None:
    return graders.maker("endpoint")


def solve(asking: Asking, options: Options) -> Solved:
    asking = asking.keeping_images()
    done, found = list[Attempt](), list[Graded | None]()
    error: BaseException | None = None
    question = asking.question
    while len(done) < samples(options) and not _is_over(found, options):
        done.append(asking.draw(len(done), question))
        found.append(None)
        last = done[-1]
        if last.broken and ends_all(last.broken):
            error = last.broken
            break
        if last.trace.answer is None:
            continue
        try:
            found[-1] = graded = asking.grade(last)
        except (VircError, KeyboardInterrupt) as broken:
            error = broken
            break
        if options.feedback == "yes":
            question = _with_check(asking.question, last.trace.answer, graded)
    return _chosen(done, found, error, asking)


def _is_over(found: list[Graded | None], options: Options) -> bool:
    last = found[-1] if found else None
    return last is not None and (last.value is None or last.value >= options.least)


def _with_check(question: str, answer: str, graded: Graded) -> str:
    words = graded.words[:_MAX_WORDS] or "it is probably wrong"
    return f"{question}\n\nAn earlier answer was: {answer}\nA check of it says: {words}\nAnswer the question anew."


def _chosen(done: list[Attempt], found: list[Graded | None], error: BaseException | None, asking: Asking) -> Solved:
    values = [each.value if each else None for each in found]
    remarks = [each.remark if each else None for each in found]
    spent = sum((each.spent for each in found if each), Spent())
    solved = Solved(done, choices=asking.choices, scores=values, remarks=remarks, overhead=spent)
    if error:
        return msgspec.structs.replace(solved, error=error)
    answered = [at for at, each in enumerate(done) if each.trace.answer is not None]
    if not answered:
        broken = next((each.broken for each in done if not each.broken), done[-1].broken)
        return msgspec.structs.replace(solved, error=broken or no_answer(done))
    if values[answered[-1]] is None:
        best = answered[-1]
    else:
        best = max(answered, key=lambda at: (-1.0 if (value := values[at]) is None else value, -at))
    return msgspec.structs.replace(solved, answer=done[best].trace.answer, chosen=best)
