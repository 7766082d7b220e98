"""Has lmms-eval ask the problems of an evaluation."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError, EngineError, NetworkError, UsageError
from virc.core.events import Reporter
from virc.core.files import expanded, write_whole
from virc.core.locks import held
from virc.core.plan import Plan
from virc.core.processes import started
from virc.core.text import duration
from virc.envs import environment as environments
from virc.envs import making
from virc.envs.pins import pinned
from virc.evaluation.answers import default_folder
from virc.evaluation.api import EvalRequest, find_problems
from virc.evaluation.benchmarks import registry as benchmarks
from virc.evaluation.benchmarks.registry import LocalBenchmark
from virc.evaluation.harness import harness
from virc.evaluation.harness.harness import ENGINE, HarnessRun, Outcome
from virc.evaluation.problems import EvalProblem, rows_of
from virc.evaluation.summary import Score
from virc.solving.setup import Setup

_POLL = 1.0  # seconds
_END_OF_LOG = 2**14  # bytes


class OwnTask(msgspec.Struct, frozen=True):
    """Problems of ours that lmms-eval is to ask."""

    benchmark: LocalBenchmark
    problems: Mapping[str, EvalProblem]
    limit: int | None

    def rows(self, offline: bool) -> Iterator[dict[str, Any]]:
        """The rows of the task, in the order of `problems`."""
        by_line = {problem.line: problem for problem in self.problems.values()}
        for row in rows_of(self.benchmark, self.problems, self.limit):
            yield harness.row_of(row, by_line[row.line], self.benchmark.base, offline)


class PreparedHarness(msgspec.Struct, frozen=True):
    """What is to be started: a process for each model.

    Args:
        own: our problems; None of a task of lmms-eval.
        runs: each model's part, its process, and its settings.
    """

    name: str
    folder: Path
    own: OwnTask | None
    runs: Sequence[tuple[HarnessRun, Plan, Setup]]


class ModelOutcome(msgspec.Struct, frozen=True):
    """What came of a model.

    Args:
        score: the share of right answers as `virc eval` counts; None where that is not known.
    """

    run: HarnessRun
    outcome: Outcome
    score: Score | None


def prepare(request: EvalRequest, dry_run: bool, report: Reporter) -> PreparedHarness:
    """Plan the processes; nothing is written.

    Args:
        dry_run: ask the endpoint only what the user does not say.

    Raises:
        VircError: the problems, the endpoint or the folder cannot be used.
    """
    own = _own_task(request, report)
    name = own.benchmark.name if own else request.benchmark
    folder = (expanded(request.to) if request.to else default_folder(name, "none")).absolute()
    task = harness.task_of(name, own is not None)
    environment = making.find(ENGINE, None)
    python = environments.interpreter(environment) or environment.python
    recipes = environments.recipes_place(environment)
    runs = []
    for setup in request.setups:
        run = HarnessRun(folder, _served(setup, dry_run, report), task)
        at_once, token = request.at_once or harness.AT_ONCE, os.environ.get("HF_TOKEN")
        plan = harness.plan(run, setup, own is not None, python, recipes, at_once, request.limit, token)
        runs.append((run, plan, setup))
    return PreparedHarness(name, folder, own, runs)


def run(prepared: PreparedHarness, report: Reporter) -> tuple[str, list[ModelOutcome]]:
    """Have lmms-eval ask each model.

    Returns:
        Its name with its version, and what came of each model.

    Raises:
        VircError: it could not ask everything; what it wrote is kept.
    """
    environment = making.find(ENGINE, None)
    making.made(environment, report.send)
    environments.recipes_in(environment)
    outcomes = []
    for each, plan, setup in prepared.runs:
        outcome = _run(each, plan, prepared.own, setup, report)
        score = None
        if prepared.own and not outcome.failures:
            score = harness.by_rule(prepared.own.problems, each.model, outcome.texts)
        outcomes.append(ModelOutcome(each, outcome, score))
    return f"lmms-eval {pinned(environment)['lmms-eval']}", outcomes


def check(outcomes: Sequence[ModelOutcome]) -> None:
    """Refuse figures in which a request that failed counts as a wrong answer.

    Raises:
        NetworkError: a request failed.
    """
    for each in outcomes:
        if each.outcome.failures:
            count = f"{len(each.outcome.failures)} of {each.outcome.problems} requests to {each.run.model} failed"
            first = each.outcome.failures[0]
            sentence = f"{count}, which lmms-eval counts as wrong answers; the first: {first}"
            raise NetworkError(sentence, f"the same command asks all again; see {each.run.log}")


def _own_task(request: EvalRequest, report: Reporter) -> OwnTask | None:
    """Our problems, where the name is one of ours."""
    if not harness.is_ours(request.benchmark):
        if request.split is not None:
            raise UsageError("--split is not for --harness with a task of lmms-eval", "leave --split out")
        return None
    benchmark = benchmarks.find(request.benchmark, Path.cwd(), request.split)
    problems = find_problems(benchmark, request.limit, report)
    if any(problem.boxes is not None for problem in problems.values()):
        raise DataError(f"{benchmark.name} asks for boxes, which the harness cannot score", "leave --harness out")
    return OwnTask(benchmark, problems, request.limit)


def _served(setup: Setup, dry_run: bool, report: Reporter) -> str:
    """The name of the model that the endpoint serves."""
    from virc.backends.openai.backend import OpenAIBackend

    choice = setup.choice
    if choice.endpoint is None:
        hint = "virc serve MODEL --agent, then --endpoint http://127.0.0.1:8000/v1"
        raise UsageError("--harness asks an endpoint, and none was named", hint)
    if dry_run and choice.model:
        return choice.model
    backend = OpenAIBackend(choice.endpoint, choice.model, choice.api_key)
    backend.close()
    if backend.published_protocol() and not dry_run:  # it is for a client that runs the tool loop
        sentence = f"{choice.endpoint} writes the replies of {backend.model} and carries out none of its calls"
        report.warn(sentence, "virc serve --agent runs the tool loop")
    for warning in harness.warnings_of(backend.model):
        report.warn(warning)
    return backend.model


def _run(run: HarnessRun, plan: Plan, own: OwnTask | None, setup: Setup, report: Reporter) -> Outcome:
    """Have one model asked.

    Raises:
        EngineError: it wrote no results, or asked other problems.
        ConfigError: it has no such task, or another run works in that folder.
    """
    run.place.mkdir(parents=True, exist_ok=True)
    with held(run.place):
        for path, text in plan.files.items():
            write_whole(Path(path), text.encode())
        if own:
            rows = (msgspec.json.encode(row) + b"\n" for row in own.rows(setup.offline))
            write_whole(run.problems, b"".join(rows))
        before = run.results()
        run.log.unlink(missing_ok=True)
        report.note(f"lmms-eval asks {run.model}; it begins after some 20 s, and writes {run.log}")
        try:
            code = _followed(run, plan, report)
        finally:
            shutil.rmtree(run.cache, ignore_errors=True)
        new = run.results() - before
    if not new:
        raise harness.failure(run, run.log.read_text("utf-8", "replace"), code)
    outcome = harness.read(new.pop(), run.task, setup.choice.api_key)
    if own and len(outcome.texts) != len(own.problems):
        sentence = f"lmms-eval asked {len(outcome.texts)} of {len(own.problems)} problems"
        raise EngineError(sentence, f"see {run.log}")
    return outcome


def _followed(run: HarnessRun, plan: Plan, report: Reporter) -> int:
    """Run it to its end, and report how far it is; returns its exit code."""
    began = None  # asking, after it has read all its tasks
    with started(plan.step, run.log) as process:
        while (code := process.wait(_POLL)) is None:
            with run.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _END_OF_LOG))
                far = harness.progress(log.read())
            if far:
                done, of = far
                began = began or time.monotonic()
                left = (time.monotonic() - began) / done * (of - done) if done else 0
                ahead = f"; about {duration(left)} left" if left else ""
                report.progress(f"{run.model}: {done} of {of} problems{ahead}")
    return code
