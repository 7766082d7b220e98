"""How environments of verifiers are loaded and scored, by both of its interfaces, on stand-ins for the library."""

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from evaluation.published import picture
from support.stand_ins import Bare, bare, stand_in

from virc.core.errors import ConfigError, DataError, UsageError
from virc.evaluation import environments
from virc.evaluation.benchmarks.registry import data_url
from virc.evaluation.environments import Environment, OfEnvironment

PROMPT = [{"role": "user", "content": "How many?"}]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "require", lambda *_: None)
    monkeypatch.setattr(environments.metadata, "version", lambda name: f"{name} 1.0")


def load(arguments: str | None = None, limit: int | None = None) -> Environment:
    return environments.load("counting-stars", OfEnvironment(arguments), limit)


# A module with `load_environment`


class Rollouts:
    """An environment, whose rollouts ask their client as verifiers' do."""

    def __init__(self, **fields: Any) -> None:
        self.max_turns, self.fails = 1, None
        self.__dict__.update(fields)

    def get_eval_dataset(self) -> list[dict[str, Any]]:
        return [{"prompt": PROMPT, "answer": "3"}, {"prompt": PROMPT, "answer": "4"}]

    async def run_rollout(self, task: Any, client: Any, model: str, sampling: Any) -> Mapping[str, Any]:
        said = await client.get_response(task["prompt"], model, sampling)
        assert not said.message.is_truncated
        if self.fails:
            return {"error": self.fails, "reward": 0.0}
        right = float(said.message.content.endswith(task["answer"]))
        return {"reward": 2 * right, "metrics": {"right": right}}


@pytest.fixture
def by_function(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Installs an environment; returns what it is asked to load with."""

    def install(**fields: Any) -> list[Any]:
        asked: list[Any] = []

        def load_environment(name: str, **given: Any) -> Rollouts:
            asked.append((name, given))
            return Rollouts(**fields)

        client = type("Client", (Bare,), {"__abstractmethods__": frozenset({"get_response", "close"})})
        libraries = {
            "verifiers": {"load_environment": load_environment, "Client": client,
                          **bare("ResponseMessage", "Response")},
            "counting_stars": {"load_environment": None},
        }  # fmt: skip
        stand_in(monkeypatch, libraries)
        return asked

    return install


def test_each_reply_is_scored_by_the_rollout_of_its_own_task(by_function: Any) -> None:
    asked = by_function()
    found = load('{"num_examples": 2}').interface
    assert asked == [("counting-stars", {"num_examples": 2})]
    assert [found.prompt(task) for task in found.tasks] == [PROMPT] * 2
    scores = [asyncio.run(found.score(task, reply)) for task in found.tasks for reply in ("it is 3", "it is 4")]
    right, wrong = (2.0, {"right": 1.0}), (0.0, {"right": 0.0})
    assert scores == [right, wrong, wrong, right]


def test_a_problem_has_all_pictures_and_texts_of_its_prompt(by_function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    by_function()
    urls = [data_url(picture(shade, "PNG")) for shade in (1, 2)]
    parts: list[Any] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    parts.insert(1, {"type": "text", "text": "Compare."})
    prompt = [{"role": "system", "content": "Box it."}, {"role": "user", "content": parts}]
    monkeypatch.setattr(Rollouts, "get_eval_dataset", lambda _: [{"prompt": "How many?"}, {"prompt": prompt}])
    first, second = load().benchmark.rows()
    assert (first.question, first.images) == ("How many?", ())
    assert (second.question, len(second.images), len({*second.images})) == ("Box it.\n\nCompare.", 2, 2)


def test_a_rollout_that_fails_is_no_reward_of_0(by_function: Any) -> None:
    by_function(fails="the judge is away")
    found = load().interface
    with pytest.raises(DataError, match="the judge is away"):
        asyncio.run(found.score(found.tasks[0], "3"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"max_turns": 4}, "answers the model, turn by turn"), ({"max_turns": -1}, "answers the model"),
        ({"requires_group_rollouts": True}, "compares rollouts"),
    ],
)  # fmt: skip
def test_an_environment_that_answers_or_compares_is_refused(
    by_function: Any, fields: Mapping[str, Any], said: str
) -> None:
    by_function(**fields)
    with pytest.raises(ConfigError, match=said):
        load()


# A taskset


class Task:
    """verifiers' own."""

    NEEDS_CONTAINER = False

    def setup(self) -> None: ...

    def finalize(self) -> None: ...

    @classmethod
    def toolsets(cls, config: Any) -> Sequence[Any]:
        return config.tools

    def __init__(self, data: Any) -> None:
        self.data, self.key, self.hash = data, "key", "hash"

    def hooks(self, attribute: str) -> Sequence[Callable[..., Any]]:
        return [self.right] if attribute == "reward" else []

    def right(self, trace: Any) -> float:
        sampled = [node.message for node in trace.nodes if node.sampled]
        return float([each.content for each in sampled] == [f"it is {self.data.answer}"])

    async def score(self, trace: Any) -> None:
        assert trace.stopped == "agent_completed"
        trace.reward = 2 * self.right(trace)
        trace.rewards["right"] = SimpleNamespace(score=self.right(trace))
        trace.metrics["turns"] = len(trace.nodes)
        assert [node.parent for node in trace.nodes] == [None, *range(len(trace.nodes) - 1)]


class Machine(Task):
    """A task that scores on a machine."""

    def hooks(self, attribute: str) -> Sequence[Callable[..., Any]]:
        return [lambda trace, runtime: 1.0] if attribute == "metric" else []


class Maybe(Task):
    """A task that can do without one."""

    def hooks(self, attribute: str) -> Sequence[Callable[..., Any]]:
        return [lambda trace, runtime=None: 1.0]


class Prepared(Task):
    """A task whose machine is prepared."""

    def setup(self) -> None: ...


class Contained(Task):
    """A task in a container."""

    NEEDS_CONTAINER = True


class Message(Bare):
    """A message of verifiers."""

    def model_dump(self) -> Mapping[str, Any]:
        return {"role": type(self).__name__.removesuffix("Message").lower(), "content": self.__dict__["content"]}


class Trace(Bare):
    """A trace of verifiers."""

    def __init__(self, **given: Any) -> None:
        self.metrics, self.rewards = dict[str, Any](), dict[str, Any]()
        super().__init__(**given)

    def stop(self, why: str) -> None:
        self.stopped = why


@pytest.fixture
def by_taskset(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    def install(
        kind: type[Task] = Task, *, tools: Sequence[str] = (), bounded: bool = True, harness: str = "none",
        talks: bool = False, intercepts: Sequence[str] = (),
    ) -> list[Any]:  # fmt: skip
        loaded: list[Any] = []

        class Taskset:
            config = SimpleNamespace(task=SimpleNamespace(tools=()), tools=tools)

            def __init__(self) -> None:
                self.bounded = bounded

            def toolsets(self, config: Any) -> Sequence[str]:
                return tools

            def task_type(self) -> type[Task]:
                return kind

            def __iter__(self) -> Any:
                for answer in (3, 4, 5):
                    loaded.append(answer)
                    system = "Box it." if answer == 4 else None
                    yield kind(SimpleNamespace(prompt=f"problem {answer}", system_prompt=system, answer=answer))

        messages = {name: type(name, (Message,), {}) for name in ("UserMessage", "SystemMessage", "AssistantMessage")}
        single = type("SingleAgentEnv", (), {})
        v1 = {
            "load_taskset": lambda config: loaded.append(vars(config)) or Taskset(), "Task": Task,
            "SingleAgentEnv": single,
            "taskset_config_type": lambda name: Bare, "environment_class": lambda name: None if talks else single,
            "default_harness_id": lambda name: harness, "Trace": Trace, **messages,
            "state": SimpleNamespace(state_cls=lambda kind: dict),
            **bare("TraceTask", "AgentInfo", "AgentConfig", "MessageNode"),
        }  # fmt: skip
        decorators = {"discover_decorated": lambda task, kind: intercepts}
        stand_in(
            monkeypatch,
            {"verifiers": {}, "verifiers.v1": v1, "verifiers.v1.utils.decorators": decorators, "counting_stars": {}},
        )
        return loaded

    return install


def test_each_reply_is_scored_as_the_trace_of_its_own_task(by_taskset: Any) -> None:
    loaded = by_taskset()
    found = load('{"num_examples": 3, "id": "another"}').interface
    assert loaded[0] == {"num_examples": 3, "id": "counting-stars"}
    assert [found.prompt(task) for task in found.tasks][:2] == [
        [{"role": "user", "content": "problem 3"}],
        [{"role": "system", "content": "Box it."}, {"role": "user", "content": "problem 4"}],
    ]
    scores = [asyncio.run(found.score(task, reply)) for task in found.tasks[:2] for reply in ("it is 3", "it is 4")]
    assert [(total, terms["right"], terms["turns"]) for total, terms in scores] == [
        (2.0, 1.0, 2), (0.0, 0.0, 2), (0.0, 0.0, 3), (2.0, 1.0, 3)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"talks": True}, "answers the model, turn by turn"), ({"harness": "counting-stars"}, "answers the model"),
        ({"tools": ["search"]}, "gives the model tools"), ({"kind": Prepared}, "prepares a machine for each problem"),
        ({"kind": Contained}, "prepares a machine"), ({"kind": Machine}, "scores on the machine of the rollout"),
        ({"kind": Maybe}, None), ({"intercepts": ["change"]}, "changes what the model is asked"),
    ],
)  # fmt: skip
def test_a_taskset_that_needs_more_than_replies_is_refused(
    by_taskset: Any, given: Mapping[str, Any], said: str | None
) -> None:
    by_taskset(**given)
    with pytest.raises(ConfigError, match=said) if said else nullcontext():
        load()


def test_of_an_endless_taskset_no_more_is_drawn_than_is_asked_for(by_taskset: Any) -> None:
    loaded = by_taskset(bounded=False)
    assert len(load(limit=2).interface.tasks) == 2
    assert loaded[1:] == [3, 4]
    with pytest.raises(UsageError, match="has no last problem"):
        load()


# Either


@pytest.mark.parametrize("there", [False, True])
def test_an_environment_that_cannot_be_loaded_says_why(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, {"verifiers": {"load_environment": lambda name: 1 / 0}})
    if there:
        stand_in(monkeypatch, {"counting_stars": {"load_environment": None, "__spec__": inspect.__spec__}})
    kind, said = (DataError, "cannot be loaded: division by zero") if there else (ConfigError, "is not installed")
    with pytest.raises(kind, match=said):
        load()
