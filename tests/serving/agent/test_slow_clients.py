"""Clients of an agent endpoint take turns and leave connections and threads to each other."""

import asyncio
import socket
import threading
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import uvicorn
from agent_server import Held, listening
from fastapi import FastAPI

from virc.serving.agent import connections
from virc.serving.agent.connections import client_of, network
from virc.serving.agent.line import Line
from virc.serving.agent.request_queue import RequestQueue
from virc.serving.agent.workers import Workers


def test_clients_take_turns_and_who_leaves_passes_the_turn_on() -> None:
    served: list[str] = []

    async def take(line: Line, name: str, number: int) -> None:
        await line.take(name[0], number, 1)
        served.append(name)

    async def settled() -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    async def play() -> None:
        line, tasks = Line(1, lambda _, size, free: size <= free), {}
        for number, name in enumerate(["a1", "a3", "a2", "a4", "b1", "c1", "b2", "d1"]):
            tasks[name] = asyncio.create_task(take(line, name, {"a3": 3, "a2": 2}.get(name, number)))
            await settled()
        tasks["d1"].cancel()
        for number in range(6):
            line.give_back(served[number][0], 1)
            await settled()

    asyncio.run(play())
    assert served == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


def test_a_client_is_an_address_a_network_or_its_key() -> None:
    found = [network(host) for host in ("203.0.113.7", "::ffff:203.0.113.7", "2001:db8:1:2:3::4", "fe80::1%eth0", "")]
    assert found == ["203.0.113.7", "203.0.113.7", "2001:db8:1:2::/64", "fe80::/64", ""]
    host, headers = SimpleNamespace(host="192.0.2.1"), {"authorization": "Bearer k"}
    for keys, client in ((None, "192.0.2.1"), ("k", "192.0.2.1"), (("j", "k"), "key 1")):
        app = SimpleNamespace(state=SimpleNamespace(served=SimpleNamespace(api_key=keys)))
        assert client_of(SimpleNamespace(app=app, client=host, headers=headers)) == client  # type: ignore[arg-type]


@pytest.mark.parametrize(("others", "refused"), [("aa", False), ("aaa", True), ("bbb", False), ("bbbc", True)])
def test_one_address_leaves_connections_to_the_others(
    others: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_most_connections", lambda: 4)
    app, state, loop = FastAPI(), uvicorn.server.ServerState(), mock.Mock()
    app.state.queue = RequestQueue(1)
    config = connections.server(app).config
    assert config.proxy_headers is False  # no header says who it is
    for host in (*others, "a"):
        transport: Any = mock.Mock(get_extra_info={"peername": (host, 1)}.get)
        connections.SlowClientGuard(config, state, {}, loop).connection_made(transport)
    assert transport.close.called is refused
    assert [each.args[0][:12] for each in transport.write.mock_calls] == [b"HTTP/1.1 503"] * refused


def test_one_who_does_not_end_its_head_is_cut(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.05)
    with listening(held) as running, socket.create_connection(("127.0.0.1", running.port), 60) as silent:
        silent.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost:")
        assert silent.recv(1) == b""


def test_a_stuck_thread_is_replaced_once_and_comes_back() -> None:
    workers, go = Workers(1), threading.Event()
    first = workers.do(go.wait)
    assert workers.replace(first)
    assert workers.do(lambda: 1).result(60) == 1
    second = workers.do(go.wait)
    assert (workers.able, workers.replace(second), workers.able) == (True, False, False)
    go.set()
    assert (first.result(60), second.result(60), workers.do(lambda: 2).result(60)) == (True, True, 2)
    assert workers.able
