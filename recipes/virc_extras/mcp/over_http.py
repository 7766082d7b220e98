"""The MCP server over streamable HTTP, for several clients at once."""

import asyncio
import logging
import socket
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse

from virc.core.events import Reporter
from virc.core.text import counted, plain
from virc.core.web import site
from virc.serving import chat_http, http_server
from virc.serving.agent.request_queue import RequestQueue
from virc.serving.chat_request import MAX_BODY, RefusedError
from virc_extras.mcp import server
from virc_extras.mcp.result_store import IDLE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "/mcp"
_SESSIONS = 256
_MAX_VALUES = 2**20  # of a request, and commas in its texts
_SILENT = 60.0  # seconds after which a request that does not go on is refused
_MAX_LOGGED = 10  # sentences of the SDK about requests that it refused


class _Guard:
    """Refuses pages of other sites and requests without the key, reads bodies within the bounds of the agent's, and
    ends sessions where there are too many: of the address that has most the longest idle one, or else a busy one."""

    def __init__(self, app: "ASGIApp", key: str | None, ended: Callable[[str], None]) -> None:
        self._app, self._key, self._ended = app, key, ended
        self._queue = RequestQueue(1)
        self._addresses: OrderedDict[str, str] = OrderedDict()  # of each session; that used last is the last
        self._busy: Counter[str] = Counter()  # calls of each session

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
        elif scope["method"] == "POST":
            await self._post(scope, receive, send, headers)
        else:
            await self._app(scope, receive, send)
            if scope["method"] == "DELETE" and (session := headers.get(server.SESSION)):
                self._forget(session)

    async def _post(self, scope: "Scope", receive: "Receive", send: "Send", headers: Headers) -> None:
        session = headers.get(server.SESSION, "")
        hold = self._queue.reserve()
        self._busy[session] += 1
        try:
            body = await chat_http.body_of(Request(scope, _counting(receive)), hold.add)
            version = headers.get("mcp-protocol-version")
            is_opening = not session and (version is None or version in HANDSHAKE_PROTOCOL_VERSIONS)
            if is_opening and len(self._addresses) >= _SESSIONS:
                await self._make_room(scope)
            if session in self._addresses:
                self._addresses.move_to_end(session)
            await self._app(scope, _again(body, receive), self._noting(send, scope) if is_opening else send)
        except ClientDisconnect:
            return
        except RefusedError as error:
            wait = {"Retry-After": str(error.wait)} if error.wait else None
            await PlainTextResponse(error.message, error.status, wait)(scope, receive, send)
        except HTTPException as error:
            await PlainTextResponse(error.detail, error.status_code)(scope, receive, send)
        finally:
            hold.end()
            self._busy -= Counter([session])  # drops what reaches zero

    def _noting(self, send: "Send", scope: "Scope") -> "Send":
        """`send`, which remembers the session that an answer opens, and the address of its client."""

        async def noting(message: "Message") -> None:
            is_start = message["type"] == "http.response.start" and message["status"] < 400
            if is_start and (session := Headers(raw=message["headers"]).get(server.SESSION)):
                self._addresses[session] = (scope.get("client") or ("",))[0]
            await send(message)

        return noting

    async def _make_room(self, scope: "Scope") -> None:
        ((fullest, _),) = Counter(self._addresses.values()).most_common(1)
        session = min(
            (each for each, address in self._addresses.items() if address == fullest), key=self._busy.__getitem__
        )
        kept = [(name, value) for name, value in scope["headers"] if not name.startswith(b"content-")]
        headers = [*kept, (server.SESSION.encode(), session.encode())]
        await self._app({**scope, "method": "DELETE", "headers": headers}, _again(b""), _unheard)
        self._forget(session)

    def _forget(self, session: str) -> None:
        self._addresses.pop(session, None)
        self._busy.pop(session, None)
        self._ended(session)


async def _unheard(message: "Message") -> None:
    """Sends what nobody waits for."""


def _again(body: bytes, receive: "Receive | None" = None) -> "Receive":
    """What a request sends whose body has come, and then what the client still does."""
    pieces = [body]

    async def replayed() -> "Message":
        if pieces or receive is None:
            return {"type": "http.request", "body": pieces.pop() if pieces else b"", "more_body": False}
        return await receive()

    return replayed


def _counting(receive: "Receive") -> "Receive":
    """`receive`, which refuses a body of more values than memory is meant for, as the SDK makes an object of each, and
    one that stops."""
    values = 0

    async def counted() -> "Message":
        nonlocal values
        try:
            async with asyncio.timeout(_SILENT):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"the request did not go on for {_SILENT:g} s") from None
        body = message.get("body", b"")
        values += sum(map(body.count, (b"[", b"{", b",")))
        if values > _MAX_VALUES:
            raise HTTPException(413, "the request holds too many values")
        return message

    return counted


class _Log(logging.Handler):
    """Prints the first sentences of the SDK about requests, without control characters, and then counts them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self._count += 1
        if self._count <= _MAX_LOGGED:
            print(f"warning: {plain(record.getMessage())}", file=sys.stderr)

    def close(self) -> None:
        if self._count > _MAX_LOGGED:
            print(f"warning: {counted(self._count - _MAX_LOGGED, 'more such request')}", file=sys.stderr)
        super().close()


def app(served: server.Served, host: str, key: str | None, ended: Callable[[str], None]) -> "ASGIApp":
    """The ASGI app; `ended` gets the name of each session that its client ends.

    On a loopback `host` the SDK checks `Host` and `Origin` too.
    """
    made = server.made(served).streamable_http_app(
        streamable_http_path=PATH, host=host, max_request_body_size=MAX_BODY, session_idle_timeout=IDLE,
        max_sessions=2 * _SESSIONS,
    )  # fmt: skip
    return _Guard(made, key, ended)


def run(made: "ASGIApp", listening: socket.socket, report: Reporter) -> None:
    server = http_server.BareServer(made, report, lifespan="on")
    log, sdk = _Log(), logging.getLogger("mcp")
    sdk.addHandler(log)
    sdk.propagate = False
    try:
        with suppress(KeyboardInterrupt):
            http_server.run(server, listening)
    finally:
        sdk.removeHandler(log)
        log.close()
