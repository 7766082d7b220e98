"""An evaluation: models are asked the same problems, and their answers are scored and compared.

`evaluate` is the function for Python, which makes an `EvalRequest`; `run` does it, for the command line too.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import product, takewhile
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from virc.config.validation import check_arguments
from virc.core.errors import NetworkError, UsageError, VircError
from virc.core.events import OnEvent, Reporter
from virc.core.files import expanded
from virc.core.result_log import OtherSettingsError
from virc.core.text import counted
from virc.evaluation.answers import EvalFolder, Traces, check_crop_ablation, default_folder
from virc.evaluation.asking import Work, answer, answer_by_solver
from virc.evaluation.benchmarks import registry as benchmarks
from virc.evaluation.columns import Column, of_request
from virc.evaluation.problems import find_problems
from virc.evaluation.request import (
    EvalRequest,
    asked_columns,
    check_named_judges,
    check_request,
    judge_of,
    model_at,
    pipeline_of,
)
from virc.evaluation.scored import scored
from virc.evaluation.summary import Summary
from virc.evaluation.writing import write_summary
from virc.models.costs import Budget, read_prices
from virc.models.load import choice_of
from virc.reasoning.media import Pages, media_choice
from virc.reasoning.protocol import Protocol
from virc.scoring.judge import JUDGE_KEY
from virc.solving.ablation import CropAblation
from virc.solving.asking import Graders
from virc.solving.one import SolveConfig
from virc.solving.outcome import Fields
from virc.solving.progress import failed_rows
from virc.solving.setup import OnFacts, Setup
from virc.solving.solver import choose
from virc.solving.sources.columns import OF_PROBLEMS, check_chosen
from virc.solving.sources.row_files import trusting
from virc.solving.strategies import registry as strategies

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


def evaluate(
    benchmark: str | Path,
    models: str | Path | Sequence[str | Path] | None = None,
    *,
    endpoint: str | None = None,
    api_key: str | None = None,
    to: str | Path | None = None,
    limit: int | None = None,
    split: str | None = None,
    columns: Mapping[str, str] = {},
    system: str | Path | None = None,
    protocol: str | Path | None = None,
    family: str | None = None,
    judge_endpoint: str | None = None,
    judge_model: str | None = None,
    judge_endpoints: Mapping[str, str] = {},
    traces: Traces = "wrong",
    crop_ablation: CropAblation = "none",
    against: bool = False,
    samples: int = 1,
    strategy: str | Sequence[str] | None = None,
    temperature: float | None = None,
    page: Pages | None = None,
    fps: float | None = None,
    frames: int | None = None,
    prices: str | Path | None = None,
    max_cost: float | None = None,
    max_pixels: int | None = None,
    extra_body: Mapping[str, Any] | str | None = None,
    thinking: Literal["on", "off"] | None = None,
    ignore: Iterable[str] = (),
    max_tokens: int | None = None,
    max_turns: int = 16,
    timeout: float | None = None,
    seed: int = 0,
    seeds: int = 1,
    device: str | None = None,
    offline: bool = False,
    trust_rows: bool = False,
    concurrency: int | None = None,
    pipeline: str | Path | None = None,
    roles: Mapping[str, str | Path] = {},
    against_run: str | Path | None = None,
    sign: str | Path | None = None,
    environment: bool = False,
    environment_args: Mapping[str, Any] | None = None,
    answer_as: str | None = None,
    looks: bool = False,
    on_progress: OnEvent | None = None,
) -> Summary:
    """Ask models the problems of a benchmark, score their answers, and compare the models.

    Args:
        benchmark: its name, or a file of rows, as `virc batch` reads it, with an answer in each row.
        models: as `virc.solve` takes one, or `NAME@URL`: a model that this server has. None: only with `pipeline`.
        endpoint: an OpenAI-compatible server of the other models; one that it does not list is looked for on this
            machine. None: they run in this process.
        to: folder of the evaluation; None: `evals/BENCHMARK`.
        page, fps, frames: which parts of clips and documents are shown, as in `virc.solve`.
        extra_body, thinking: of requests to the endpoint, as in `virc.solve`; `prices` and `ignore` as there.
        max_cost: no problem is asked once the answers of this call have cost that much; None: no limit.
        limit: number of problems, from the first; None: all.
        split: part of the benchmark.
        columns: of a file of rows, which column is the `id`, `image`, `question`, `choices` or `answer`.
        judge_endpoint: server asked about answers that no rule finds right; its key is `VIRC_JUDGE_KEY`.
        judge_endpoints: of further judges of the reward by which a strategy grades, by the names that it has for them.
        traces: which answers keep their trace.
        crop_ablation: what crops are cut from.
        against: compare with the published figures.
        strategy: how answers are found, as `virc.solve` takes it; of several, each model is evaluated by each.
        seeds: how many seeds, from `seed` on; of several, each model is evaluated with each.
        trust_rows: whether rows of a file may name files outside of its folder, and addresses that are not public.
        concurrency: rows in work at a time; None: as many as suit the model.
        pipeline, roles: as of `virc.solve`; the pipeline is evaluated in place of models.
        against_run: a run, or a file of rows, whose pictures are compared with those of the problems.
        sign: private key of OpenSSH or minisign that the files of results are signed with.
        environment: whether the benchmark is an installed environment of verifiers, whose reward scores the answers.
        environment_args: arguments of the environment.
        answer_as: what it is shown of a reply, with `{answer}` and `{reply}` in it; None: the reply and a boxed answer.
        looks: whether the problems are asked in several arms, for a verdict on looking.
        on_progress: gets notes, warnings and progress.

    Raises:
        UsageError, ConfigError, DataError: the benchmark, a model or the folder cannot be used.
        LimitError: `max_cost` left problems; the same call resumes, for as much again.
        VircError: rows failed; the other answers are kept, and the same call resumes.
    """
    chosen_pipeline, chosen_system = choose(pipeline, system)
    of_choice: dict[str, Any] = {
        "api_key": api_key, "system": chosen_system, "protocol": protocol, "family": family, "device": device,
        "max_pixels": max_pixels, "timeout": timeout, "extra_body": extra_body, "thinking": thinking, "ignore": ignore,
    }  # fmt: skip
    names = [models] if isinstance(models, str | Path) else list(models or ())
    if not names and chosen_pipeline is None:
        raise UsageError("no model is named", 'evaluate(benchmark, "tiny")')
    if seeds < 1:
        raise UsageError(f"seeds is {seeds}", "evaluate with one seed or more")
    if traces not in get_args(Traces):
        raise UsageError(f"traces is {traces!r}", f"choose {', '.join(get_args(Traces))}")
    check_named_judges(judge_endpoints, strategy)
    config = SolveConfig(
        temperature=temperature, seed=seed, samples=samples, timeout=timeout, max_turns=max_turns,
        max_tokens=max_tokens, crop_ablation=crop_ablation, media=media_choice(page, None, fps, frames),
    )  # fmt: skip
    check_arguments(config, without=("tolerate", "media"))
    strategy_names = [strategy] if strategy is None or isinstance(strategy, str) else list(strategy)
    graders = Graders(
        judge_endpoint, judge_model, os.environ.get(JUDGE_KEY), judge_endpoints, None if system is None else str(system)
    )
    configs = [
        strategies.resolved(msgspec.structs.replace(config, strategy=each, seed=number), graders)
        for number in range(seed, seed + seeds)
        for each in strategy_names
    ]
    priced = read_prices(str(prices)) if prices else None
    places = [model_at(str(name), endpoint) for name in names] or [(None, endpoint)]
    choices = [choice_of(name, **of_choice | {"endpoint": url}) for name, url in places]
    setups = [
        Setup(choice, each, offline=offline, graders=graders, or_here=choice.endpoint == endpoint, prices=priced)
        for choice in choices
        for each in configs
    ]
    arguments = None if environment_args is None else msgspec.json.encode(environment_args).decode()
    paths = {"against_run": against_run, "sign": sign}
    named = {name: None if path is None else str(path) for name, path in paths.items()}
    measured = asked_columns(environment, arguments, answer_as, against=against, looks=looks, **named)
    if roles and chosen_pipeline is None:
        raise UsageError("roles= belongs to pipeline=", 'pipeline="FILE.py"')
    unread = {"looks": looks, "against": against, "max_cost": max_cost is not None}
    solver = pipeline_of(
        chosen_pipeline, {name: str(who) for name, who in roles.items()}, setups, unread,
        {"models": models, "endpoint": endpoint},
    )  # fmt: skip
    request = EvalRequest(
        benchmark=str(benchmark), setups=setups, to=None if to is None else str(to), limit=limit, split=split,
        chosen=check_chosen(columns, OF_PROBLEMS), judge_endpoint=judge_endpoint, judge_model=judge_model,
        traces=traces, at_once=concurrency, solver=solver, columns=measured, trust_rows=trust_rows, max_cost=max_cost,
    )  # fmt: skip
    evaluated = run(request, Reporter(on_progress))
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
    benchmark = own or benchmarks.find(request.benchmark, here, request.split, report, request.chosen)
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
