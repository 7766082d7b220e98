"""`--looks`: the problems are asked in several arms, and a verdict on looking comes first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from virc.core.errors import UsageError
from virc.core.text import counted
from virc.core.web import html
from virc.evaluation.answered import Result
from virc.evaluation.columns import Column, Evaluated, Fields
from virc.evaluation.pages import figures
from virc.evaluation.request import EvalRequest
from virc.evaluation.summary import Summary
from virc.evaluation.writing import shown_name
from virc_cli.console.tables import table
from virc_extras.studies.looks import ARMS, FURTHER_ARMS, Looks, looks

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
        found = next((each for each in summary.columns["looks"] if each.model == model), None)
        return {"looks": found and msgspec.to_builtins(msgspec.structs.replace(found, model=shown_name(model)))}

    def lines(self, summary: Summary) -> Iterator[str]:
        for at, verdict in enumerate(summary.columns["looks"]):
            yield from ("",) if at else ()
            yield f"{verdict.model}: {verdict.sentence}, {figures.probability(verdict.p)} ({verdict.test})"
            yield from table([_HEAD, *_rows(verdict)])
            if note := uncropped(verdict):
                yield note

    def section(self, summary: Summary, places: Mapping[Any, int]) -> str:
        found = summary.columns["looks"]
        parts = {"figures": figures, "uncropped": uncropped}
        return html.part("virc_extras:studies/looks", looks=found, **parts) if found else ""

    def verdicts(self, summary: Summary) -> Mapping[str, str]:
        return {each.model: each.sentence for each in summary.columns["looks"]}


def column(given: bool | None, request: EvalRequest) -> Column:
    refused = {"«--crop-ablation»": request.crop_ablation != "none", "«--pipeline»": request.solver}
    if given and (option := next((name for name, value in refused.items() if value), None)):
        raise UsageError(f"{option} does not go with «--looks»", "leave one out")
    return Looking(bool(given))


def looks_of(arms: Sequence[Sequence[Result]]) -> list[Looks]:
    """The verdict on each model by the problems that it answered in all arms."""
    problems = list(zip(*arms, strict=True))  # the results of a problem, one an arm
    found = list[Looks]()
    for model in dict.fromkeys(name for result in arms[0] for name in result.answers):
        compared = [results for results in problems if all(model in each.answers for each in results)]
        answers = [{arm: each.answers[model] for arm, each in zip(ARMS, results, strict=True)} for results in compared]
        found += [looks(model, answers, [results[0].guessed for results in compared])] if compared else []
    return found


def uncropped(verdict: Looks) -> str:
    """What lost points leave out, in words; empty if nothing."""
    count = max(each.uncropped for each in verdict.arms.values())
    return f"{counted(count, 'problem')} without a crop: no crop to replace, so not in the lost points" if count else ""


def _rows(verdict: Looks) -> Iterator[tuple[str, ...]]:
    for name, arm in verdict.arms.items():
        share = figures.percent(arm.right / arm.of) if arm.of else "-"
        gain, interval = figures.points(arm.gain), figures.points_between(arm.interval)
        yield name, share, str(arm.of), gain, interval, figures.chance(arm.p)
