"""Has a harness that others keep ask the problems of an evaluation, and shows its figures."""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.backends.interface import Sampling
from virc.core import processes
from virc.core.errors import DataError, EngineError, NetworkError, UsageError
from virc.core.files import expanded, write_whole
from virc.core.locks import held
from virc.core.plan import Plan
from virc.envs import environment as environments
from virc.envs import making
from virc.envs.pins import pinned
from virc.evaluation import evaluate
from virc.evaluation.benchmarks import registry as benchmarks
from virc.evaluation.benchmarks.registry import Found
from virc.evaluation.evaluate import Problem
from virc.evaluation.harness import harness
from virc.evaluation.harness.harness import ENGINE, Outcome, Run
from virc.evaluation.summary import SCHEMA, Score
from virc_cli.console import output, plans, progress
from virc_cli.console.run_lines import table
from virc_cli.evaluating import Asked, interval, percent
from virc_cli.solving.setup import Setup

_LOOK = 1.0  # seconds
_END_OF_LOG = 2**14  # bytes
_UNMEASURED = {"pairs": None, "commonest": None, "crop_ablation": None, "against": None}
"""What `virc eval` says and a harness does not measure."""


class Ours(msgspec.Struct, frozen=True):
    """Problems of ours that the harness is to ask."""

    found: Found
    problems: Mapping[str, Problem]
    take: int | None

    def rows(self, offline: bool) -> Iterator[dict[str, Any]]:
        """They as the task holds them, in the order of `problems`."""
        by_line = {problem.line: problem for problem in self.problems.values()}
        for row in evaluate.to_ask(self.found, self.problems, self.take):
            yield harness.row_of(row, by_line[row.line], self.found.base, offline)


def refuse(options: Mapping[str, bool]) -> None:
    """Refuse the options that would be ignored.

    Args:
        options: option -> whether it was given.

    Raises:
        UsageError: one was.
    """
    given = next((name for name, is_given in options.items() if is_given), None)
    if given:
        sentence = f"{given} is not for --harness: the endpoint solves, and the harness counts"
        raise UsageError(sentence, f"leave {given} away, or --harness")


def run(asked: Asked, dry_run: bool, as_json: bool) -> None:
    """Have the harness ask each model, and print the figures.

    Args:
        dry_run: only print what it would get.

    Raises:
        VircError: it could not ask everything; what it wrote is kept.
    """
    ours = _ours(asked)
    name = ours.found.name if ours else asked.benchmark
    folder = (expanded(asked.to) if asked.to else evaluate.folder_of(name, "none")).absolute()
    known = {"folder": str(folder), "benchmark": name, "problems": len(ours.problems) if ours else None}
    output.know(**known)
    planned = _planned(asked, ours, folder, harness.task_of(name, ours is not None), dry_run)
    if dry_run:
        _show(planned, ours, known, as_json)
        return
    environment = making.find(ENGINE, None)
    making.made(environment, output.note)
    environments.recipes_in(environment)
    came = [
        (run, _came(run, plan, ours, setup)) for (run, plan), setup in zip(planned, asked.setups, strict=True)
    ]
    scores = [_score(each, outcome, ours) for each, outcome in came]
    version = f"lmms-eval {pinned(environment)['lmms-eval']}"
    fields = {**known, "problems": came[0][1].problems, **_fields(version, came, scores)}
    output.know(**fields)
    _check(came)
    if as_json:
        output.emit({"schema": SCHEMA, **fields, **_UNMEASURED, "error": None})
        return
    output.line(f"{name}: {came[0][1].problems} problems, asked by {version}")
    output.line("")
    for line in table(list(_table(came, scores))):
        output.line(line)
    for _, outcome in came:
        output.note(f"what it wrote: {outcome.results}")


def _planned(
    asked: Asked, ours: Ours | None, folder: Path, task: str, dry_run: bool
) -> list[tuple[Run, Plan]]:
    """What is started for each model."""
    environment = making.find(ENGINE, None)
    python = environments.interpreter(environment) or environment.python
    recipes = environments.recipes_place(environment)
    planned = []
    for setup in asked.setups:
        run = Run(folder, _served(setup, dry_run), task)
        planned.append((run, harness.plan(run, _wanted(asked, setup, ours), python, recipes)))
    return planned


def _ours(asked: Asked) -> Ours | None:
    """The problems, where the name stands for some of ours."""
    if not harness.is_ours(asked.benchmark):
        refuse({"--split": asked.split is not None})
        return None
    found = benchmarks.find(asked.benchmark, Path.cwd(), asked.split)
    faults: list[DataError] = []
    problems = evaluate.problems_of(found, asked.take, faults.append)
    if any(problem.boxes is not None for problem in problems.values()):
        raise DataError(
            f"{found.name} asks for boxes, which the harness cannot score", "leave --harness away"
        )
    if faults:
        output.warn(f"rows of {found.name} left out: {len(faults)}; the first: {faults[0].message}")
    return Ours(found, problems, asked.take)


def _served(setup: Setup, dry_run: bool) -> str:
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
    if backend.published_protocol() and not dry_run:  # meant for who runs the loop
        sentence = f"{choice.endpoint} draws the replies of {backend.model} and carries out none of its calls"
        output.warn(sentence, "virc serve --agent answers with its looks")
    for warning in harness.warnings_of(backend.model):
        output.warn(warning)
    return backend.model


def _wanted(asked: Asked, setup: Setup, ours: Ours | None) -> harness.Wanted:
    return harness.Wanted(
        endpoint=str(setup.choice.endpoint),
        api_key=setup.choice.api_key,
        sampling=Sampling(setup.config.first_temperature(), seed=setup.config.seed),
        own=ours is not None,
        at_once=asked.at_once or harness.AT_ONCE,
        take=asked.take,
        offline=setup.offline,
        hub_token=os.environ.get("HF_TOKEN"),
    )


def _came(run: Run, plan: Plan, ours: Ours | None, setup: Setup) -> Outcome:
    """Have one model asked.

    Raises:
        EngineError: it wrote no results, or asked other problems.
        ConfigError: it has no such task, or another run is at work in that folder.
    """
    run.place.mkdir(parents=True, exist_ok=True)
    with held(run.place):
        plans.write(plan)
        if ours:
            rows = (msgspec.json.encode(row) + b"\n" for row in ours.rows(setup.offline))
            write_whole(run.problems, b"".join(rows))
        before = run.results()
        run.log.unlink(missing_ok=True)
        output.note(f"lmms-eval asks {run.model}; it begins after some 20 s, and writes {run.log}")
        try:
            code = _followed(run, plan)
        finally:
            shutil.rmtree(run.cache, ignore_errors=True)
        new = run.results() - before
    if not new:
        raise harness.failure(run, run.log.read_text("utf-8", "replace"), code)
    outcome = harness.read(new.pop(), run.task, setup.choice.api_key)
    if ours and len(outcome.texts) != len(ours.problems):
        sentence = f"lmms-eval asked {len(outcome.texts)} of {len(ours.problems)} problems"
        raise EngineError(sentence, f"see {run.log}")
    return outcome


def _followed(run: Run, plan: Plan) -> int:
    """Run it to its end, and say how far it is; returns its exit code."""
    began = None  # asking, after it has read all its tasks
    with progress.shown() as show, processes.started(plan.step, run.log) as process:
        while (code := process.wait(_LOOK)) is None:
            if far := harness.progress(_end_of(run.log)):
                done, of = far
                began = began or time.monotonic()
                left = (time.monotonic() - began) / done * (of - done) if done else 0
                ahead = f"; about {progress.duration(left)} left" if left else ""
                show(f"{run.model}: {done} of {of} problems{ahead}")
    return code


def _end_of(log: Path) -> bytes:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _END_OF_LOG))
        return file.read()


def _check(came: Sequence[tuple[Run, Outcome]]) -> None:
    """Refuse figures in which a request that failed counts as a wrong answer."""
    for run, outcome in came:
        if outcome.failures:
            count = f"{len(outcome.failures)} of {outcome.problems} requests to {run.model} failed"
            sentence = f"{count}, which lmms-eval counts as wrong answers; the first: {outcome.failures[0]}"
            raise NetworkError(sentence, f"the same command asks all again; see {run.log}")


def _score(run: Run, outcome: Outcome, ours: Ours | None) -> Score | None:
    """The share of right answers as `virc eval` counts; None where there is no telling."""
    if ours is None or outcome.failures:
        return None
    return harness.by_rule(ours.problems, run.model, outcome.texts)


def _fields(
    version: str, came: Sequence[tuple[Run, Outcome]], scores: Sequence[Score | None]
) -> dict[str, Any]:
    """What came of it, as a part of the JSON object."""
    return {
        "models": [
            {"name": run.model, "score": score and msgspec.to_builtins(score)}
            for (run, _), score in zip(came, scores, strict=True)
        ],
        "harness": [
            {
                "name": version,
                "model": run.model,
                "task": run.task,
                "figures": msgspec.to_builtins(outcome.figures),
                "answered": outcome.answered,
                "failed": len(outcome.failures),
                "results": str(outcome.results),
                "log": str(run.log),
            }
            for run, outcome in came
        ],
    }


def _table(came: Sequence[tuple[Run, Outcome]], scores: Sequence[Score | None]) -> Iterator[tuple[str, ...]]:
    """Every figure of every model; that of `virc eval` has its interval."""
    yield ("model", "task", "metric", "value", "", "of")
    for (run, outcome), score in zip(came, scores, strict=True):
        for each in outcome.figures:
            how = "" if each.filter == "none" else f" ({each.filter})"
            error = "" if each.stderr is None else f"± {each.stderr:.4f}"
            yield (run.model, each.task, each.metric + how, f"{each.value:.4f}", error, str(each.of or "-"))
        if score:
            yield (
                run.model,
                run.task,
                "right, as virc eval counts",
                percent(score.share),
                interval(score),
                str(score.of),
            )


def _show(
    planned: Sequence[tuple[Run, Plan]], ours: Ours | None, known: Mapping[str, Any], as_json: bool
) -> None:
    """Print what the harness would get."""
    if as_json:
        shown = [{"model": run.model, "task": run.task, **plans.fields(plan)} for run, plan in planned]
        output.emit(
            {"schema": SCHEMA, **known, "models": None, "harness": shown, **_UNMEASURED, "error": None}
        )
        return
    for run, plan in planned:
        plans.show(plan)
        if ours:
            first = json.dumps(next(ours.rows(False)), ensure_ascii=False)
            output.line(f"\n# {run.problems}: {len(ours.problems)} lines, such as")
            output.line(first if len(first) <= 500 else f"{first[:500]}…")
