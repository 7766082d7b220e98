"""Problems asked by lmms-eval, in an environment of its own, through any endpoint.

Everything is in the folder of the evaluation:

    harness/task/               our problems as a task of lmms-eval
    harness/MODEL.yaml          the configuration it is started with
    harness/MODEL.log           what it prints
    harness/MODEL/              what it writes: TIME_results.json, TIME_samples_TASK.jsonl

lmms-eval counts by its own rules; the answers to our problems are also scored as `virc eval` does. Read in lmms-eval
0.7.3: `models/chat/openai.py`, `protocol.py`, `api/task.py`, `__main__.py`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from virc.backends.interface import Sampling
from virc.core.errors import ConfigError, EngineError, UsageError, VircError
from virc.core.files import contents, expanded, is_file
from virc.core.plan import Plan, Step
from virc.core.text import clause, plain
from virc.engines import environment as engines
from virc.evaluation.answers import AnswerLine
from virc.evaluation.benchmarks import registry as benchmarks
from virc.evaluation.problems import EvalProblem
from virc.evaluation.summary import Score, score
from virc.evaluation.verdicts import verdicts_by_rule
from virc.solving.rows import Row, file_name
from virc.solving.setup import Setup

ENGINE = "eval"
AT_ONCE = 16
"""Problems an endpoint is asked at a time, as `virc eval` asks one; lmms-eval would ask 32."""

_MOST_RESULTS = 2**30  # bytes
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
    """One of the harness's figures.

    Args:
        filter: what it does with a reply before it counts; `none` as a rule.
        stderr: standard error of the value; None where it names none.
        of: problems; None of a group of tasks.
    """

    task: str
    metric: str
    filter: str
    value: float
    stderr: float | None
    of: int | None


class Sample(msgspec.Struct, frozen=True):
    """One problem as lmms-eval has written it down.

    Args:
        doc_id: its place in the task, from 0.
        filtered_resps: the reply it counted.
        resps: the reply as it came, where that is another.
    """

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
    """What lmms-eval reports of a model.

    Args:
        problems: how many it asked about.
        answered: requests that were answered.
        failures: why the others were not, one for each.
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
    """What is read of a file of results."""

    results: dict[str, dict[str, Any]]
    samples: dict[str, dict[str, int]] = msgspec.field(name="n-samples", default_factory=dict)
    usage: dict[str, Any] = {}


class HarnessRun(msgspec.Struct, frozen=True):
    """One model's part of an evaluation by the harness.

    Args:
        folder: of the evaluation, absolute.
        model: the name that is served.
        task: the name lmms-eval knows the task by.
    """

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

    @property
    def config(self) -> Path:
        """Its configuration."""
        return self.place / f"{file_name(self.model)}.yaml"

    @property
    def cache(self) -> Path:
        """Its copy of our problems while it runs."""
        return self.place / "cache"

    def results(self) -> set[Path]:
        """The files of results."""
        return set(self.place.glob("*/*_results.json"))


def is_ours(name: str) -> bool:
    """Whether a name is one of our problems, not a task of lmms-eval."""
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
    """The name of a task: its own, or one made of the name of our problems that no task of its own has.

    Raises:
        UsageError: no task can be called so.
    """
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
        setup: the endpoint, and how it is asked.
        own: whether the task has our problems.
        python: of the environment `eval`.
        recipes: folder with the code of this package.
        limit: only the first so many, of a task of lmms-eval.
        hub_token: of the user, for a task of lmms-eval whose data is on the hub.

    Raises:
        ConfigError: lmms-eval cannot take that address, model or folder.
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
    files[str(run.config)] = msgspec.yaml.encode(config).decode()
    argv = (str(python), "-m", "lmms_eval", "--config", str(run.config))
    env = engines.environment(recipes) | _environment(run, setup, own, hub_token)
    return Plan(Step(argv, f"have lmms-eval ask {run.model}", env), files)


def warnings_of(model: str) -> list[str]:
    """What a user should know of how lmms-eval asks a model of that name."""
    if not _OF_OPENAI.search(model):
        return []
    return [f"lmms-eval takes {model} for a model of OpenAI's, by its name, and asks it without a temperature"]


def row_of(row: Row, problem: EvalProblem, base: Path, offline: bool) -> dict[str, Any]:
    """A problem as a row of the task.

    Args:
        base: folder that image paths of the row start from.
        offline: its images are not fetched.
    """
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
    """What came of a task and its parts.

    Args:
        results: the file of results; those of its samples lie beside it.
        secret: the key, which a server may have repeated in what it says of a failure.

    Raises:
        EngineError: they hold something else.
    """
    try:
        found = msgspec.json.decode(contents(results, _MOST_RESULTS), type=_Results)
        usage = msgspec.convert(found.usage.get("total", {}), _Usage)
        parts = {part: list(_samples(results, part)) for part in found.samples}
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
    """How many of our problems are right as `virc eval` counts, by rule and algebra.

    Args:
        texts: place of a problem, from 0 -> reply; a problem without one is not right.
    """
    lines = {
        id: AnswerLine(id, problem.digest, model, texts.get(at) or None, None)
        for at, (id, problem) in enumerate(problems.items())
    }
    verdicts = verdicts_by_rule(problems, {model: lines})
    return score((model, id) in verdicts and verdicts[model, id].right for id in problems)


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
        **({"LMMS_EVAL_DATASETS_CACHE": str(run.cache)} if own else {}),
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


def _samples(results: Path, task: str) -> list[Sample]:
    file = results.with_name(results.name.removesuffix("_results.json") + f"_samples_{task}.jsonl")
    return [msgspec.json.decode(line, type=Sample) for line in contents(file, _MOST_RESULTS).splitlines()]


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
