"""The servers of this process end with a signal, whenever it comes."""

import asyncio
import gc
import signal
import socket
import warnings
from typing import Any

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
@pytest.mark.parametrize("number", [signal.SIGTERM])
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
