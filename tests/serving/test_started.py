"""What is told and published when a model is served, with nothing loaded."""

import json
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from virc.core.events import Event, Reporter
from virc.models.chat_protocol import ChatProtocol
from virc.models.load import Spoken
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
