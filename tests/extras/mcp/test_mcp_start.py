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
