"""The HTTP server of an agent endpoint: it closes connections that make no progress, and ends with its last answer.

uvicorn itself waits without limit for the head of a request and for a client that takes no answer, and reads up to
256 KiB of each connection at a time; its `limit_concurrency` does not tell clients apart. `SlowClientGuard` is the
protocol of one connection, `Server` ends uvicorn in time, `server` and `run` are what other modules call.
"""

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address, IPv6Network, ip_address
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI, Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from virc.serving import chat_http
from virc.serving.agent.line import may_have_more

if TYPE_CHECKING:
    from virc.serving.agent.request_queue import RequestQueue

PATIENCE = 60.0
"""Seconds that a client may take to send the head of a request, or to take a piece of what is sent to it."""
GRACE = 30.0
"""Seconds that answers may still take when the server is to end."""
CONNECTIONS = 4096
"""Connections at a time, if so many files may be opened; an address may have as many as are free."""
_FLUSH = 5  # seconds that connections get to close
_FILES = 512  # open files in addition to connections, if so many are allowed
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_HEAD, _BODY = 2**10, 2**16  # bytes that are read at once


class _Buffer(threading.local):
    """The buffer of all connections of one event loop, which runs in one thread: each copies out what it has read."""

    def __init__(self) -> None:
        self.bytes = memoryview(bytearray(_BODY))


_BUFFER = _Buffer()


class SlowClientGuard(H11Protocol, asyncio.BufferedProtocol):
    """A connection that is closed when its client neither sends a request nor takes an answer.

    A body is read piece by piece as the app asks for it: while a request waits, the rest of it stays with its client.
    """

    _head: asyncio.TimerHandle | None = None  # runs while the head of a request is awaited
    _answer: asyncio.TimerHandle | None = None  # runs while the client takes nothing of an answer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.network = network(self.client[0]) if self.client else ""
        same = sum(isinstance(each, SlowClientGuard) and each.network == self.network for each in self.connections)
        if not may_have_more(same - 1, len(self.connections) - 1, _most_connections()):  # both count this one
            transport.write(_FULL)
            transport.close()
        transport.set_write_buffer_limits(high=0)  # `pause_writing` is called for any byte that is not taken
        self._await_head()

    def get_buffer(self, _: int) -> memoryview:
        return _BUFFER.bytes[: _BODY if self.cycle and self.cycle.more_body else _HEAD]

    def buffer_updated(self, count: int) -> None:
        self.data_received(bytes(_BUFFER.bytes[:count]))
        self._await_head()
        if self.cycle and self.cycle.more_body and not self.cycle.response_complete:
            self.flow.pause_reading()  # until the app wants more

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._answer = self._answer or self.loop.call_later(PATIENCE, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._answer = _stopped(self._answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head, self._answer = _stopped(self._head), _stopped(self._answer)
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self.cycle and not self.cycle.response_complete:
            self._head = _stopped(self._head)
        elif not self.transport.is_closing():
            self._head = self._head or self.loop.call_later(PATIENCE, self.transport.abort)


def _stopped(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    if timer:
        timer.cancel()
    return None


def network(host: str) -> str:
    """The addresses of one client: its IPv4 address, or its network of IPv6, of which it has all (RFC 6177)."""
    with suppress(ValueError):
        address = ip_address(host.partition("%")[0])
        if isinstance(address, IPv6Address):
            return str(address.ipv4_mapped or IPv6Network((int(address) >> 64 << 64, 64)))
    return host


def client_of(request: Request) -> str:
    """The name of a request's client: its key if each client has its own, else its address."""
    if isinstance(request.app.state.served.api_key, tuple):
        return f"key {chat_http.key_of(request)}"
    return network(request.client.host if request.client else "")


class Server(uvicorn.Server):
    """Serves until a signal: then the queue closes, and the server ends with the last delivery, or after `GRACE`.

    A second signal ends it at once.
    """

    def __init__(self, config: uvicorn.Config, queue: "RequestQueue", ending: Callable[[int], None]) -> None:
        super().__init__(config)
        self._queue, self._ending = queue, ending
        self._end: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        is_second = self._queue.closing
        super().handle_exit(sig, frame)
        self._queue.closing = True
        self.should_exit = self.force_exit = is_second  # uvicorn itself would end at the first signal
        if is_second:
            return
        self._end = time.monotonic() + GRACE
        if self._queue.answers:
            self._ending(len(self._queue.answers))

    async def on_tick(self, counter: int) -> bool:
        if self._end and (not self._queue.answers or time.monotonic() > self._end):
            self.should_exit = True
        return await super().on_tick(counter)


def run(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve at a socket that listens, until a signal comes, also one that comes before the event loop runs.

    uvicorn handles signals only once its loop runs; before, a KeyboardInterrupt would leave a coroutine unawaited.

    Raises:
        KeyboardInterrupt: a signal came, and everything has ended.
    """
    with server.capture_signals():
        server.run([listening])


def server(made: FastAPI, ending: Callable[[int], None] = lambda _: None, level: str = "critical") -> Server:
    """A server for what `virc.serving.agent.server.app` made; `level` is of uvicorn's log, `ending` as in `Server`."""
    _allow_files()
    config = uvicorn.Config(
        made, lifespan="off", ws="none", http=SlowClientGuard, access_log=False, log_level=level, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=_FLUSH,
    )  # fmt: skip
    return Server(config, made.state.queue, ending)


def _most_connections() -> int:
    if sys.platform == "win32":
        return CONNECTIONS
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if files == resource.RLIM_INFINITY else min(CONNECTIONS, max(files - _FILES, files // 2))


def _allow_files() -> None:
    """Let this process have all its connections; many systems allow it 1,024 files until it wants more."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + _FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
