"""The servers of this process end with a signal, whenever it comes."""

import asyncio
import gc
import signal
import socket
import warnings
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import uvicorn
from fastapi import FastAPI

from virc.serving.agent import connections
from virc.serving.agent.request_queue import RequestQueue


def agent() -> uvicorn.Server:
    app = FastAPI()
    app.state.queue = RequestQueue(1)
    return connections.server(app)


def mcp() -> uvicorn.Server:
    return uvicorn.Server(uvicorn.Config(FastAPI(), log_level="critical"))


@pytest.mark.parametrize("make", [agent, mcp])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_event_loop_runs_ends_a_server_quietly(
    number: signal.Signals, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = uvicorn.server.asyncio_run

    def interrupted(main: Any, **options: Any) -> None:
        signal.raise_signal(number)
        run(main, **options)

    def received(received: int, _: object) -> None:
        raise KeyboardInterrupt(received)

    monkeypatch.setattr(uvicorn.server, "asyncio_run", interrupted)
    before = signal.signal(number, received)
    try:
        with socket.socket() as listening, warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            listening.bind(("127.0.0.1", 0))
            with pytest.raises(KeyboardInterrupt, match=f"^{int(number)}$"):
                connections.run(make(), listening)
            gc.collect()
    finally:
        signal.signal(number, before)
    assert [str(warning.message) for warning in seen if "never awaited" in str(warning.message)] == []


def ends(server: uvicorn.Server) -> bool:
    return asyncio.run(server.on_tick(1))


@pytest.mark.parametrize(("grace", "late"), [(1000.0, False), (-1.0, True)])
def test_a_server_that_ends_waits_for_answers_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, grace: float, late: bool
) -> None:
    monkeypatch.setattr(connections, "GRACE", grace)
    app, told = FastAPI(), list[int]()
    app.state.queue = queue = RequestQueue(1)
    server = connections.server(app, told.append)
    answer: Any = object()
    queue.answers.add(answer)
    assert not ends(server)  # nobody has said that it is to end
    server.handle_exit(signal.SIGTERM, None)
    assert (told, ends(server)) == ([1], late)
    queue.answers.discard(answer)
    assert ends(server)
    assert not server.force_exit


def test_a_second_signal_ends_what_runs() -> None:
    app = FastAPI()
    app.state.queue = queue = RequestQueue(1)
    server = connections.server(app)
    answer: Any = object()
    queue.answers.add(answer)
    for again in (False, True):
        server.handle_exit(signal.SIGINT, None)
        assert (server.should_exit, server.force_exit) == (again, again)


def test_a_connection_is_cut_only_while_its_client_lets_it_wait() -> None:
    cut, times = set[int](), list[float]()

    def later(seconds: float, _: object) -> Any:
        times.append(seconds)
        cut.add(number := len(times))
        return SimpleNamespace(cancel=lambda: cut.discard(number))

    loop: Any = SimpleNamespace(call_later=later)
    transport: Any = mock.Mock(is_closing=lambda: False, get_extra_info={"peername": ("192.0.2.7", 1)}.get)
    app = FastAPI()
    app.state.queue = RequestQueue(1)
    guard = connections.SlowClientGuard(connections.server(app).config, uvicorn.server.ServerState(), {}, loop)
    guard.connection_made(transport)
    assert cut == {1}  # it has sent no request
    guard.cycle = SimpleNamespace(response_complete=False, more_body=False, message_event=asyncio.Event())  # type: ignore[assignment]
    guard._await_head()
    assert not cut  # it has, and waits for us
    assert len(guard.get_buffer(0)) == 2**10
    guard.cycle.more_body = True
    assert len(guard.get_buffer(0)) == 2**16  # of a body more is read at once
    for number in (2, 3):  # it takes no piece, then it does
        guard.pause_writing()
        guard.pause_writing()
        assert cut == {number}
        guard.resume_writing()
        assert not cut
    guard.cycle.response_complete = True
    guard._await_head()
    guard._await_head()
    guard.pause_writing()
    assert cut == {4, 5}
    guard.connection_lost(None)
    assert (cut, {*times}) == (set(), {connections.PATIENCE})


@pytest.mark.parametrize(("others", "refused"), [("aa", False), ("aaa", True), ("bbb", False), ("bbbc", True)])
def test_one_address_leaves_connections_to_the_others(
    others: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_most_connections", lambda: 4)
    app, state, loop = FastAPI(), uvicorn.server.ServerState(), mock.Mock()
    app.state.queue = RequestQueue(1)
    config = connections.server(app).config
    assert (config.proxy_headers, config.timeout_graceful_shutdown) == (False, connections._FLUSH)  # no header says who
    for host in (*others, "a"):
        transport: Any = mock.Mock(get_extra_info={"peername": (host, 1)}.get)
        connections.SlowClientGuard(config, state, {}, loop).connection_made(transport)
    assert transport.close.called is refused
    assert [each.args[0][:12] for each in transport.write.mock_calls] == [b"HTTP/1.1 503"] * refused


@pytest.mark.parametrize(("more", "answered", "paused"), [(True, False, 1), (True, True, 0), (False, False, 0)])
def test_a_connection_is_read_on_once_its_request_is_answered(more: bool, answered: bool, paused: int) -> None:
    """Else the next request of a client whose body was not wanted would never be read."""
    pauses = list[int]()
    guard: Any = SimpleNamespace(
        data_received=bytes, _await_head=lambda: None, flow=SimpleNamespace(pause_reading=lambda: pauses.append(1)),
        cycle=SimpleNamespace(more_body=more, response_complete=answered),
    )  # fmt: skip
    connections.SlowClientGuard.buffer_updated(guard, 0)
    assert len(pauses) == paused
