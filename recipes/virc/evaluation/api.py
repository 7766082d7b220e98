"""An evaluation: models are asked the same problems, and their answers are scored and compared.

`evaluate` is the function for Python, which makes an `EvalRequest`; `run` does it, for the command line too.
"""

import os
from collections.abc import Sequence
from itertools import product, takewhile
from pathlib import Path
from typing import Annotated, Unpack, get_args

import msgspec

from virc.config.declared import Option, with_options
from virc.config.options import EvalOptions, Traces
from virc.core.errors import NetworkError, UsageError, VircError
from virc.core.events import OnEvent, Reporter
from virc.core.files import expanded
from virc.core.result_log import OtherSettingsError
from virc.core.text import counted
from virc.evaluation.answers import EvalFolder, check_crop_ablation, default_folder
from virc.evaluation.asking import Work, answer, answer_by_solver
from virc.evaluation.benchmarks import registry as benchmarks
from virc.evaluation.columns import Column, of_request
from virc.evaluation.problems import find_problems
from virc.evaluation.request import EvalRequest, check_named_judges, check_request, judge_of, model_at, request_of
from virc.evaluation.scored import scored
from virc.evaluation.summary import Summary
from virc.evaluation.writing import write_summary
from virc.models.costs import Budget
from virc.reasoning.protocol import Protocol
from virc.scoring.judge import JUDGE_KEY
from virc.solving.asking import Graders
from virc.solving.outcome import Fields
from virc.solving.progress import failed_rows
from virc.solving.setup import OnFacts, setup_of
from virc.solving.solver import choose
from virc.solving.sources.row_files import trusting

_AGAIN = "the same command asks it again"


class Evaluated(msgspec.Struct, frozen=True):
    """The result of an evaluation, the `failure` of rows, and the number of answers left `undecided`.

    `unmeasured` is the error of a column that could not measure answers, `columns` are those of the evaluation.
    """

    summary: Summary
    folder: EvalFolder
    failure: VircError | None
    undecided: int
    unmeasured: VircError | None = None
    columns: Sequence[Column] = ()

    @property
    def fields(self) -> Fields:
        return {**self.summary.fields, "folder": str(self.folder.folder)}

    def check(self) -> None:
        """Raise a VircError if rows failed, or the judge or a column failed on answers."""
        if self.failure:
            raise self.failure
        if self.undecided:
            raise NetworkError(f"the judge failed on {self.undecided} answers", _AGAIN)
        if self.unmeasured:
            raise self.unmeasured


class Options(EvalOptions, total=False):
    """Arguments of `evaluate`."""

    against: Annotated[bool, Option(more="Compare with the published figures.", default=False)]
    on_progress: Annotated[OnEvent | None, Option(more="Gets notes, warnings and progress.")]


@with_options
def evaluate(
    benchmark: str | Path, models: str | Path | Sequence[str | Path] | None = None, **options: Unpack[Options]
) -> Summary:
    """Ask models the problems of a benchmark, score their answers, and compare the models.

    Args:
        benchmark: its name, or a file of rows, as `virc batch` reads it, with an answer in each row.
        models: as `virc.solve` takes one, or `NAME@URL`: a model that this server has; one that the endpoint does not
            list is looked for on this machine. None: only with `pipeline`, which is evaluated in place of models.
        {options}

    Raises:
        UsageError, ConfigError, DataError: the benchmark, a model or the folder cannot be used.
        LimitError: `max_cost` left problems; the same call resumes, for as much again.
        VircError: rows failed; the other answers are kept, and the same call resumes.
    """
    endpoint, seed, strategy = options["endpoint"], options["seed"], options["strategy"]
    pipeline, system = choose(options["pipeline"], options["system"])
    names: Sequence[str | Path | None] = [models] if isinstance(models, str | Path) else list(models or ())
    if not names and pipeline is None:
        raise UsageError("no model is named", 'evaluate(benchmark, "tiny")')
    if options["seeds"] < 1:
        raise UsageError(f"seeds is {options['seeds']}", "evaluate with one seed or more")
    if options["traces"] not in get_args(Traces):
        raise UsageError(f"traces is {options['traces']!r}", f"choose {', '.join(get_args(Traces))}")
    judges, key = options["judge_endpoints"], os.environ.get(JUDGE_KEY)
    check_named_judges(judges, strategy)
    graders = Graders(options["judge_endpoint"], options["judge_model"], key, judges, system)
    asked = [
        (*model_at(None if name is None else str(name), endpoint), number, each)
        for name in names or [None]
        for number in range(seed, seed + options["seeds"])
        for each in ([strategy] if strategy is None or isinstance(strategy, str) else strategy)
    ]
    setups = [
        msgspec.structs.replace(
            setup_of(name, {**options, "endpoint": url, "system": system, "seed": number, "strategy": each}, graders),
            or_here=url == endpoint,
        )
        for name, url, number, each in asked
    ]
    if options["roles"] and pipeline is None:
        raise UsageError("roles= belongs to pipeline=", 'pipeline="FILE.py"')
    roles = {name: str(who) for name, who in options["roles"].items()}
    request = request_of(benchmark, options, setups, pipeline, roles, {"models": models, "endpoint": endpoint})
    evaluated = run(request, Reporter(options["on_progress"]))
    evaluated.check()
    return evaluated.summary


def run(request: EvalRequest, report: Reporter, on_facts: OnFacts = lambda _: None) -> Evaluated:
    """Evaluate; rows that fail do not end it.

    Raises:
        VircError: all of it cannot be done; answers so far are kept.
    """
    check_request(request)
    columns = of_request(request)
    own = next((column.problems for column in columns if column.problems), None)
    here = Path.cwd()
    ignored = request.setups[0].choice.ignore if request.setups else ()
    benchmark = own or benchmarks.find(request.benchmark, here, request.split, report, request.chosen, ignored)
    if request.chosen and (own or benchmark.published):
        raise UsageError(f"«--column» is of a file of rows, not of {benchmark.name}", "leave «--column» out")
    if request.trust_rows:
        benchmark = msgspec.structs.replace(benchmark, rows=lambda read=benchmark.rows: trusting(read()))
    ablation = request.crop_ablation
    folder = EvalFolder(expanded(request.to) if request.to else default_folder(benchmark.name, ablation))
    on_facts({"folder": str(folder.folder), "benchmark": benchmark.name})
    check_crop_ablation(folder, ablation)
    problems = find_problems(benchmark, request.limit, report, ablation, own is not None)
    if request.judge_endpoint:
        judge_of(request).close()  # a judge that cannot be asked fails before the models are asked
    budget = Budget(request.max_cost)
    work = Work(request, columns, benchmark, folder, problems, report, budget, [])
    further = [work.in_arm(arm) for arm in work.every_arm[1:]]
    arms = [work, *further] if any(column.asks for column in columns) else [work]
    for arm in arms:
        next(arm.rows())  # crops that cannot be swapped are refused before the models are asked
    others = list[VircError]()
    if request.solver:
        progress = [answer_by_solver(request.solver, work)]
    else:
        progress = []
        for setup in takewhile(lambda _: not budget.is_cut, request.setups):
            try:
                progress += answer(setup, arms)
            except OtherSettingsError as error:  # the other models are asked all the same
                others.append(error)
    if others and not progress:
        raise others[0]
    for each, column in product(progress, columns):
        column.score(each.model, work.rows(), work.answered(each.model), folder, report)
    protocols = dict[str, Protocol | None]()  # of the models that this call asked
    for each in progress:
        protocols.setdefault(each.model, each.protocol)  # that of the first arm
    is_in_arms = any(arm.folder.folder.is_dir() for arm in further)  # of this call or a former one
    scored_arms = [scored(each, protocols) for each in ([work, *further] if is_in_arms else [work])]
    summary = write_summary(work, scored_arms, protocols)
    failure = failed_rows(progress) if any(each.failed for each in progress) else next(iter(others), None)
    done = sum(each.resumed + each.done for each in progress)
    failure = budget.error(f"{counted(done, 'answer')} so far") or failure
    undecided = sum(verdict is None for arm in scored_arms for verdict in arm.verdicts.values())
    unmeasured = next(filter(None, (column.error(scored_arms[0].results) for column in columns)), None)
    return Evaluated(summary, folder, failure, undecided, unmeasured, columns)
