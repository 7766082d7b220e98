"""The MCP server over streamable HTTP, for several clients at once."""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import uvicorn
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from virc.core.web import site
from virc.serving import http_server
from virc.serving.chat_request import MAX_BODY
from virc_extras.mcp import server
from virc_extras.mcp.result_store import IDLE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "/mcp"
_SESSIONS = 256
_MAX_VALUES = 2**20  # of a request, and commas in its texts


class _Guard:
    """Refuses pages of other sites and requests without the key, and sees which sessions clients end."""

    def __init__(self, app: "ASGIApp", key: str | None, ended: Callable[[str], None]) -> None:
        self._app, self._key, self._ended = app, key, ended

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = site.refusal(headers, scope["server"][0], self._key is not None)
        if refused:
            await PlainTextResponse(refused, 403)(scope, receive, send)
        elif self._key is not None and site.key_among(headers.get("authorization", ""), self._key) is None:
            needed = {"WWW-Authenticate": "Bearer"}
            await PlainTextResponse("the API key is missing or wrong", 401, needed)(scope, receive, send)
        else:
            await self._app(scope, _counting(receive), send)
            # Results that belong to no session are kept under an empty name, for all clients that have none.
            if scope["method"] == "DELETE" and (session := headers.get(server.SESSION)):
                self._ended(session)


def _counting(receive: "Receive") -> "Receive":
    """`receive`, which refuses a body of more values than memory is meant for: the SDK makes an object of each."""
    values = 0

    async def counted() -> "Message":
        nonlocal values
        message = await receive()
        body = message.get("body", b"")
        values += sum(map(body.count, (b"[", b"{", b",")))
        if values > _MAX_VALUES:
            raise HTTPException(413, "the request holds too many values")
        return message

    return counted


def app(served: server.Served, host: str, key: str | None, ended: Callable[[str], None]) -> "ASGIApp":
    """The ASGI app; `ended` gets the name of each session that its client ends.

    On a loopback `host` the SDK checks `Host` and `Origin` too.
    """
    made = server.made(served).streamable_http_app(
        streamable_http_path=PATH, host=host, max_request_body_size=MAX_BODY, session_idle_timeout=IDLE,
        max_sessions=_SESSIONS,
    )  # fmt: skip
    return _Guard(made, key, ended)


def run(made: "ASGIApp", listening: socket.socket) -> None:
    config = http_server.config(made, lifespan="on")
    with suppress(KeyboardInterrupt):
        http_server.run(uvicorn.Server(config), listening)
