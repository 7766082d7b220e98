"""An evaluation: models are asked the same problems, and their answers are scored and compared."""

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import get_args

import msgspec

from virc.config.validation import check_arguments
from virc.core.errors import DataError, NetworkError, NoAnswerError, UsageError, VircError
from virc.core.events import OnEvent, Reporter
from virc.core.extras import install
from virc.core.files import expanded, write_json, write_whole
from virc.core.result_log import Claims, Ledger
from virc.core.text import clause, duration
from virc.evaluation import rewarding
from virc.evaluation.against import beside, published_for
from virc.evaluation.answers import (
    AnswerLine,
    Answers,
    EvalFolder,
    Traces,
    answered_before,
    answers_in,
    check_crop_ablation,
    default_folder,
)
from virc.evaluation.benchmarks import registry as benchmarks
from virc.evaluation.benchmarks.registry import LocalBenchmark
from virc.evaluation.boxes import overlap
from virc.evaluation.problems import EvalProblem, problems_of, rows_of
from virc.evaluation.report import render
from virc.evaluation.rewarded import Rewarded
from virc.evaluation.rewarding import Rewarding
from virc.evaluation.summary import SCHEMA, Answered, Reported, Result, Summary, summarise
from virc.evaluation.traces import mark_traces, trace_of
from virc.evaluation.verdicts import (
    JUDGED,
    Judgement,
    ask_judge,
    can_do_algebra,
    doubtful,
    is_right,
    judged,
    verdicts_by_rule,
    with_judge,
)
from virc.models.load import choice_of
from virc.rewards.graders import choosing
from virc.rewards.means import JUDGE_KEY
from virc.scoring.judge import Judge
from virc.scoring.score import Verdict
from virc.solving.ablation import CropAblation
from virc.solving.batch import BatchConfig, RowDone, as_line, made_with, solve_batch
from virc.solving.one import SCHEMA as SOLVE
from virc.solving.one import SolveConfig
from virc.solving.outcome import Fields
from virc.solving.pipelines import batch as pipelines
from virc.solving.pipelines.solve import PipelineSetup
from virc.solving.pipelines.solve import facts as pipeline_facts
from virc.solving.pipelines.solve import ready as pipeline_ready
from virc.solving.progress import Progress, failed_rows
from virc.solving.rows import file_name
from virc.solving.setup import OnFacts, Setup, open_setup
from virc.solving.strategies import registry as strategies


class EvalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is evaluated: every setup on one benchmark, all with the same crop ablation.

    Args:
        to: folder of the evaluation; None: that of the benchmark.
        limit: only the first so many problems.
        judge_endpoint: server asked about answers that no rule finds right.
        judge_model: which model there; None: the only one.
        at_once: rows in work at a time; None: as many as suit the model.
        reward: a system, or the path of its YAML, whose reward the answers are given.
        judge_endpoints: of further judges of that reward, by the names that it has for them.
        pipeline: what is evaluated in place of the setups, without a reward and a crop ablation.
    """

    benchmark: str
    setups: Sequence[Setup]
    to: str | None = None
    limit: int | None = None
    split: str | None = None
    judge_endpoint: str | None = None
    judge_model: str | None = None
    traces: Traces = "wrong"
    against: bool = False
    at_once: int | None = None
    reward: str | None = None
    judge_endpoints: Mapping[str, str] = {}
    pipeline: PipelineSetup | None = None

    @property
    def crop_ablation(self) -> CropAblation:
        """What crops are cut from."""
        return self.setups[0].config.crop_ablation


class Evaluated(msgspec.Struct, frozen=True):
    """The result of an evaluation: `failed` rows, of them the `wrong` ones, and answers left `undecided`.

    `unrewarded` are answers that the judge of the reward failed on.
    """

    summary: Summary
    folder: EvalFolder
    failed: int
    wrong: int
    undecided: int
    unrewarded: int = 0

    @property
    def fields(self) -> Fields:
        """The fields of `virc.eval/1`."""
        return {**msgspec.to_builtins(self.summary), "folder": str(self.folder.folder), "harness": None}

    def check(self) -> None:
        """Raise a VircError where rows failed, or the judge failed on answers."""
        if self.failed:
            raise failed_rows(self.failed, self.wrong)
        for count, judge in ((self.undecided, "the judge"), (self.unrewarded, "the judge of the reward")):
            if count:
                raise NetworkError(f"{judge} failed on {count} answers", "the same command asks it again")


def evaluate(
    benchmark: str | Path,
    models: str | Path | Sequence[str | Path],
    *,
    endpoint: str | None = None,
    api_key: str | None = None,
    to: str | Path | None = None,
    limit: int | None = None,
    split: str | None = None,
    system: str | Path | None = None,
    protocol: str | Path | None = None,
    family: str | None = None,
    judge_endpoint: str | None = None,
    judge_model: str | None = None,
    reward: str | Path | None = None,
    judge_endpoints: Mapping[str, str] = {},
    traces: Traces = "wrong",
    crop_ablation: CropAblation = "none",
    against: bool = False,
    samples: int = 1,
    strategy: str | Sequence[str] | None = None,
    temperature: float | None = None,
    max_pixels: int | None = None,
    max_tokens: int | None = None,
    max_turns: int = 16,
    timeout: float | None = None,
    seed: int = 0,
    device: str | None = None,
    offline: bool = False,
    concurrency: int | None = None,
    on_progress: OnEvent | None = None,
) -> Summary:
    """Ask models the problems of a benchmark, score their answers, and compare the models.

    Args:
        benchmark: its name, or a JSONL file of the batch format with an answer in each row.
        models: as `virc.solve` takes one.
        endpoint: an OpenAI-compatible server, which serves all models; None: they run in this process.
        to: folder of the evaluation; None: `evals/BENCHMARK`.
        limit: only the first so many problems.
        split: part of the benchmark.
        judge_endpoint: server asked about answers that no rule finds right; its key is `VIRC_JUDGE_KEY`.
        reward: a system, or the path of its YAML, whose reward the answers are given; its judge is that of
            `judge_endpoint`, where one is named.
        judge_endpoints: of further judges of the reward, by the names that it has for them.
        traces: which answers keep their trace.
        crop_ablation: what crops are cut from.
        against: compare with the published figures.
        strategy: how answers are found, as `virc.solve` takes it; of several, each model is evaluated by each.
        concurrency: rows in work at a time; None: as many as suit the model.
        on_progress: gets notes, warnings and progress.

    Raises:
        UsageError, ConfigError, DataError: the benchmark, a model or the folder cannot be used.
        VircError: rows failed; the other answers are kept, and the same call resumes.
    """
    names = [models] if isinstance(models, str | Path) else list(models)
    if not names:
        raise UsageError("no model is named", 'evaluate(benchmark, "tiny")')
    if traces not in get_args(Traces):
        raise UsageError(f"traces is {traces!r}", f"choose {', '.join(get_args(Traces))}")
    config = SolveConfig(
        temperature=temperature,
        seed=seed,
        samples=samples,
        timeout=timeout,
        max_turns=max_turns,
        max_tokens=max_tokens,
        crop_ablation=crop_ablation,
    )
    check_arguments(config, without=("tolerate",))
    several = [strategy] if strategy is None or isinstance(strategy, str) else list(strategy)
    graders = choosing.graders(
        judge_endpoint, judge_model, os.environ.get(JUDGE_KEY), judge_endpoints, None if system is None else str(system)
    )
    configs = [strategies.settled(msgspec.structs.replace(config, strategy=each), graders) for each in several]
    how = (endpoint, api_key, system, protocol, family, (), device, max_pixels, timeout)
    setups = [
        Setup(choice_of(name, *how), each, offline=offline, graders=graders) for name in names for each in configs
    ]
    request = EvalRequest(
        benchmark=str(benchmark),
        setups=setups,
        to=None if to is None else str(to),
        limit=limit,
        split=split,
        judge_endpoint=judge_endpoint,
        judge_model=judge_model,
        traces=traces,
        against=against,
        at_once=concurrency,
        reward=None if reward is None else str(reward),
        judge_endpoints=judge_endpoints,
    )
    evaluated = run(request, Reporter(on_progress))
    evaluated.check()
    return evaluated.summary


def run(request: EvalRequest, report: Reporter, on_facts: OnFacts = lambda _: None) -> Evaluated:
    """Evaluate; rows that fail do not end it.

    Raises:
        VircError: all of it cannot be done; answers so far are kept.
    """
    if request.judge_model and not request.judge_endpoint:
        raise UsageError("--judge-model names a model of a judge's endpoint", "--judge-endpoint URL")
    if request.against and any(setup.config.strategy for setup in request.setups):
        raise UsageError("--against compares a model as it was published, without a strategy", "leave --strategy out")
    reward = _reward(request)
    benchmark = benchmarks.find(request.benchmark, Path.cwd(), request.split)
    ablation = request.crop_ablation
    folder = EvalFolder(expanded(request.to) if request.to else default_folder(benchmark.name, ablation))
    on_facts({"folder": str(folder.folder), "benchmark": benchmark.name})
    check_crop_ablation(folder, ablation)
    problems = find_problems(benchmark, request.limit, report, ablation, reward is not None)
    if reward:
        rewarding.check(reward, rows_of(benchmark, problems, request.limit), benchmark.base, report)
    if request.judge_endpoint:
        _judge(request).close()  # a judge that cannot be asked fails before the models are asked
    if request.pipeline:
        progress = [_answer_by_pipeline(request.pipeline, request, benchmark, folder, problems, report)]
    else:
        progress = [_answer(setup, request, reward, benchmark, folder, problems, report) for setup in request.setups]
    asked = [each.model for each in progress]
    summary, undecided, unrewarded = _score(request, reward, benchmark, folder, problems, asked, report)
    failed, wrong = sum(each.failed for each in progress), sum(each.wrong for each in progress)
    return Evaluated(summary, folder, failed, wrong, undecided, unrewarded)


def _reward(request: EvalRequest) -> Rewarding | None:
    """The reward that is asked for, before anything else is done."""
    if request.reward is None:
        if request.judge_endpoints:
            name = next(iter(request.judge_endpoints))
            raise UsageError(f"--judge-endpoint {name}=URL names a judge of a reward", "--reward SYSTEM")
        return None
    if request.crop_ablation == "counterfactual":
        raise UsageError("--reward needs the row's own answer, not that of its counterfactual", "leave one of both out")
    return rewarding.of(request.reward, request.judge_endpoint, request.judge_model, request.judge_endpoints)


def find_problems(
    benchmark: LocalBenchmark,
    limit: int | None,
    report: Reporter,
    crop_ablation: CropAblation = "none",
    rewarded: bool = False,
) -> dict[str, EvalProblem]:
    """As `problems_of`, with a warning about rows that are left out."""
    faults: list[DataError] = []
    problems = problems_of(benchmark, limit, faults.append, crop_ablation, rewarded)
    if faults:
        report.warn(f"rows of {benchmark.name} left out: {len(faults)}; the first: {faults[0].message}")
    return problems


class _ModelProgress(Progress):
    """How far one model is, and how it does by the rules that take no time."""

    def __init__(self, model: str, problems: Mapping[str, EvalProblem], resumed: int, report: Reporter) -> None:
        super().__init__(resumed, report)
        self.right, self.unanswered = 0, 0
        self.model, self._problems, self._began = model, problems, time.monotonic()

    def add(self, done: RowDone) -> None:
        self.unanswered += isinstance(done.error, NoAnswerError)
        self.right += is_right(done, self._problems[str(done.row.id)])
        super().add(done)

    def __str__(self) -> str:
        counts = f"{self.right} right, {self.unanswered} without an answer, {self.failed} failed"
        before = f"; {self.resumed} were done before" if self.resumed else ""
        left = len(self._problems) - self.done - self.resumed
        rate = (time.monotonic() - self._began) / self.done if self.done else 0
        ahead = f"; about {duration(left * rate)} left" if left > 0 and rate else ""
        return f"{self.model}: {self.done} of {len(self._problems)} problems: {counts}{before}{ahead}"


class _JudgeProgress(Progress):
    """How many answers the judge has judged."""

    def __init__(self, judge: str, of: int, resumed: int, report: Reporter) -> None:
        super().__init__(resumed, report)
        self._right, self._judge, self._of = 0, judge, of

    def add(self, done: RowDone) -> None:
        self._right += bool(done.fields.get("same"))
        super().add(done)

    def __str__(self) -> str:
        before = f"; {self.resumed} were judged before" if self.resumed else ""
        counts = f"{self._right} right, {self.failed} failed"
        return f"{self._judge} has judged {self.done} of {self._of} answers: {counts}{before}"


def _answer(
    setup: Setup,
    request: EvalRequest,
    reward: Rewarding | None,
    benchmark: LocalBenchmark,
    folder: EvalFolder,
    problems: Mapping[str, EvalProblem],
    report: Reporter,
) -> _ModelProgress:
    """Let one model answer what it has not answered yet, and score all its answers by the reward."""
    opened, known = open_setup(setup, report, lambda _: None)
    if setup.config.strategy:  # beside the same model without it
        opened = msgspec.structs.replace(opened, name=f"{opened.name} ({setup.config.strategy})")
        known |= {"model": opened.name}
    if request.against:  # what would be refused at the end is refused before anything is asked
        published_for(opened.name, Path.cwd(), setup.choice.system)
    traces = None if request.traces == "none" else folder.traces(opened.name)
    solving = msgspec.structs.replace(setup.config, keep_images=traces is not None)
    config = BatchConfig(solving, benchmark.base, traces, setup.offline, request.at_once, replies=True)

    def solve(claims: Claims, on_row: Callable[[RowDone], None]) -> None:
        solve_batch(config, opened, rows_of(benchmark, problems, request.limit), claims, on_row, report.note)

    graders = strategies.grader_of(setup.config, setup.graders, opened, report)
    with closing(opened), graders as grader:
        config = msgspec.structs.replace(config, grader=grader)
        progress = _kept(solve, known, request, folder, problems, report)
        if reward:
            lines = answers_in(folder, [opened.name]).get(opened.name, {})
            answered = {id: line for id, line in lines.items() if line.answers(problems.get(id))}
            rows = rows_of(benchmark, problems, request.limit)
            rewarding.score(reward, config, opened, rows, answered, folder, report)
    return progress


def _answer_by_pipeline(
    setup: PipelineSetup,
    request: EvalRequest,
    benchmark: LocalBenchmark,
    folder: EvalFolder,
    problems: Mapping[str, EvalProblem],
    report: Reporter,
) -> _ModelProgress:
    """Let a pipeline answer what it has not answered yet."""
    with pipeline_ready(setup, report) as roles:
        known = pipeline_facts(setup, roles)
        traces = None if request.traces == "none" else folder.traces(known["model"])
        config = pipelines.BatchConfig(setup, roles, benchmark.base, traces, request.at_once)

        def solve(claims: Claims, on_row: Callable[[RowDone], None]) -> None:
            pipelines.solve_batch(config, rows_of(benchmark, problems, request.limit), claims, on_row, report.note)

        return _kept(solve, known, request, folder, problems, report)


def _kept(
    solve: Callable[[Claims, Callable[[RowDone], None]], None],
    known: Fields,
    request: EvalRequest,
    folder: EvalFolder,
    problems: Mapping[str, EvalProblem],
    report: Reporter,
) -> _ModelProgress:
    """Keep the answers that `solve` hands over; it gets those that a former run kept. `known` is in every line."""
    name = str(known["model"])
    blank = {"answer": None, "turns": None, "calls": None, "tokens": None, "trace": None}
    with Ledger(folder.answers(name), SOLVE, made_with(known), {NoAnswerError.code}, "--to") as ledger:
        progress = _ModelProgress(name, problems, answered_before(name, problems, ledger), report)

        def on_row(done: RowDone) -> None:
            if request.traces == "wrong" and is_right(done, problems[str(done.row.id)]):
                shutil.rmtree(folder.traces(name) / file_name(str(done.row.id)), ignore_errors=True)
                done = msgspec.structs.replace(done, fields={**done.fields, "trace": None})
            ledger.append(as_line(done, {**blank, **known}))
            progress.add(done)

        try:
            solve(ledger, on_row)
        finally:
            report.note(str(progress))
    return progress


def _score(
    request: EvalRequest,
    reward: Rewarding | None,
    benchmark: LocalBenchmark,
    folder: EvalFolder,
    problems: Mapping[str, EvalProblem],
    asked: Sequence[str],
    report: Reporter,
) -> tuple[Summary, int, int]:
    """The figures, and how many answers the judge, and that of the reward, failed on."""
    answers = answers_in(folder, asked)
    by_rule = verdicts_by_rule(problems, answers)
    judgements = doubtful(problems, answers, by_rule)
    verdicts: Mapping[tuple[str, str], Verdict | None] = by_rule
    if request.judge_endpoint and judgements:
        verdicts = with_judge(by_rule, judgements, _judged(request, folder, judgements, report))
    elif judgements and not can_do_algebra():
        report.warn("answers that are equal by algebra only count as wrong", install("eval"))
    rewards = rewarding.rewards_of(reward, folder, answers) if reward else {}
    results = _results(folder, problems, answers, verdicts, rewards)
    mark_traces(folder, results, reward.system if reward else "")
    first = {name: next(iter(lines.values())) for name, lines in answers.items()}
    facts = {
        name: {"protocol": line.protocol, "settings": {"device": line.device, **(line.settings or {})}}
        for name, line in first.items()
    }
    summary = summarise(benchmark.name, results, facts, request.crop_ablation, reward.facts if reward else None)
    if request.against:
        summary = msgspec.structs.replace(summary, against=_against(request, summary, asked))
    try:
        write_json(folder.folder / "summary.json", {"schema": SCHEMA, **msgspec.to_builtins(summary), "error": None})
        write_whole(folder.report, render(summary, results).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise VircError(f"cannot write {folder.folder}: {clause(error)}") from error
    unrewarded = sum(each.judge_failed for each in rewards.values())
    return summary, sum(verdict is None for verdict in verdicts.values()), unrewarded


def _results(
    folder: EvalFolder,
    problems: Mapping[str, EvalProblem],
    answers: Answers,
    verdicts: Mapping[tuple[str, str], Verdict | None],
    rewards: Mapping[tuple[str, str], Rewarded],
) -> list[Result]:
    """The results, problem by problem, in the order of the benchmark."""
    return [
        Result(
            id=problem.id,
            question=problem.question,
            reference=problem.key.answer if problem.key else "",
            categories=problem.categories,
            unreadable=problem.key is not None and problem.key.is_refusal,
            answers={
                model: _answered(folder, lines[id], verdicts.get((model, id)), problem, rewards.get((model, id)))
                for model, lines in answers.items()
                if id in lines and lines[id].answers(problem)
            },
        )
        for id, problem in problems.items()
    ]


def _answered(
    folder: EvalFolder, line: AnswerLine, verdict: Verdict | None, problem: EvalProblem, rewarded: Rewarded | None
) -> Answered:
    return Answered(
        answer=line.answer,
        right=verdict.right if verdict else False if line.answer is None else None,
        by=verdict.by if verdict else None,
        turns=line.turns or 0,
        calls=sum((line.calls or {}).values()),
        seconds=line.seconds or 0.0,
        tokens=(line.tokens or {}).get("completion"),
        prompt_tokens=(line.tokens or {}).get("prompt"),
        replies=line.replies,
        rejected=line.rejected,
        failure=line.failure,
        trace=trace_of(folder, line),
        reason=str(line.error["message"]) if line.error else None,
        evidence=line.evidence,
        overlap=None if problem.boxes is None else overlap(line.answer, problem.boxes, line.view),
        rewarded=rewarded,
    )


def _against(request: EvalRequest, summary: Summary, asked: Sequence[str]) -> list[Reported]:
    """The models that were asked now beside their published figures."""
    systems = dict(zip(asked, (setup.choice.system for setup in request.setups), strict=True))
    return [
        each
        for model in summary.models
        if model.name in systems
        for each in beside(model, summary.benchmark, published_for(model.name, Path.cwd(), systems[model.name]))
    ]


def _judge(request: EvalRequest) -> Judge:
    return Judge(str(request.judge_endpoint), request.judge_model, os.environ.get(JUDGE_KEY))


def _judged(
    request: EvalRequest, folder: EvalFolder, judgements: Sequence[Judgement], report: Reporter
) -> dict[str, bool]:
    """What the judge says of the answers; those it has judged before it is not asked again."""
    with _judge(request) as judge:
        known: Fields = {"model": judge.model, "protocol": None, "settings": {}}
        with Ledger(folder.judged(judge.model), JUDGED, {"model": judge.model}, (), "--to") as ledger:
            progress = _JudgeProgress(judge.model, len(judgements), ledger.resumed, report)

            def on_row(done: RowDone) -> None:
                ledger.append(as_line(done, known, JUDGED))
                progress.add(done)

            try:
                ask_judge(judge, judgements, ledger, on_row, report.note)
            except VircError as error:  # what it was not asked is undecided: the answers are not lost
                report.warn(error.message, error.hint)
            finally:
                report.note(str(progress))
        return judged(folder, judge.model)
