"""Problems asked by lmms-eval, in an environment of its own, through any endpoint.

Everything is in the folder of the evaluation:

    harness/task/               our problems as a task of lmms-eval
    harness/MODEL.yaml          the configuration it is started with
    harness/MODEL.log           what it prints
    harness/MODEL/              what it writes: TIME_results.json, TIME_samples_TASK.jsonl

lmms-eval counts by its own rules; the answers to our problems are also scored as `virc eval` does. Read in lmms-eval
0.7.3: `models/chat/openai.py`, `protocol.py`, `api/task.py`, `__main__.py`.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from virc.backends.interface import Sampling
from virc.core.errors import ConfigError, DataError, EngineError, NetworkError, UsageError, VircError
from virc.core.events import Reporter
from virc.core.files import contents, expanded, is_file, write_whole
from virc.core.locks import held
from virc.core.plan import Plan, Step
from virc.core.processes import started
from virc.core.text import clause, duration, plain
from virc.engines import environment as engines
from virc.envs import environment as environments
from virc.envs import making
from virc.envs.pins import pinned
from virc.evaluation.answers import AnswerLine, default_folder
from virc.evaluation.benchmarks import registry as benchmarks
from virc.evaluation.benchmarks.registry import LocalBenchmark
from virc.evaluation.problems import EvalProblem, find_problems, rows_of
from virc.evaluation.request import EvalRequest
from virc.evaluation.summary import Score, score
from virc.evaluation.verdicts import verdicts_by_rule
from virc.solving.rows import Row, file_name
from virc.solving.setup import Setup

ENGINE = "eval"
AT_ONCE = 16
"""Problems an endpoint is asked at a time, as `virc eval` asks one; lmms-eval would ask 32."""

_CACHE = "cache"  # its copy of our problems while it runs
_POLL = 1.0  # seconds
_END_OF_LOG = 2**14  # bytes
_MAX_RESULTS = 2**30  # bytes
_FAILED = "[LMMS_EVAL_REQUEST_FAILED"
# Of lmms-eval; the client below it tries each three times. Its timeout is 600 s, and cannot be set.
_TRIES = 2
_PROGRESS = re.compile(rb"Model Responding:[^\r\n]*?\| (\d+)/(\d+) ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_URL = re.compile(r"data:|https?://", re.IGNORECASE)
_OF_OPENAI = re.compile(r"o1|o3|o4|gpt-5")
# The answer is text, also where it looks like a number: the field is compared as it is.
_TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: problems.jsonl
test_split: test
output_type: generate_until
doc_to_visual: !function virc.evaluation.harness.task.images
doc_to_text: question
doc_to_target: answer
metric_list:
- metric: exact_match
  aggregation: mean
  higher_is_better: true
  ignore_case: true
"""


class Figure(msgspec.Struct, frozen=True):
    """A figure of lmms-eval with its standard error, over `of` problems; `filter` is what it does with a reply."""

    task: str
    metric: str
    filter: str
    value: float
    stderr: float | None
    of: int | None


class Sample(msgspec.Struct, frozen=True):
    """A problem in the file of lmms-eval: its place in the task, from 0, and its reply, as counted and as it came."""

    doc_id: int
    filtered_resps: Any
    resps: Any = None

    @property
    def text(self) -> str:
        """The reply; empty where there is none."""
        return _text(self.filtered_resps)

    @property
    def failure(self) -> str | None:
        """Why there is none: lmms-eval counts a request that failed as a reply, a wrong one, with this in it."""
        came = _text(self.resps) or self.text
        return came.partition("]")[2].strip() or "no reason" if came.startswith(_FAILED) else None


class Outcome(msgspec.Struct, frozen=True):
    """The report of lmms-eval on a model.

    Args:
        problems: how many it asked about.
        answered: requests that were answered; `failures` has a reason for each of the others.
        texts: place in the task -> reply, of a task without parts.
        results: the file of results.
    """

    figures: Sequence[Figure]
    problems: int
    answered: int
    failures: Sequence[str]
    texts: Mapping[int, str]
    results: Path


class _Usage(msgspec.Struct):
    n_api_calls: int = 0


class _Results(msgspec.Struct):
    results: dict[str, dict[str, Any]]
    samples: dict[str, dict[str, int]] = msgspec.field(name="n-samples", default_factory=dict)
    usage: dict[str, Any] = {}


class HarnessRun(msgspec.Struct, frozen=True):
    """One model of an evaluation by the harness: its absolute folder, its served name, and the name of its task."""

    folder: Path
    model: str
    task: str

    @property
    def place(self) -> Path:
        """The folder of all that is the harness's."""
        return self.folder / "harness"

    @property
    def problems(self) -> Path:
        """The problems of a task of ours."""
        return self.place / "task" / "problems.jsonl"

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.place / f"{file_name(self.model)}.log"


class OwnTask(msgspec.Struct, frozen=True):
    """Problems of ours that lmms-eval is to ask."""

    benchmark: LocalBenchmark
    problems: Mapping[str, EvalProblem]
    limit: int | None

    def rows(self, offline: bool) -> Iterator[dict[str, Any]]:
        """The rows of the task, in the order of `problems`."""
        by_line = {problem.line: problem for problem in self.problems.values()}
        for row in rows_of(self.benchmark, self.problems, self.limit):
            yield row_of(row, by_line[row.line], self.benchmark.base, offline)


class PreparedHarness(msgspec.Struct, frozen=True):
    """Processes to be started, one for each model, with its settings; `own` is None for a task of lmms-eval."""

    name: str
    folder: Path
    own: OwnTask | None
    runs: Sequence[tuple[HarnessRun, Plan, Setup]]


class ModelOutcome(msgspec.Struct, frozen=True):
    """The results of a model; `score` is the share that `virc eval` counts as right, None where not known."""

    run: HarnessRun
    outcome: Outcome
    score: Score | None


_THEIRS_TOO = frozenset({"blink", "chartqa", "charxiv", "docvqa", "mathverse"})
"""Benchmarks of ours that have the name of a task of lmms-eval, which is meant where our rows are not here."""


def is_ours(name: str) -> bool:
    """Whether a name is one of our problems, not a task of lmms-eval."""
    if name in _THEIRS_TOO:
        with suppress(ConfigError):
            benchmarks.find(name, Path.cwd())
            return True
        return False
    hubs = {(benchmarks.get(each).HUB or each).lower() for each in benchmarks.names()}
    file = expanded(name)
    return (
        not name
        or name.lower() in {*benchmarks.names(), *hubs}
        or "/" in name
        or name.endswith((".jsonl", ".json"))
        or is_file(file)
        or is_file(file / benchmarks.PROBLEMS)
    )


def task_of(name: str, own: bool) -> str:
    """The name of a task: its own, or one made of the name of our problems that no task of its own has."""
    if own:
        return "virc_" + re.sub(r"\W", "_", name, flags=re.ASCII)
    if not re.fullmatch(r"[\w.+-]+", name, re.ASCII):
        raise UsageError(f"{plain(name, 80)} is no name of a task of the harness", "one name, such as mme")
    return name


def plan(
    run: HarnessRun,
    setup: Setup,
    own: bool,
    python: Path,
    recipes: Path,
    at_once: int = AT_ONCE,
    limit: int | None = None,
    hub_token: str | None = None,
) -> Plan:
    """The process and its files, but for the problems (`row_of`).

    Args:
        own: whether the task has our problems.
        python: of the environment `eval`.
        recipes: folder with the code of this package.
        limit: only the first so many, of a task of lmms-eval.
        hub_token: of the user, for a task of lmms-eval whose data is on the hub.
    """
    endpoint, sampling = str(setup.choice.endpoint), Sampling(setup.config.first_temperature())
    config = {
        "model": "openai",
        "model_args": _arguments(
            base_url=endpoint, model_version=run.model, num_concurrent=at_once, max_retries=_TRIES
        ),
        "tasks": run.task,
        "output_path": str(run.place),
        "log_samples": True,
        # A task of its own limits a reply to the length of an answer, too short for thoughts and tool calls.
        "gen_kwargs": _arguments(
            max_new_tokens=sampling.max_tokens, temperature=sampling.temperature, seed=setup.config.seed
        ),
    }
    files = {}
    if own:
        if re.search(r"[*?\[\]{}]", str(run.problems)):  # the library that reads them takes the path for a pattern
            sentence = f"lmms-eval cannot read a folder with such a name: {run.problems.parent}"
            raise ConfigError(sentence, "use another --to")
        config["include_path"] = str(run.problems.parent)
        files[str(run.problems.with_name(f"{run.task}.yaml"))] = _TASK.format(name=run.task)
    elif limit:
        config["limit"] = limit
    file = str(run.log.with_suffix(".yaml"))
    files[file] = msgspec.yaml.encode(config).decode()
    argv = (str(python), "-m", "lmms_eval", "--config", file)
    env = engines.environment(recipes) | _environment(run, setup, own, hub_token)
    return Plan(Step(argv, f"have lmms-eval ask {run.model}", env), files)


def warnings_of(model: str) -> list[str]:
    """What a user should know of how lmms-eval asks a model of that name."""
    if not _OF_OPENAI.search(model):
        return []
    return [f"lmms-eval takes {model} for a model of OpenAI's, by its name, and asks it without a temperature"]


def row_of(row: Row, problem: EvalProblem, base: Path, offline: bool) -> dict[str, Any]:
    """A problem as a row of the task; its image paths start from `base`."""
    assert problem.key  # which only an evaluation with a reward does without
    return {
        "id": str(problem.id),
        "question": row.question,
        "answer": problem.key.answer,
        "images": [each if _URL.match(each) else str((base / expanded(each)).absolute()) for each in row.images],
        "offline": offline,
    }


def progress(log: bytes) -> tuple[int, int] | None:
    """How many requests were answered, and of how many, by the end of a log; None before the first."""
    found = _PROGRESS.findall(log)
    return (int(found[-1][0]), int(found[-1][1])) if found else None


def failure(run: HarnessRun, log: str, code: int | None) -> VircError:
    """What is raised where it wrote no results; it ends with 0 also then."""
    text = _COLOUR.sub("", log)
    if "Tasks not found: " in text:
        return ConfigError(
            f"lmms-eval has no task {run.task}",
            "its tasks: $(virc env path eval) -m lmms_eval tasks; or name a JSONL file",
        )
    errors = re.findall(r"Error during evaluation: (.*?)(?:\. Please set |$)", text, re.MULTILINE)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = errors[-1] if errors else lines[-1] if lines else "it printed nothing"
    return EngineError(f"lmms-eval wrote no results: exit code {code}, {plain(reason, 300)}", f"see {run.log}")


def read(results: Path, task: str, secret: str | None = None) -> Outcome:
    """Read the results of a task and its parts.

    Args:
        results: the file of results; those of its samples are beside it.
        secret: the key, which a server may have repeated in its error message.
    """
    try:
        found = msgspec.json.decode(contents(results, _MAX_RESULTS), type=_Results)
        usage = msgspec.convert(found.usage.get("total", {}), _Usage)
        stem = results.name.removesuffix("_results.json")
        files = {part: results.with_name(f"{stem}_samples_{part}.jsonl") for part in found.samples}
        lines = {part: contents(file, _MAX_RESULTS).splitlines() for part, file in files.items()}
        parts = {part: [msgspec.json.decode(line, type=Sample) for line in each] for part, each in lines.items()}
    except (OSError, ValueError, RecursionError) as error:
        raise EngineError(f"{results} holds other results than lmms-eval's: {clause(error)}") from error
    samples = [sample for part in parts.values() for sample in part]
    return Outcome(
        figures=[figure for part, values in found.results.items() for figure in _figures(found, part, values)],
        problems=len(samples),
        answered=usage.n_api_calls,
        failures=[failure.replace(secret or "\0", "***") for sample in samples if (failure := sample.failure)],
        texts={sample.doc_id: sample.text for sample in parts.get(task, [])},
        results=results,
    )


def by_rule(problems: Mapping[str, EvalProblem], model: str, texts: Mapping[int, str]) -> Score:
    """How many of our problems are right as `virc eval` counts; `texts` has the replies by place, from 0."""
    lines = {
        id: AnswerLine(id, problem.digest, model, texts.get(at) or None, None)
        for at, (id, problem) in enumerate(problems.items())
    }
    verdicts = verdicts_by_rule(problems, {model: lines})
    return score((model, id) in verdicts and verdicts[model, id].right for id in problems)


def prepare(request: EvalRequest, dry_run: bool, report: Reporter) -> PreparedHarness:
    """Plan the processes; nothing is written. A dry run asks the endpoint only what the user does not say."""
    own = _own_task(request, report)
    name = own.benchmark.name if own else request.benchmark
    folder = (expanded(request.to) if request.to else default_folder(name, "none")).absolute()
    task, token = task_of(name, own is not None), os.environ.get("HF_TOKEN")
    environment = making.find(ENGINE, None)
    python = environments.interpreter(environment) or environment.python
    recipes = environments.recipes_place(environment)
    runs = []
    for setup in request.setups:
        run = HarnessRun(folder, _served(setup, dry_run, report), task)
        at_once = request.at_once or AT_ONCE
        planned = plan(run, setup, own is not None, python, recipes, at_once, request.limit, token)
        runs.append((run, planned, setup))
    return PreparedHarness(name, folder, own, runs)


def run(prepared: PreparedHarness, report: Reporter) -> tuple[str, list[ModelOutcome]]:
    """Have lmms-eval ask each model; returns its name with its version, and the results of each model."""
    environment = making.find(ENGINE, None)
    making.made(environment, report.send)
    environments.recipes_in(environment)
    outcomes = []
    for each, planned, setup in prepared.runs:
        outcome = _run(each, planned, prepared.own, setup, report)
        ours = prepared.own if not outcome.failures else None
        counted = by_rule(ours.problems, each.model, outcome.texts) if ours else None
        outcomes.append(ModelOutcome(each, outcome, counted))
    return f"lmms-eval {pinned(environment)['lmms-eval']}", outcomes


def check(outcomes: Sequence[ModelOutcome]) -> None:
    """Refuse figures in which a request that failed counts as a wrong answer."""
    for each in outcomes:
        if each.outcome.failures:
            count = f"{len(each.outcome.failures)} of {each.outcome.problems} requests to {each.run.model} failed"
            first = each.outcome.failures[0]
            sentence = f"{count}, which lmms-eval counts as wrong answers; the first: {first}"
            raise NetworkError(sentence, f"the same command asks all again; see {each.run.log}")


def _own_task(request: EvalRequest, report: Reporter) -> OwnTask | None:
    """Our problems, where the name is one of ours."""
    if not is_ours(request.benchmark):
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
    for warning in warnings_of(backend.model):
        report.warn(warning)
    return backend.model


def _run(run: HarnessRun, plan: Plan, own: OwnTask | None, setup: Setup, report: Reporter) -> Outcome:
    """Have lmms-eval ask one model."""
    run.place.mkdir(parents=True, exist_ok=True)
    with held(run.place):
        for path, text in plan.files.items():
            write_whole(Path(path), text.encode())
        if own:
            rows = (msgspec.json.encode(row) + b"\n" for row in own.rows(setup.offline))
            write_whole(run.problems, b"".join(rows))
        before = set(run.place.glob("*/*_results.json"))
        run.log.unlink(missing_ok=True)
        report.note(f"lmms-eval asks {run.model}; it begins after some 20 s, and writes {run.log}")
        try:
            code = _followed(run, plan, report)
        finally:
            shutil.rmtree(run.place / _CACHE, ignore_errors=True)
        new = set(run.place.glob("*/*_results.json")) - before
    if not new:
        raise failure(run, run.log.read_text("utf-8", "replace"), code)
    outcome = read(new.pop(), run.task, setup.choice.api_key)
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
                far = progress(log.read())
            if far:
                done, of = far
                began = began or time.monotonic()
                left = (time.monotonic() - began) / done * (of - done) if done else 0
                ahead = f"; about {duration(left)} left" if left else ""
                report.progress(f"{run.model}: {done} of {of} problems{ahead}")
    return code


def _environment(run: HarnessRun, setup: Setup, own: bool, hub_token: str | None) -> dict[str, str]:
    endpoint, fetches = str(setup.choice.endpoint), not own and not setup.offline
    return {
        "OPENAI_API_KEY": setup.choice.api_key or "none",
        # Tasks of its own that have a judge would send it this key; now it goes to the endpoint or nowhere.
        "OPENAI_BASE_URL": endpoint,
        "OPENAI_API_BASE": endpoint,
        "OPENAI_API_URL": f"{endpoint.rstrip('/')}/chat/completions",
        # What the client finds in these it sends too, and they are meant for another service.
        "OPENAI_ORG_ID": "",
        "OPENAI_PROJECT_ID": "",
        "OPENAI_CUSTOM_HEADERS": "",
        "PYTHON_DOTENV_DISABLED": "1",  # it reads every .env above its own folder
        # It writes the token that it finds under this name into its log; the hub's library knows the other as well.
        "HF_TOKEN": "",
        "HUGGING_FACE_HUB_TOKEN": (hub_token or "") if fetches else "",
        **({"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": ""} if fetches else {}),
        # Problems that were changed would be taken from the cache of those before.
        **({"LMMS_EVAL_DATASETS_CACHE": str(run.place / _CACHE)} if own else {}),
        "LMMS_IMAGE_ENCODE_FORMAT": "PNG",  # a JPEG of 85 would blur the labels
        "TQDM_MININTERVAL": "2",
        # The model is elsewhere; a GPU, or a job of several processes that virc is a part of, would be waited for.
        "CUDA_VISIBLE_DEVICES": "-1",
        "WORLD_SIZE": "",
        "RANK": "",
        "LOCAL_RANK": "",
    }


def _arguments(**given: object) -> str:
    """`a=1,b=2`, which lmms-eval splits at every comma; what looks like a number or a truth value becomes one."""
    for name, value in given.items():
        text = str(value)
        if isinstance(value, str) and (
            re.search(r"[,\s\"'{}\[\]]", text) or re.fullmatch(r"(?i)true|false|inf|nan|[-+.\d_e]+", text)
        ):
            what = {"base_url": "the address", "model_version": "the model's name"}[name]
            raise ConfigError(f"lmms-eval cannot take {what} {plain(text, 80)}", "serve it under another")
    return ",".join(f"{name}={value}" for name, value in given.items())


def _figures(found: _Results, task: str, values: Mapping[str, Any]) -> list[Figure]:
    """The figures of a task, of the keys `METRIC,FILTER` and `METRIC_stderr,FILTER`."""
    of = found.samples.get(task, {}).get("effective")
    numbers = {key: value for key, value in values.items() if type(value) in (int, float)}
    return [
        Figure(task, metric, how, float(value), numbers.get(f"{metric}_stderr,{how}"), of)
        for key, value in numbers.items()
        for metric, comma, how in (key.partition(","),)
        if comma and "_stderr" not in metric
    ]


def _text(reply: Any) -> str:
    """The first reply in what may be a list of lists of them."""
    while isinstance(reply, list) and reply:
        reply = reply[0]
    return reply if isinstance(reply, str) else ""
