"""The servers of this process end with a signal, whenever it comes."""

import gc
import signal
import socket
import warnings
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from virc.serving.agent import connections
from virc.serving.agent.desk import RequestQueue


def agent() -> uvicorn.Server:
    app = FastAPI()
    app.state.desk = RequestQueue(1)
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
