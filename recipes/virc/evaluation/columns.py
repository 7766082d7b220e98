"""Columns that an evaluation adds: what it measures besides right and wrong.

An entry point of `virc.evaluation_columns` is a module with a function `column(given, request)`, which returns a
`Column`. `given` is what the request has for the name of the entry point among its `columns`; None if nothing.

`of_request` finds them. `Column` says what one may do, in the order in which an evaluation calls it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

from virc.core import entry_points
from virc.core.entry_points import Group
from virc.core.errors import VircError
from virc.core.events import Reporter
from virc.evaluation.answered import Answered, Result
from virc.evaluation.answers import AnswerLine, Answers, EvalFolder
from virc.evaluation.benchmarks.registry import LocalBenchmark
from virc.evaluation.problems import BenchmarkProblem
from virc.evaluation.request import EvalRequest
from virc.evaluation.summary import Summary
from virc.solving.ablation import CropAblation
from virc.solving.rows import ProblemRow
from virc.solving.setup import Setup

_GROUP: Group = "virc.evaluation_columns"

Fields = Mapping[str, Any]
"""What is added to an object of `virc.eval/1`."""


class Arm(NamedTuple):
    """One way in which the problems are asked: what is shown, what is added to the seed, and its folder."""

    name: str = "as it is"
    ablation: CropAblation = "none"
    seed: int = 0
    folder: str = ""


class Evaluated(NamedTuple):
    """What was evaluated.

    Args:
        arms: the results in each arm, problem by problem; the first as it is.
        rows: the problems as rows, whose image paths start from `base`.
        systems: the system of each model that this call asked, None if the user named none.
    """

    summary: Summary
    arms: Sequence[Sequence[Result]]
    rows: Callable[[], Iterator[ProblemRow]]
    base: Path
    systems: Mapping[str, str | None]


class Column:
    """What one column does; each method may be left as it is here, and does nothing then.

    Args:
        problems: those that are asked in place of a benchmark's; they need no answer.
        arms: further ways to ask the problems, in which they are asked if `asks`.
        place: where its lines and its section stand: before the shares of right answers, among the figures, or last.
        title: the heading of its section on the page.
        unverified: its fields that do not follow from the file of a result.
    """

    problems: LocalBenchmark | None = None
    arms: Sequence[Arm] = ()
    asks: bool = False
    place: Literal["first", "figures", "last"] = "figures"
    title: str = ""
    unverified: Sequence[str] = ()

    def check_model(self, model: str, setup: Setup) -> None:
        """Refuse, before anything is asked, a model that would be refused at the end."""

    def score(
        self,
        model: str,
        rows: Iterator[ProblemRow],
        lines: Mapping[str, AnswerLine],
        folder: EvalFolder,
        report: Reporter,
    ) -> None:
        """Measure the answers of a model that was asked, and keep what takes time in the folder."""

    def of_answers(
        self, problems: Mapping[str, BenchmarkProblem], answers: Answers, folder: EvalFolder | None
    ) -> Mapping[tuple[str, str], Fields]:
        """What it adds to answers, by model and id."""
        return {}

    def of_model(self, answered: Sequence[tuple[Result, Answered]]) -> Fields:
        return {}

    def of_pair(self, answers: Sequence[tuple[Answered, Answered]]) -> Fields:
        return {}

    def of_evaluation(self, evaluated: Evaluated) -> Fields:
        return {}

    def of_file(self, summary: Summary, model: str) -> Fields:
        """What it adds to the first line of the file of a model's result."""
        return {}

    def on_file(self, path: Path) -> None:
        """Do what is to be done with the file of a result that was written."""

    def error(self, results: Sequence[Result]) -> VircError | None:
        """The error that the evaluation ends with, if answers could not be measured."""
        return None

    def lines(self, summary: Summary) -> Iterator[str]:
        """What the terminal shows."""
        yield from ()

    def section(self, summary: Summary, places: Mapping[Any, int]) -> str:
        """HTML for the page; problem `id` is at `#p` and its number in `places`."""
        return ""

    def cell(self, answered: Answered) -> str:
        """HTML next to an answer in the list of problems."""
        return ""

    def verdicts(self, summary: Summary) -> Mapping[str, str]:
        """A sentence on models, for the page of problems."""
        return {}


def of_request(request: EvalRequest) -> list[Column]:
    """All columns that are installed.

    Raises:
        ConfigError: the request asks for one that is not.
        VircError: what it asks of one cannot be done.
    """
    modules = entry_points.modules(_GROUP)
    if missing := next((name for name in request.columns if name not in modules), None):
        raise entry_points.not_installed(f"that has --{missing.replace('_', '-')}")
    return [import_module(modules[name]).column(request.columns.get(name), request) for name in sorted(modules)]
