"""What stands before the MCP server over HTTP: the key, pages of other sites, and sessions that clients end."""

import asyncio
from contextlib import nullcontext
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from virc.serving.mcp.over_http import _Guard

KEY, SESSION = "sk-of-the-server", "a1b2"


def ask(method: str, key: str | None = KEY, status: int = 200, **headers: str) -> tuple[int, list[str], list[str]]:
    """The status of a request, what reached the server, and the sessions that were ended."""
    reached, ended, sent = list[str](), list[str](), list[int]()

    async def server(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["method"])
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.extend([message["status"]] if message["type"] == "http.response.start" else [])

    given = {"host": "localhost:8000", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http", "method": method, "path": "/mcp", "server": ("127.0.0.1", 8000),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }  # fmt: skip
    asyncio.run(_Guard(server, key, ended.append)(scope, receive, send))
    return sent[0], reached, ended


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer sk-of-another"}, 401),
        ({"authorization": f"Basic {KEY}"}, 401),
        ({"authorization": f"Bearer {KEY}", "origin": "https://evil.example"}, 403),
    ],
)
def test_no_method_gets_through_without_the_key(method: str, headers: dict[str, str], status: int) -> None:
    assert ask(method, mcp_session_id=SESSION, **headers) == (status, [], [])


@pytest.mark.parametrize(("piece", "is_refused"), [(b"[]," * 2**16, True), (b"A" * 2**18, False)])
def test_a_body_of_too_many_values_is_refused_before_they_are_made(piece: bytes, is_refused: bool) -> None:
    pieces = [piece] * 20
    read = bytearray()

    async def server(_scope: Any, receive: Any, _send: Any) -> None:
        while pieces:
            read.extend((await receive())["body"])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(), "more_body": bool(pieces)}

    async def send(_: Any) -> None:
        raise AssertionError

    headers = [(b"host", b"localhost:8000")]
    scope = {"type": "http", "method": "POST", "path": "/mcp", "server": ("127.0.0.1", 8000), "headers": headers}
    with pytest.raises(HTTPException) if is_refused else nullcontext() as caught:
        asyncio.run(_Guard(server, None, lambda _: None)(scope, receive, send))
    assert caught is None or caught.value.status_code == 413
    assert (len(read) == 20 * len(piece)) is not is_refused
