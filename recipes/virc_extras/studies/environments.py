"""Environments of verifiers as benchmarks: their problems are asked as rows, and their own rewards score the replies.

There are two interfaces: `load_environment` of a module (verifiers 0.1.14 to 0.3), and a taskset of `verifiers.v1`
(0.4). A model is asked in its chat protocol, or by its strategy. The environment gets the last reply, followed by the
answer in `\\boxed{}`: most environments read it there, and the answer of a chat protocol is in another form. An
environment that holds the conversation itself is refused: it needs an endpoint, not answers.

Read `load` first: `_by_function` and `_by_taskset` load the two interfaces; `Environment.score` scores answers.
"""

import inspect
import logging
import re
import sys
from asyncio import wrap_future
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module, metadata
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from virc.core.errors import ConfigError, DataError, NetworkError, SetupError, UsageError, VircError
from virc.core.events import Reporter
from virc.core.text import clause, plain
from virc.core.web import html
from virc.core.work.threads import scheduled
from virc.evaluation.answered import Answered, Result
from virc.evaluation.answers import AnswerLine, Answers, EvalFolder, hashed
from virc.evaluation.benchmarks.registry import Fields, LocalBenchmark, problems
from virc.evaluation.columns import Column
from virc.evaluation.pages import figures
from virc.evaluation.problems import BenchmarkProblem
from virc.evaluation.request import EvalRequest
from virc.evaluation.summary import Summary
from virc.solving.rows import ProblemRow
from virc_cli.console.tables import table
from virc_extras.studies import reward_figures
from virc_extras.studies.environment_rewards import EnvironmentReward, reward_gaps, reward_means
from virc_extras.studies.reward_files import keep_rewards, kept_rewards

SHOWN = "{reply}\n\n\\boxed{{answer}}"
"""The text that an environment gets for a reply."""

_PARTS = re.compile(r"\{(answer|reply)\}")
_PROMPTING = ("system", "user")

Values = tuple[float, Mapping[str, float]]
"""The reward of a reply, and its terms."""


class Interface(NamedTuple):
    """The parts of a loaded environment that virc calls.

    Args:
        prompt: gives the prompt of a task: messages as the chat completions API has them, or one text.
        score: scores a reply to a task; if it raises, the reply has no reward.
    """

    tasks: Sequence[Any]
    prompt: Callable[[Any], str | Sequence[Mapping[str, Any]]]
    score: Callable[[Any, str], Coroutine[Any, Any, Values]]


class Environment(msgspec.Struct, frozen=True):
    """A loaded environment.

    Args:
        digest: hash of all that its rewards depend on, apart from the replies.
        shown: the text that it gets for a reply, with `{reply}` and `{answer}` in it.
    """

    name: str
    digest: str
    interface: Interface
    shown: str = SHOWN

    @property
    def benchmark(self) -> LocalBenchmark:
        return LocalBenchmark(self.name, Path.cwd(), self._rows, published=True)

    def _rows(self) -> Iterator[ProblemRow]:
        tasks = enumerate(self.interface.tasks, 1)
        placed = ((f"problem {at} of {self.name}", {"id": at, "task": task}) for at, task in tasks)
        return problems(placed, self._problem)

    def _problem(self, fields: Fields) -> Fields:
        texts, images = list[str](), list[str]()
        prompt = self.interface.prompt(fields["task"])
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        for message in messages:
            if message["role"] not in _PROMPTING:
                raise DataError(f"its prompt has a message of the role {plain(message['role'], 40)}")
            content = message["content"]
            for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
                if part["type"] == "text":
                    texts.append(part["text"])
                elif part["type"] == "image_url":
                    images.append(_url(part["image_url"]))
                else:
                    raise DataError(f"its prompt has a part of the type {plain(part['type'], 40)}")
        return {"id": fields["id"], "images": images, "question": "\n\n".join(filter(None, texts))}

    def score(
        self,
        model: str,
        rows: Iterable[ProblemRow],
        lines: Mapping[str, AnswerLine],
        folder: EvalFolder,
        report: Reporter,
    ) -> None:
        async def score(row: ProblemRow, line: AnswerLine) -> EnvironmentReward:
            task = self.interface.tasks[row.line - 1]
            try:
                scoring = self.interface.score(task, self._text_for(line))
                return EnvironmentReward(*await wrap_future(scheduled(scoring)))
            except Exception as error:  # of the environment's own code
                why = clause(error) if isinstance(error, VircError) else plain(f"{type(error).__name__}: {error}")
                return EnvironmentReward(None, failure=why)

        with _foreign_code() as failures:
            keep_rewards(self.name, self.digest, model, rows, lines, folder, report, score)
        if failures:
            examples = f"{len(failures)}; the first: {plain(failures[0])}"
            report.warn(f"functions of the reward of {self.name} that failed, and count 0: {examples}")

    def _text_for(self, line: AnswerLine) -> str:
        reply = line.rollout.texts[-1] if line.rollout and line.rollout.texts else line.answer or ""
        if line.answer is None:
            return reply
        parts = {"reply": reply, "answer": line.answer}
        return _PARTS.sub(lambda found: parts[found[1]], self.shown)


class OfEnvironment(msgspec.Struct, frozen=True):
    """How an environment is loaded.

    Args:
        arguments: a JSON object of arguments for its `load_environment` or its taskset.
        shown: as of `Environment`.
    """

    arguments: str | None = None
    shown: str | None = None


class Rewards(Column):
    """The reward of an environment, whose problems are asked; nothing without one."""

    title = "Reward"
    unverified = ("reward",)

    def __init__(self, environment: Environment | None) -> None:
        self._environment = environment
        self.problems = environment.benchmark if environment else None

    def score(
        self,
        model: str,
        rows: Iterable[ProblemRow],
        lines: Mapping[str, AnswerLine],
        folder: EvalFolder,
        report: Reporter,
    ) -> None:
        if self._environment:
            self._environment.score(model, rows, lines, folder, report)

    def of_answers(
        self, problems: Mapping[str, BenchmarkProblem], answers: Answers, folder: EvalFolder | None
    ) -> Mapping[tuple[str, str], Fields]:
        if not (self._environment and folder):
            return {}
        kept = kept_rewards(self._environment.name, self._environment.digest, folder, answers)
        return {key: {"reward": reward} for key, reward in kept.items()}

    def of_model(self, answered: Sequence[tuple[Result, Answered]]) -> Fields:
        return {"reward": reward_means(_reward(answer) for _, answer in answered)}

    def of_pair(self, answers: Sequence[tuple[Answered, Answered]]) -> Fields:
        return {"reward": reward_gaps((_reward(one), _reward(other)) for one, other in answers)}

    def error(self, results: Sequence[Result]) -> VircError | None:
        rewards = (_reward(answer) for result in results for answer in result.answers.values())
        failures = [reward.failure for reward in rewards if reward and reward.failure]
        if not failures:
            return None
        examples = f"{len(failures)} answers; the first: {plain(failures[0])}"
        return NetworkError(f"the reward failed on {examples}", "the same command asks it again")

    def lines(self, summary: Summary) -> Iterator[str]:
        rows = [
            (term, model, reward_figures.value(mean.mean), reward_figures.values(mean.interval), str(mean.of))
            for term, model, mean, _ in reward_figures.reward_rows(summary.models)
        ]
        if rows:
            yield from table([("reward", "model", "mean", "95 % interval", "of"), *rows])
        for pair in summary.pairs:
            if gaps := pair.columns["reward"]:
                yield ""
                yield f"{pair.one} minus {pair.other} in the reward"
                yield from table(
                    [(name, reward_figures.signed(gap), f"on {gap.of} problems") for name, gap in gaps.items()]
                )

    def section(self, summary: Summary, places: Mapping[Any, int]) -> str:
        models = [model for model in summary.models if model.columns["reward"]]
        shown = {"models": models, "pairs": summary.pairs, "figures": figures, "rewards": reward_figures}
        return html.part("virc_extras:studies/environments", **shown) if models else ""

    def cell(self, answered: Answered) -> str:
        reward = _reward(answered)
        if reward is None:
            return ""
        total = "?" if reward.total is None else reward_figures.value(reward.total)
        words = html.safe(reward_figures.in_words(reward)[:400], "[{}]")
        return f' <small title="{words}">reward {total}</small>'


def _reward(answered: Answered) -> EnvironmentReward | None:
    return answered.columns.get("reward")


def column(given: Mapping[str, str | None] | None, request: EvalRequest) -> Column:
    """Args: given: the `arguments` and what is `shown`, as of `OfEnvironment`."""
    if given is None:
        return Rewards(None)
    by_strategy = any(setup.config.strategy for setup in request.setups)  # whose judge it is then
    refused = {
        "«--judge-endpoint»": request.judge_endpoint and not by_strategy,
        "«--split»": request.split,
        "«--against»": "against" in request.columns,
        "«--looks»": "looks" in request.columns,
        "«--crop-ablation counterfactual»": request.crop_ablation == "counterfactual",
    }
    if option := next((name for name, value in refused.items() if value), None):
        raise UsageError(f"{option} does not go with «--environment»", "leave one out")
    return Rewards(load(request.benchmark, OfEnvironment(**given), request.limit))


def load(name: str, how: OfEnvironment, limit: int | None = None) -> Environment:
    """Load an environment that is installed, by the name of its package; only its first `limit` problems."""
    if not name.replace("-", "_").isidentifier():
        raise UsageError(f"{plain(name, 80)} is no name of an environment", "name an installed package of verifiers")
    shown = SHOWN if how.shown is None else how.shown
    if not _PARTS.search(shown):
        raise UsageError(
            f"«--answer-as {plain(shown, 80)}» has no {{answer}}", "«--answer-as '<answer>{answer}</answer>'»"
        )
    try:
        given = msgspec.json.decode(how.arguments or "{}", type=dict[str, Any])
    except msgspec.DecodeError as error:
        hint = """«--environment-args '{"num_examples": 20}'»"""
        raise UsageError(f"«--environment-args» is no JSON object: {clause(error)}", hint) from error
    if find_spec("verifiers") is None:
        raise SetupError(f"the environment {name} needs verifiers", f"pip install verifiers {name}")
    with _foreign_code():
        interface = _loaded(name, given, limit)
    parts = [name, metadata.version("verifiers"), _version(name), given, shown]
    return Environment(name, hashed(msgspec.json.encode(parts, order="sorted")), interface, shown)


def _loaded(name: str, given: Mapping[str, Any], limit: int | None) -> Interface:
    import verifiers  # type: ignore[import-not-found, unused-ignore]

    module = name.replace("-", "_")
    try:
        if hasattr(verifiers, "load_environment") and hasattr(import_module(module), "load_environment"):
            return _by_function(name, verifiers, given)
        return _by_taskset(name, given, limit)
    except VircError:
        raise
    except Exception as error:  # of the environment's own code
        if find_spec(module) is None:
            raise ConfigError(f"the environment {name} is not installed", f"pip install {name}") from error
        hint = "«--environment-args» holds what its README says"
        raise DataError(f"the environment {name} cannot be loaded: {clause(error)}", hint) from error


def _by_function(name: str, verifiers: Any, given: Mapping[str, Any]) -> Interface:
    """An environment of `load_environment`: each reply is scored in a rollout of its own, whose client returns it."""
    environment = verifiers.load_environment(name, **given)
    if getattr(environment, "max_turns", None) != 1:
        raise _refused(name, "answers the model, turn by turn")
    if getattr(environment, "requires_group_rollouts", False):
        raise ConfigError(f"the reward of the environment {name} compares rollouts", "name another environment")
    unused = dict.fromkeys(verifiers.Client.__abstractmethods__)  # only the `get_response` of a real client calls them

    async def score(task: Any, reply: str) -> Values:
        async def get_response(*_: Any, **__: Any) -> Any:
            message = verifiers.ResponseMessage(content=reply, finish_reason="stop", is_truncated=False)
            return verifiers.Response(id="virc", created=0, model="virc", message=message)

        client = type("Client", (verifiers.Client,), {**unused, "get_response": staticmethod(get_response)})(None)
        rollout = await environment.run_rollout(task, client, "virc", {})
        if rollout.get("error"):
            raise DataError(str(rollout["error"]))
        return float(rollout["reward"]), {key: float(value) for key, value in (rollout.get("metrics") or {}).items()}

    return Interface(environment.get_eval_dataset(), lambda task: task["prompt"], score)


def _by_taskset(name: str, given: Mapping[str, Any], limit: int | None) -> Interface:
    """An environment of a taskset: each reply is scored as `verifiers.v1` scores a saved trace, without a machine."""
    import verifiers.v1 as vf  # type: ignore[import-not-found, unused-ignore]
    from verifiers.v1.utils.decorators import discover_decorated  # type: ignore[import-not-found, unused-ignore]

    taskset = vf.load_taskset(vf.taskset_config_type(name)(**{**given, "id": name}))
    kind = taskset.task_type()
    if vf.environment_class(name) is not vf.SingleAgentEnv or vf.default_harness_id(name) == name:
        raise _refused(name, "answers the model, turn by turn")
    if taskset.toolsets(taskset.config) or kind.toolsets(taskset.config.task):
        raise _refused(name, "gives the model tools")
    if kind.NEEDS_CONTAINER or kind.setup is not vf.Task.setup or kind.finalize is not vf.Task.finalize:
        raise _refused(name, "prepares a machine for each problem")
    if limit is None and not taskset.bounded:
        raise UsageError(f"the environment {name} has no last problem", "«--limit 100»")
    tasks = list(islice(taskset, limit))
    hooks = [hook for task in tasks[:1] for attribute in ("reward", "metric") for hook in task.hooks(attribute)]
    if any(_needs_machine(hook) for hook in hooks):
        raise _refused(name, "scores on the machine of the rollout")
    if tasks and discover_decorated(tasks[0], "intercept"):
        raise _refused(name, "changes what the model is asked")

    def prompt(task: Any) -> Sequence[Mapping[str, Any]]:
        return [each.model_dump() for each in _messages(vf, task.data)]

    async def score(task: Any, reply: str) -> Values:
        messages = [*_messages(vf, task.data), vf.AssistantMessage(content=reply)]
        last = len(messages) - 1
        trace = vf.Trace(
            task=vf.TraceTask(type=type(task).__name__, data=task.data, key=task.key, hash=task.hash),
            state=vf.state.state_cls(type(task))(),
            agent=vf.AgentInfo(config=vf.AgentConfig()),
            nodes=[
                vf.MessageNode(message=each, parent=at - 1 if at else None, sampled=at == last)
                for at, each in enumerate(messages)
            ],
        )
        trace.stop("agent_completed")
        await task.score(trace)
        return trace.reward, {**trace.metrics, **{name: each.score for name, each in trace.rewards.items()}}

    return Interface(tasks, prompt, score)


def _messages(vf: Any, data: Any) -> list[Any]:
    asked = [vf.UserMessage(content=data.prompt)] if isinstance(data.prompt, str) else data.prompt or []
    return [*([vf.SystemMessage(content=data.system_prompt)] if data.system_prompt else []), *asked]


def _needs_machine(hook: Callable[..., Any]) -> bool:
    wanted = inspect.signature(hook).parameters.get("runtime")
    return wanted is not None and wanted.default is inspect.Parameter.empty


def _refused(name: str, why: str) -> ConfigError:
    hint = f"virc serve MODEL --agent; vf-eval {name} -m MODEL --client.base-url http://127.0.0.1:8000/v1"
    return ConfigError(f"the environment {name} {why}: it has to ask an endpoint itself", hint)


def _url(source: str | Mapping[str, Any]) -> str:
    url = source if isinstance(source, str) else str(source["url"])
    if not url.lower().startswith(("data:", "http://", "https://")):
        raise DataError(f"its image {plain(url, 40)} is no URL")
    return url


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # a module without metadata
        return ""


@contextmanager
def _foreign_code() -> Iterator[list[str]]:
    """Run code of an environment: what it prints goes to stderr, and the errors that verifiers logs are collected."""
    failures = list[str]()
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: failures.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("verifiers")
    logger.addHandler(handler)
    try:
        with redirect_stdout(sys.stderr):
            yield failures
    finally:
        logger.removeHandler(handler)
