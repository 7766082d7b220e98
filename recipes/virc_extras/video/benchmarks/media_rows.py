"""What benchmarks of clips and documents share: their rows, whose files lie beside them, and graded answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec

from virc.core.errors import DataError, errors_as
from virc.core.files import picture_within
from virc.core.text import clause, plain
from virc.evaluation.answered import Answered, Result
from virc.evaluation.answers import Answers, EvalFolder
from virc.evaluation.benchmarks.hub_rows import HubBenchmark, Make, choice
from virc.evaluation.benchmarks.letters import LETTERS
from virc.evaluation.benchmarks.registry import Fields, Right
from virc.evaluation.columns import Column
from virc.evaluation.problems import BenchmarkProblem
from virc.evaluation.request import EvalRequest
from virc.evaluation.summary import Summary
from virc.systems.layouts.layout import Layout

Values = Mapping[str, float]
"""Measure -> its value."""


class MediaBenchmark(HubBenchmark, frozen=True):
    """A benchmark whose rows name clips or documents: `make` gives the fields of a problem, all of them.

    Among these are `files`, names of which the first that is there is shown; a list in it is shown whole.
    """

    def _problem(self, row: Fields, number: int, layout: Layout, folder: Path) -> Fields:
        return self.problem(row, number, folder)

    def problem(self, row: Fields, number: int, folder: Path) -> Fields:
        try:
            made = {"id": number, **self.make(row, {})}
        except (KeyError, AttributeError, TypeError, IndexError) as error:
            raise DataError(f"its columns are not those of {self.NAME}: {clause(error)}") from error
        files = made.pop("files")
        listed = [each if isinstance(each, list) else [each] for each in files]
        found = next((each for each in listed if all(_is_file(folder, name) for name in each)), None)
        if not found:
            sentence = f"there is no {plain(listed[0][0], 80) if listed and listed[0] else 'file'} in {folder}"
            raise DataError(sentence, "unpack the archives of the dataset there (unzip)")
        return made | {"images": found}


def media_benchmark(
    name: str, about: str, hub: str, files: Mapping[str, Sequence[str]], make: Make, origin: str | None = None
) -> MediaBenchmark:
    return MediaBenchmark(name, about, hub, files, {"question": "question"}, make, origin=origin)


def _is_file(folder: Path, name: str) -> bool:
    with errors_as(DataError, f"{plain(name, 80)} cannot be read"):
        return picture_within(folder, name).is_file()


def chosen(number: int, choices: Sequence[str]) -> Fields:
    """The fields of a problem whose right choice has a number, from 0."""
    return choice(LETTERS[number] if 0 <= number < len(LETTERS) else "", choices)


def means(values: Sequence[Values]) -> Values:
    return {name: fmean(each[name] for each in values) for name in values[0]}


class Graded(msgspec.Struct, frozen=True):
    """A published rule that says how right an answer is; it is the `right` of a benchmark.

    Args:
        measures: of an answer, which is "" where a model gave none.
        totals: of all problems, from the measures of each.
    """

    right: Right
    measures: Callable[[str, Mapping[str, Any]], Values]
    totals: Callable[[Sequence[Values]], Values] = means

    def __call__(self, answer: str, fields: Mapping[str, Any]) -> bool | None:
        return self.right(answer, fields)


class _Measures(Column):
    """The published figures of a benchmark besides the share of right answers."""

    unverified = ("measures",)

    def __init__(self) -> None:
        self._totals: Callable[[Sequence[Values]], Values] = means

    def of_answers(
        self, problems: Mapping[str, BenchmarkProblem], answers: Answers, folder: EvalFolder | None
    ) -> Mapping[tuple[str, str], Fields]:
        found: dict[tuple[str, str], Fields] = {}
        for id, problem in problems.items():
            if problem.right and isinstance(rule := problem.right.right, Graded):
                self._totals = rule.totals
                for model, lines in answers.items():
                    if id in lines and lines[id].answers(problem):
                        found[model, id] = {"measures": rule.measures(lines[id].answer or "", problem.right.fields)}
        return found

    def of_model(self, answered: Sequence[tuple[Result, Answered]]) -> Fields:
        values = [answer.columns["measures"] for _, answer in answered if "measures" in answer.columns]
        return {"measures": {name: round(value, 12) for name, value in self._totals(values).items()}} if values else {}

    def lines(self, summary: Summary) -> Iterator[str]:
        for model in summary.models:
            if values := model.columns.get("measures"):
                yield f"{model.name}: {', '.join(f'{name} {100 * value:.1f} %' for name, value in values.items())}"


def column(given: object, request: EvalRequest) -> Column:
    return _Measures()
