"""What a request leaves in memory when it has failed or its client has left: nothing for the garbage collector."""

import asyncio
import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest
from agent_server import MODEL, OWN

from virc.core.errors import NetworkError
from virc.reasoning.resize import QWEN2
from virc.reasoning.session import Reply
from virc.serving.agent import problems, request_queue, server
from virc.solving.one import SolveConfig


class Engine:
    """Fails, or writes until nobody listens."""

    model, grid = "engine", QWEN2

    def __init__(self, fails: bool) -> None:
        self.fails = fails

    def reply(self, _ask: Any, _sampling: Any, on_text: Any, _seconds: Any) -> Reply:
        if self.fails:
            raise NetworkError("the engine is gone")
        while True:
            on_text("…")


async def answered(app: Any, streamed: bool, leaves: bool) -> bytes:
    """What a client is sent who may leave as soon as its request is read."""
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "What?"}], "stream": streamed}
    body = [{"type": "http.request", "body": json.dumps(chat).encode()}]
    sent = bytearray()
    ended = asyncio.Event()

    async def receive() -> Any:
        if body:
            return body.pop()
        if not leaves:
            await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.extend(message.get("body", b""))

    path, address = "/v1/chat/completions", ("127.0.0.1", 8000)
    scope = {"type": "http", "method": "POST", "path": path, "server": address, "client": address, "query_string": b""}
    await app({**scope, "headers": [(b"host", b"localhost")]}, receive, send)
    ended.set()
    return bytes(sent)


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()  # what other tests left would stay until all objects are looked through
    gc.disable()
    gc.freeze()  # `get_objects` then names what the test makes
    yield
    gc.enable()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.usefixtures("uncollected")
def test_a_failed_or_left_problem_is_freed_at_once(streamed: bool, leaves: bool) -> None:
    how = problems.Solving(Engine(fails=not leaves), OWN, SolveConfig(timeout=30))
    app = server.app(server.Served(how, MODEL, 4))

    async def both() -> tuple[bytes, set[type]]:
        sent = await answered(app, streamed, leaves)
        for _ in range(6000):  # its thread ends a moment later
            if not (
                kept := {
                    type(each)
                    for each in gc.get_objects()
                    if isinstance(each, request_queue.Job | request_queue.Reservation)
                }
            ):
                break
            await asyncio.sleep(0.01)
        return sent, kept

    sent, kept = asyncio.run(both())
    assert (b"did not answer" in sent) is not leaves
    assert not kept
