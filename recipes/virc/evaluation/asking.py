"""Asks models the problems, in one arm or several, except those that a former run has answered: see `answer`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from virc.core.errors import ConfigError, NoAnswerError, SetupError
from virc.core.events import Reporter
from virc.core.result_log import Claims, Ledger
from virc.core.text import counted, duration
from virc.evaluation.answers import AnswerLine, EvalFolder, answered_before, answers_in
from virc.evaluation.assumed import assumed_of, assumed_of_solver
from virc.evaluation.benchmarks.registry import LocalBenchmark
from virc.evaluation.columns import Arm, Column
from virc.evaluation.pages.traces import keep_crops
from virc.evaluation.problems import BenchmarkProblem, contents, rows_of, swapped
from virc.evaluation.request import EvalRequest
from virc.evaluation.seeds import with_seed
from virc.evaluation.verdicts import is_right
from virc.models.costs import Budget
from virc.models.load import Opened, described
from virc.reasoning.protocol import Protocol
from virc.solving.ablation import CropAblation, without_tools
from virc.solving.asking import Grader
from virc.solving.batch import BatchConfig, RowDone, as_line, shared_settings, solve_batch
from virc.solving.one import SCHEMA as SOLVE
from virc.solving.one import SolveConfig
from virc.solving.outcome import Fields, facts, versions
from virc.solving.progress import Progress
from virc.solving.rows import ProblemRow, file_name
from virc.solving.setup import Setup, open_setup
from virc.solving.solver import SolverSetup
from virc.solving.strategies import registry as strategies

_FIRST = 5  # problems by which the cost of all arms is estimated


class Work(NamedTuple):
    """What is evaluated in one arm, the folder for its answers, and what all arms of all models cost."""

    request: EvalRequest
    columns: Sequence[Column]
    benchmark: LocalBenchmark
    folder: EvalFolder
    problems: Mapping[str, BenchmarkProblem]
    report: Reporter
    budget: Budget
    assumptions: list[str]
    """What systems of the models asked do not publish, as the user was warned of it."""
    arm: Arm = Arm()

    def in_arm(self, arm: Arm) -> "Work":
        folder = EvalFolder(self.folder.folder / arm.folder)
        request = msgspec.structs.replace(self.request, traces="none")
        return self._replace(request=request, folder=folder, arm=arm)

    @property
    def every_arm(self) -> list[Arm]:
        """The arm as it is, and those of columns."""
        return [Arm(), *(arm for column in self.columns for arm in column.arms)]

    def first(self) -> "Work":
        return self._replace(problems=dict(islice(self.problems.items(), _FIRST)))

    @property
    def ablation(self) -> CropAblation:
        return self.arm.ablation if self.arm.folder else self.request.crop_ablation

    def config(self, config: SolveConfig) -> SolveConfig:
        return msgspec.structs.replace(config, crop_ablation=self.ablation, seed=config.seed + self.arm.seed)

    def rows(self) -> Iterator[ProblemRow]:
        rows = rows_of(self.benchmark, self.problems, self.request.limit)
        return swapped(rows, partial(contents, base=self.benchmark.base)) if self.ablation == "swapped" else rows

    def answered(self, model: str) -> dict[str, AnswerLine]:
        lines = answers_in(self.folder, [model]).get(model, {})
        return {id: line for id, line in lines.items() if line.answers(self.problems.get(id))}

    def warn_of(self, assumed: tuple[str, str] | None) -> None:
        if assumed:
            self.report.warn(*assumed)
            self.assumptions.append(". ".join(assumed))

    def traces(self, model: str) -> Path | None:
        return None if self.request.traces == "none" else self.folder.traces(model)


class ModelProgress(Progress):
    """How far one model is, and how it does by the rules that take no time."""

    def __init__(self, model: str, work: Work, resumed: int) -> None:
        super().__init__(resumed, work.report, len(work.problems), work.budget)
        self.right = 0
        self.protocol: Protocol | None = None
        self.model, self._problems = model, work.problems
        self._arm = f", {work.arm.name}" if work.arm.folder else ""

    def add(self, done: RowDone) -> None:
        self.right += is_right(done, self._problems[str(done.row.id)])
        super().add(done)

    def __str__(self) -> str:
        counts = f"{self.right} right, {self.unanswered} without an answer, {self.failed} failed"
        before = f"; {self.resumed} were done before" if self.resumed else ""
        return f"{self.model}{self._arm}: {self.done} of {len(self._problems)} problems: {counts}{before}"


def answer(setup: Setup, arms: Sequence[Work]) -> list[ModelProgress]:
    """Ask a model the problems that it has not answered yet in each arm; one on this machine is loaded for them."""
    request, report = arms[0].request, arms[0].report
    setup = setup.with_exact_words()
    unloaded = _if_answered(setup, arms)
    opened = unloaded or open_setup(setup, report, lambda _: None)[0]
    arms[0].warn_of(assumed_of(opened.name, Path.cwd(), setup.choice.system))
    setup = msgspec.structs.replace(setup, config=setup.config_of(opened.name))
    opened = _asked_as(opened, setup, request)
    is_greedy = facts(opened, setup.config)["settings"]["temperature"] == 0
    if setup.config.seed != request.setups[0].config.seed and is_greedy:
        report.warn("at temperature 0 seeds differ by the rounding of a server alone", "«--temperature 1»")
    for column in arms[0].columns:
        column.check_model(opened.name, setup)
    if unloaded:
        return [_answer_in(arm, setup, opened, None) for arm in arms]
    graders = strategies.grader_of(setup.config, setup.graders, opened, report)
    with closing(opened), graders as grader:
        if len(arms) > 1:
            first = _answer_in(arms[0].first(), setup, opened, grader)
            report.note(_estimate(arms, opened))
            if request.estimate_only or first.failed:
                return [first]
        return [_answer_in(arm, setup, opened, grader) for arm in arms]


def _asked_as(opened: Opened, setup: Setup, request: EvalRequest) -> Opened:
    """The model by its name in the evaluation, next to itself without a strategy or with another seed."""
    name = f"{opened.name} ({setup.config.strategy})" if setup.config.strategy else opened.name
    if setup.config.seed != request.setups[0].config.seed:
        name = with_seed(name, setup.config.seed)
    return msgspec.structs.replace(opened, name=name)


def _in_arm(work: Work, setup: Setup, opened: Opened) -> tuple[Opened, SolveConfig]:
    """The model and how it solves the problems in an arm."""
    if work.ablation == "no-tools":
        opened = msgspec.structs.replace(opened, chat_protocol=without_tools(opened.chat_protocol))
    return opened, msgspec.structs.replace(work.config(setup.config), keep_images=True)  # hashes of them are kept


def _if_answered(setup: Setup, arms: Sequence[Work]) -> Opened | None:
    """A model on this machine without its weights, if a former run answered all problems with the same settings."""
    if setup.choice.endpoint:
        return None
    with suppress(ConfigError, SetupError):  # is found again where the model is opened
        unloaded = described(setup.choice)
        opened = _asked_as(unloaded, setup, arms[0].request)
        for arm in arms:
            if not arm.folder.answers(opened.name).is_file():
                return None
            with _ledger(arm, facts(*_in_arm(arm, setup, opened))) as ledger:
                if answered_before(opened.name, arm.problems, ledger) < len(arm.problems):
                    return None
        return unloaded
    return None


def _answer_in(work: Work, setup: Setup, opened: Opened, grader: Grader | None) -> ModelProgress:
    request, report = work.request, work.report
    opened, solving = _in_arm(work, setup, opened)
    traces = work.traces(opened.name)
    base, at_once = work.benchmark.base, request.at_once
    config = BatchConfig(solving, base, traces, setup.offline, at_once, replies=True, grader=grader)
    server = {"server": getattr(opened.backend, "kind", None) or "unnamed"} if opened.answers else {}

    def solve(claims: Claims, on_row: Callable[[RowDone], None]) -> None:
        solve_batch(config, opened, work.rows(), claims, on_row, report.note)

    progress = _kept(solve, {**facts(opened, solving), "versions": versions() | server}, work)
    progress.protocol = opened.chat_protocol
    return progress


def _estimate(arms: Sequence[Work], opened: Opened) -> str:
    model, answered = opened.name, [arm.answered(opened.name) for arm in arms]
    left = sum(len(arm.problems) for arm in arms) - sum(map(len, answered))
    counts = f"{counted(len(arms[0].problems), 'problem')} in {len(arms)} arms, {counted(left, 'answer')} to go"
    timed = [line for line in answered[0].values() if line.seconds is not None]
    if not timed or not left:
        return f"{model}: {counts}"
    at_once = arms[0].request.at_once or opened.at_once
    seconds = left * sum(line.seconds or 0 for line in timed) / len(timed) / at_once
    tokens = left * sum(sum(each or 0 for each in (line.tokens or {}).values()) for line in timed) / len(timed)
    return f"{model}: {counts}: about {duration(seconds)} and {tokens:,.0f} tokens, by the first {len(timed)}"


def answer_by_solver(setup: SolverSetup, work: Work) -> ModelProgress:
    work.warn_of(assumed_of_solver(setup))
    with setup.opened(work.report) as solver:
        known, workers = solver.known, work.request.at_once or solver.at_once
        traces = work.traces(known["model"])
        solve_rows = solver.rows_solver(work.benchmark.base, traces, workers, work.report.note)
        return _kept(lambda claims, on_row: solve_rows(work.rows(), claims, on_row, None), known, work)


def _kept(solve: Callable[[Claims, Callable[[RowDone], None]], None], known: Fields, work: Work) -> ModelProgress:
    """Write the answers that `solve` reports, with `known` in each line; it gets the claims of a former run."""
    name, request, folder, problems = str(known["model"]), work.request, work.folder, work.problems
    blank = {"answer": None, "turns": None, "calls": None, "tokens": None, "trace": None}
    with _ledger(work, known) as ledger:
        progress = ModelProgress(name, work, answered_before(name, problems, ledger))
        ledger.may_begin = work.budget.may_begin

        def on_row(done: RowDone) -> None:
            if request.traces == "wrong" and is_right(done, problems[str(done.row.id)]):
                keep_crops(folder.traces(name) / file_name(str(done.row.id)))
                done = msgspec.structs.replace(done, fields={**done.fields, "trace": None})
            ledger.append(as_line(done, {**blank, **known}))
            progress.add(done)

        try:
            solve(ledger, on_row)
        finally:
            progress.tell()
    return progress


def _ledger(work: Work, known: Fields) -> Ledger:
    return Ledger(work.folder.answers(str(known["model"])), SOLVE, shared_settings(known), {NoAnswerError.code})
