"""What is told and published when a model is served, with nothing loaded."""

import json
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from virc.core.events import Event, Reporter
from virc.models.chat_protocol import ChatProtocol
from virc.models.load import Choice, Opened, Spoken
from virc.reasoning.protocol import own_protocol
from virc.reasoning.resize import QWEN2
from virc.serving import start
from virc.serving.agent import connections, problems, server
from virc.serving.start import Agent, ServePlan, ServeRequest
from virc.stages.serve import Config
from virc.tools import registry as tools

OWN = own_protocol(tools.schemas(tools.DEFAULT))


@pytest.mark.parametrize(
    ("host", "key", "warned"),
    [
        ("127.0.0.1", None, False),
        ("localhost", None, False),
        ("0.0.0.0", "k", False),
        ("0.0.0.0", None, True),
        ("::", None, True),
        ("192.0.2.1", None, True),
    ],
)
def test_an_open_address_without_a_key_is_warned_of(
    host: str, key: str | None, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    anything = SimpleNamespace
    found = anything(
        name="m", backend=None, chat_protocol=ChatProtocol(OWN), at_once=1, answers=None, context=None, move=None
    )
    stubs = [(start, "_agent_model", found), (problems, "Solving", None), (server, "Served", None)]
    for place, name, value in [*stubs, (server, "app", None), (connections, "server", anything(run=None))]:
        monkeypatch.setattr(place, name, lambda *_, value=value, **__: value)
    bound = ExitStack()
    bound.listen = lambda _: None  # type: ignore[attr-defined]
    monkeypatch.setattr(start.address, "bound_socket", lambda _: bound)
    events: list[Event] = []
    plan = ServePlan(Config(host=host, api_key=key), "m", "http://a/v1")
    with ExitStack() as resources:
        start._agent(plan, ServeRequest("m", agent=Agent()), Agent(), Reporter(events.append), resources)
    assert [host in each.text for each in events] == [True] * warned


@pytest.mark.parametrize(
    ("judge", "chosen", "published"),
    [(False, None, True), (True, None, False), (True, "default", True), (False, "default", True)],
)
def test_a_judge_is_asked_in_plain_chat_unless_a_protocol_was_chosen(
    judge: bool, chosen: str | None, published: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, name, value in [
        (start.opened, "spoken_here", Spoken(ChatProtocol(OWN), "own")),
        (start.opened, "grid_here", QWEN2),
        (start, "fingerprint", "f"),
    ]:
        monkeypatch.setattr(place, name, lambda *_, value=value: value)
    weights: Any = SimpleNamespace(judge=judge)
    facts = json.loads(start._published(ServeRequest("m", protocol=chosen), weights, image_ids=False))
    assert ("virc_protocol" in facts) is published


def opening(plan: ServePlan, agent: Agent, monkeypatch: pytest.MonkeyPatch, *, together: bool = True) -> Any:
    """The model behind an agent endpoint, how it was opened, and what was warned of."""
    found = Opened("served", SimpleNamespace(), ChatProtocol(OWN), at_once=6, warnings=("careful",))  # type: ignore[arg-type]
    here: Any = SimpleNamespace(at_once=4, draw_together=lambda: together, context=4096)
    asked: list[Choice] = []

    def open_model(choice: Choice) -> Opened:
        asked.append(choice)
        return found

    monkeypatch.setattr(start.opened, "open_model", open_model)
    monkeypatch.setattr(start.opened, "spoken_here", lambda *_: Spoken(ChatProtocol(OWN), "own"))
    monkeypatch.setattr(start, "_loaded", lambda *_: here)
    events: list[Event] = []
    opened = start._agent_model(plan, ServeRequest("m", system="tiny"), agent, Reporter(events.append))
    return opened, asked, [event.text for event in events if event.kind == "warning"]


@pytest.mark.parametrize(
    ("config", "behind", "agent", "asked", "name", "at_once"),
    [
        # the server that a user names, with its own key
        ({}, None, {"endpoint": "http://a/v1", "key": "k"}, ("m", "http://a/v1", "k"), "served", 6),
        ({"name": "mine"}, None, {"endpoint": "http://a/v1", "concurrency": 2}, ("m", "http://a/v1", None), "mine", 2),
        # vLLM that was started behind the agent, with a key that nobody else knows
        (
            {"name": "mine"},
            {"port": 7, "api_key": "own"},
            {"key": "k"},
            ("n", "http://127.0.0.1:7/v1", "own"),
            "served",
            6,
        ),
    ],
)
def test_an_agent_asks_the_model_behind_it(
    config: dict[str, Any], behind: dict[str, Any] | None, agent: dict[str, Any], asked: tuple[Any, ...], name: str,
    at_once: int, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plan = ServePlan(Config(**config), "n", "vllm" if behind else "http://a/v1", behind=behind and Config(**behind))
    plan = msgspec.structs.replace(plan, plan=SimpleNamespace() if behind else None)
    found, (choice,), warned = opening(plan, Agent(timeout=9, **agent), monkeypatch)
    assert (choice.model, choice.endpoint, choice.api_key) == asked
    assert (choice.system, choice.timeout) == ("tiny", 9)
    assert (found.name, found.at_once, warned) == (name, at_once, ["careful"])


@pytest.mark.parametrize(
    ("concurrency", "together", "at_once", "warned"),
    [(None, True, 4, False), (2, True, 2, False), (None, False, 1, True), (1, False, 1, False)],
)
def test_a_model_here_solves_as_many_problems_as_it_can_draw_for(
    concurrency: int | None, together: bool, at_once: int, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ServePlan(Config(), "n", "transformers", weights=SimpleNamespace())  # type: ignore[arg-type]
    found, asked, said = opening(plan, Agent(concurrency=concurrency), monkeypatch, together=together)
    assert (found.name, found.at_once, found.context, asked) == ("n", at_once, 4096, [])
    assert ["one at a time" in text for text in said] == [True] * warned
