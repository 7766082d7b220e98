"""`--looks`: the problems are asked in several arms, and a verdict on looking comes first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from virc.core.errors import UsageError
from virc.core.web import html
from virc.evaluation.answered import Answered, Result
from virc.evaluation.columns import Column, Evaluated, Fields
from virc.evaluation.pages import figures
from virc.evaluation.request import EvalRequest
from virc.evaluation.summary import Summary
from virc.evaluation.writing import shown_name
from virc_cli.console.tables import table
from virc_extras.studies.looks import ARMS, FURTHER_ARMS, ArmName, Looks, looks

_HEAD = ("asked with", "right", "of", "lost points", "95 % interval", "p")


class Looking(Column):
    arms = FURTHER_ARMS
    place = "first"
    title = "Does it look"

    def __init__(self, asks: bool) -> None:
        self.asks = asks

    def of_evaluation(self, evaluated: Evaluated) -> Fields:
        return {"looks": looks_of(evaluated.arms) if len(evaluated.arms) > 1 else []}

    def of_file(self, summary: Summary, model: str) -> Fields:
        found = _verdict(summary, model)
        return {"looks": found and msgspec.to_builtins(msgspec.structs.replace(found, model=shown_name(model)))}

    def lines(self, summary: Summary) -> Iterator[str]:
        for at, verdict in enumerate(summary.columns["looks"]):
            yield from ("",) if at else ()
            yield f"{verdict.model}: {verdict.sentence}, {figures.probability(verdict.p)} ({verdict.test})"
            yield from table([_HEAD, *_rows(verdict)])

    def section(self, summary: Summary, places: Mapping[Any, int]) -> str:
        found = summary.columns["looks"]
        return html.part("virc_extras:studies/looks", looks=found, figures=figures) if found else ""

    def verdicts(self, summary: Summary) -> Mapping[str, str]:
        return {each.model: each.sentence for each in summary.columns["looks"]}


def column(given: bool | None, request: EvalRequest) -> Column:
    refused = {"--crop-ablation": request.crop_ablation != "none", "--pipeline": request.solver}
    if given and (option := next((name for name, value in refused.items() if value), None)):
        raise UsageError(f"{option} does not go with --looks", "leave one out")
    return Looking(bool(given))


def looks_of(arms: Sequence[Sequence[Result]]) -> list[Looks]:
    """The verdict on each model that answered in all arms."""
    problems = list(zip(*arms, strict=True))  # the results of a problem, one an arm
    guesses = [results[0].guessed for results in problems]

    def answers(model: str, results: Sequence[Result]) -> dict[ArmName, Answered]:
        by_arm = zip(ARMS, results, strict=True)
        return {arm: result.answers[model] for arm, result in by_arm if model in result.answers}

    names = dict.fromkeys(name for result in arms[0] for name in result.answers)
    models = [name for name in names if all(any(name in each.answers for each in arm) for arm in arms)]
    return [looks(model, [answers(model, results) for results in problems], guesses) for model in models]


def _verdict(summary: Summary, model: str) -> Looks | None:
    return next((each for each in summary.columns["looks"] if each.model == model), None)


def _rows(verdict: Looks) -> Iterator[tuple[str, ...]]:
    for name, arm in verdict.arms.items():
        share = figures.percent(arm.right / arm.of) if arm.of else "-"
        gain, interval = figures.points(arm.gain), figures.points_between(arm.interval)
        yield name, share, str(arm.of), gain, interval, figures.chance(arm.p)
