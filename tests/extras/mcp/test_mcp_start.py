"""What `virc mcp` refuses before it serves, and what over HTTP."""

import asyncio
from typing import Any

import pytest

from virc_extras.mcp.over_http import _Guard

KEY = "sk-of-the-server"
RIGHT = {"authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401), ({"authorization": "Bearer sk-of-another"}, 401), ({"authorization": f"Basic {KEY}"}, 401),
        ({**RIGHT, "origin": "https://evil.example"}, 403), ({**RIGHT, "host": "virc.example"}, 200), (RIGHT, 200),
    ],
)  # fmt: skip
def test_no_method_gets_through_without_the_key(method: str, headers: dict[str, str], status: int) -> None:
    reached, ended, sent = list[str](), list[str](), list[Any]()

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["method"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": "localhost:8000", "mcp-session-id": "a1b2", **headers}
    scope = {"type": "http", "method": method, "path": "/mcp", "server": ("127.0.0.1", 8000)}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in given.items()]
    asyncio.run(_Guard(behind, KEY, ended.append)(scope, receive, send))
    passes = status == 200
    assert (sent[0]["status"], reached, ended) == (
        status,
        [method] * passes,
        ["a1b2"] * (passes and method == "DELETE"),
    )


@pytest.mark.parametrize(("piece", "is_refused"), [(b"[]," * 2**16, True), (b"A" * 2**18, False)])
def test_a_body_of_too_many_values_is_refused_before_they_are_made(piece: bytes, is_refused: bool) -> None:
    pieces = [piece] * 20
    read, sent = bytearray(), list[Any]()

    async def server(_scope: Any, receive: Any, _send: Any) -> None:
        read.extend((await receive())["body"])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost:8000")]
    scope = {"type": "http", "method": "POST", "path": "/mcp", "server": ("127.0.0.1", 8000), "headers": headers}
    asyncio.run(_Guard(server, None, lambda _: None)(scope, receive, send))
    assert [each["status"] for each in sent if "status" in each] == [413] * is_refused
    assert len(read) == (0 if is_refused else 20 * len(piece))
